"""Norms with residuals, softmax: rows of any width."""

from __future__ import annotations

import pytest
import torch

from asrc.backends.triton.kernels.norm import WIDEST, layer_norm, reference, softmax
from asrc.tests.backends.triton.guard import Guards, close, random


@pytest.mark.parametrize("width", [1, 2, 5, 33, 300])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_norms(width: int, centred: bool, residual: bool) -> None:
    guards = Guards()
    x, weight = guards.put(3 + random(2, 3, width)), guards.put(random(width, seed=1))
    bias = guards.put(random(width, seed=2)) if centred else None
    more = guards.put(random(2, 3, width, seed=3)) if residual else None
    found = layer_norm(x, weight, bias, 1e-5, more, 0.5)
    for one, other in zip(found, reference(x, weight, bias, 1e-5, more, 0.5), strict=True):
        close(one, other, 1e-5)
    guards.check()


@pytest.mark.parametrize("activation", ["relu", "swish", "gelu"])
def test_an_activation_after(activation: str) -> None:
    """The sum stays without it."""
    guards = Guards()
    x, weight, bias = (guards.put(random(*n, seed=4)) for n in ((5, 33), (33,), (33,)))
    more = guards.put(random(5, 33, seed=3))
    for given in ((x, weight, bias, 1e-5, more, 2.0), (x, weight, None, 1e-5)):
        found = layer_norm(*given, activation=activation)
        for one, other in zip(found, reference(*given, activation=activation), strict=True):
            close(one, other, 1e-5)
    guards.check()


def test_a_residual_may_be_one_row_for_all() -> None:
    x, more, one = random(4, 7), random(7, seed=1), torch.ones(7)
    close(layer_norm(x, one, one, 1e-5, more)[0], reference(x, one, one, 1e-5, more)[0])


@pytest.mark.parametrize("width", [1, 3, 64, 129])
@pytest.mark.parametrize("log", [True, False])
def test_softmax(width: int, log: bool) -> None:
    x = Guards().put(40 * random(5, width))
    wanted = torch.log_softmax(x, -1) if log else torch.softmax(x, -1)
    close(softmax(x, log=log), wanted, 1e-6)


def test_half_numbers() -> None:
    x, one = random(3, 20).half(), torch.ones(20).half()
    wanted, _ = reference(x.float(), one.float(), one.float(), 1e-5)
    close(layer_norm(x, one, one, 1e-5)[0], wanted.half(), 2e-3)


def test_rows_that_are_too_long_are_refused() -> None:
    x = torch.zeros(1, WIDEST + 1)
    with pytest.raises(ValueError, match="fit into registers"):
        softmax(x)


def test_nothing() -> None:
    assert softmax(torch.zeros(0, 4)).shape == (0, 4)
