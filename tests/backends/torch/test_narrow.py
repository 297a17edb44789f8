"""Weights stored as int8."""

from __future__ import annotations

import pytest
import torch

from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.narrow import STEP, narrowed, widened
from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.passes.quantize import Quantize
from asrc.passes.substitute import Substitute
from asrc.runtime.recogniser import stored
from asrc.tests.backends.nna.models import facts


@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 3), (2, 1, 1, 7)])
def test_each_number_is_within_half_a_step_of_its_row(shape: tuple[int, ...]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    matrix *= torch.logspace(-3, 3, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    stored = narrowed("w", matrix)
    assert {name: x.dtype for name, x in stored.items()} == {
        "w": torch.int8,
        "w" + STEP: torch.float32,
    }
    again = widened(stored)
    assert again.keys() == {"w"}
    error = (again["w"] - matrix).flatten(1).abs().amax(1)
    assert bool((error <= 0.5001 * stored["w" + STEP]).all())


def test_zeros_stay_zeros() -> None:
    assert not widened(narrowed("w", torch.zeros(2, 3)))["w"].any()


def test_what_is_no_code_stays() -> None:
    tensors = {"a": torch.ones(2, dtype=torch.int8), "b": torch.ones(3), "b.step": torch.ones(3)}
    assert widened(tensors).keys() == tensors.keys()


def test_a_model_of_codes_is_left_alone() -> None:
    graph, _ = Quantize(weights=4).run(Substitute().run(facts("lstm").graph, None)[0], None)
    with pytest.raises(AsrcError, match=r"E1006.*codes"):
        stored(Lowered(Facts(graph)), torch.int8)
