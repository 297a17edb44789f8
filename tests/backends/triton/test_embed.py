"""Rows of a table."""

from __future__ import annotations

import pytest
import torch

from asrc.backends.triton.kernels.embed import embed, reference
from asrc.tests.backends.triton.guard import Guards, random


@pytest.mark.parametrize("shape", [(1,), (2, 3), (0,), (4, 1)])
@pytest.mark.parametrize("width", [1, 5, 64])
def test_rows(shape: tuple[int, ...], width: int) -> None:
    guards = Guards()
    tokens = torch.randint(0, 7, shape, generator=torch.Generator().manual_seed(1))
    table = guards.put(random(7, width))
    assert torch.equal(embed(guards.put(tokens), table), reference(tokens, table))
    guards.check()


def test_tokens_that_are_not_there_read_nothing() -> None:
    found = embed(torch.tensor([-1, 7, 2]), Guards().put(random(7, 3)))
    assert torch.equal(found[:2], torch.zeros(2, 3))
