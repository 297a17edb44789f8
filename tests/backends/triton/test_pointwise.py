"""Chains of operators on single numbers; operands that broadcast."""

from __future__ import annotations

import pytest
import torch

from asrc.backends.triton.kernels.activations import REFERENCES
from asrc.backends.triton.kernels.pointwise import BINARY, Link, pointwise, reference
from asrc.tests.backends.triton.guard import Guards, close, random


@pytest.mark.parametrize("kind", sorted(REFERENCES))
def test_functions(kind: str) -> None:
    x = random(3, 7).abs() + 0.1
    close(pointwise([x], [Link(kind)]), reference([x], [Link(kind)]), 1e-6)


@pytest.mark.parametrize("kind", BINARY)
def test_operands_and_numbers(kind: str) -> None:
    x, y = random(3, 7), random(3, 7, seed=1).abs() + 0.5
    for given, chain in (([x, y], [Link(kind, 1)]), ([y], [Link(kind, value=1.5)])):
        close(pointwise(given, chain), reference(given, chain), 1e-6)


@pytest.mark.parametrize(
    ("shape", "other"),
    [
        ((2, 3, 5), (5,)),
        ((2, 3, 5), (2, 1, 5)),
        ((2, 1, 5), (1, 4, 1)),
        ((4, 1), (1, 6)),
        ((), (3,)),
        ((2, 3, 2, 3, 2), (3, 1, 3, 1)),
    ],
)
def test_broadcasting(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    guards = Guards()
    given = [guards.put(random(*shape)), guards.put(random(*other, seed=1))]
    chain = [Link("add", 1), Link("tanh"), Link("mul", 0)]
    close(pointwise(given, chain), reference(given, chain), 1e-6)
    guards.check()


def test_strided_operands() -> None:
    """Halves and transposes are read where they lie."""
    wide = random(3, 4, 10)
    given = [wide[..., :5], wide[..., 5:], random(4, 3, seed=2).T.unsqueeze(-1)]
    chain = [Link("swish_gate", 1), Link("sub", 2), Link("mul", value=0.5)]
    close(pointwise(given, chain), reference(given, chain), 1e-6)


def test_places_beyond_int32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of large tensors, at the size of small ones."""
    monkeypatch.setattr("asrc.backends.triton.kernels.pointwise.FAR", 1)
    given = [random(3, 4, 10)[..., :5], random(4, 3, seed=2).T.unsqueeze(-1)]
    chain = [Link("mul", 1), Link("tanh"), Link("add", 0)]
    close(pointwise(given, chain), reference(given, chain), 1e-6)


def test_more_numbers_than_a_program_has() -> None:
    x = random(2500)
    close(pointwise([x], [Link("swish")]), torch.nn.functional.silu(x), 1e-6)


def test_what_cannot_be() -> None:
    assert pointwise([random(0, 3)], [Link("relu")]).shape == (0, 3)
    with pytest.raises(ValueError, match="at most 4"):
        pointwise([random(1)] * 5, [])
