"""First values of parameters."""

from __future__ import annotations

from pathlib import Path

import torch

from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import lower
from asrc.tests.backends.torch.test_operators import built


def test_a_value_that_holds_others_does_not_fill_them(tmp_path: Path) -> None:
    """`h` is a map, and below it stands a norm, which begins as one and zero."""
    graph = built("h = dense(8)(x, layernorm(h[t-1]))\ny = h", tmp_path)
    assert graph is not None
    first, second = lower(graph), lower(graph)
    initialise(first, seed=1)
    initialise(second, seed=1)
    values = first.facts.params
    norm = next(p for p in first.leaves if p.endswith("layernorm"))
    tensors = first.tensors()
    assert torch.equal(tensors[f"{norm}.weight"], torch.ones(8))
    assert torch.equal(tensors[f"{norm}.bias"], torch.zeros(8))
    assert {f"{path}.{name}" for path, shapes in values.items() for name in shapes} == set(tensors)
    assert all(torch.equal(x, second.tensors()[name]) for name, x in tensors.items())
