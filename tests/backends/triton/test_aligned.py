"""Kernels as they are compiled, on sizes whose reads are whole vectors: what a GPU runs of models
of usual widths, where a half type is multiplied by tensor cores and copies are asynchronous.

The other tests have sizes that no tile divides. These say nothing in the interpreter, which has
neither, and are skipped there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from triton.runtime.errors import OutOfResources

from asrc.backends.triton.kernels.attention import (
    Ring,
    attention,
    attention_step,
    intervals,
    reference_step,
)
from asrc.backends.triton.kernels.attention import reference as attention_reference
from asrc.backends.triton.kernels.conv1d import by_tap, conv1d
from asrc.backends.triton.kernels.conv1d import reference as conv1d_reference
from asrc.backends.triton.kernels.linear import Epilogue, Prologue, linear, linear_beside, reference
from asrc.backends.triton.kernels.lstm import States, lstm, lstm_step
from asrc.backends.triton.kernels.lstm import reference as lstm_reference
from asrc.backends.triton.kernels.rings import Moment
from asrc.backends.triton.packed import Packed
from asrc.backends.triton.tuning import Config, Tuner
from asrc.tests.backends.triton.guard import close, random
from asrc.tests.backends.triton.ptx.launching import Launcher, machine
from asrc.tests.backends.triton.ptx.memory import Fault
from asrc.tests.backends.triton.test_linear import narrow

pytestmark = pytest.mark.skipif(
    not os.environ.get("ASRC_MACHINE"), reason="is for what the compiler makes of kernels"
)
KINDS = [
    torch.float16,
    *(pytest.param(kind, marks=pytest.mark.long) for kind in (torch.float32, torch.bfloat16)),
]
NEAR = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
TILES = [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 14))]
"""Which of the tuner's candidates."""
Choose = Callable[[int], None]


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Makes the tuner take a candidate; the test is skipped where there are not so many, or where
    it is too large, which the tuner would pass by."""

    def choose(n: int) -> None:
        def best(tuner: Tuner, name: str, shape: object, candidates: Sequence[Config],
                 run: Callable[[Config], object], device: torch.device) -> Config:  # fmt: skip
            if n >= len(candidates):
                pytest.skip("there are not so many")
            try:
                _ = run(candidates[n]) if n else None
            except OutOfResources:
                pytest.skip("is too large")
            return candidates[n]

        monkeypatch.setattr(Tuner, "best", best)

    return choose


def weight_of(n: int, k: int, bits: int, kind: torch.dtype, seed: int = 1) -> Tensor | Packed:
    dense = random(n, k, seed=seed) / k**0.5
    return replace(narrow(dense, bits), products=kind) if bits else dense.to(kind)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("bits", [0, 3, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 16, 80])
def test_products(rows: int, kind: torch.dtype, bits: int, tile: int, choose: Choose) -> None:
    choose(tile)
    x, weight, bias = random(rows, 512), weight_of(192, 512, bits, kind), random(192, seed=2)
    then = Epilogue("swish", 0.5, random(rows, 192, seed=3))
    close(linear(x, weight, bias, then), reference(x, weight, bias, then), NEAR[kind])


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("bits", [0, 4])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 8])
def test_products_side_by_side(
    rows: int, kind: torch.dtype, bits: int, tile: int, choose: Choose
) -> None:
    """Behind a norm, with a pointer to one of the weights in each program."""
    choose(tile)
    weights = [weight_of(192, 512, bits, kind, seed) for seed in (1, 6)]
    biases, x = [random(192, seed=2), random(192, seed=3)], random(rows, 512)
    first = Prologue(random(512), random(512, seed=4), 1e-5)
    made = linear_beside(x, weights, biases, first)
    for y, weight, bias in zip(made, weights, biases, strict=True):
        close(y, reference(x, weight, bias, first=first), NEAR[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 16])
def test_gated_products_of_normed_rows(rows: int, kind: torch.dtype) -> None:
    weight, first = weight_of(256, 128, 0, kind), Prologue(random(128), random(128, seed=4), 1e-5)
    x = random(rows, 128, seed=5)
    found = linear(x, weight, None, Epilogue("glu"), None, first)
    close(found, reference(x, weight, None, Epilogue("glu"), first), NEAR[kind])


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("bits", [0, 4])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("streams", [1, 20])
def test_steps(streams: int, kind: torch.dtype, bits: int, tile: int, choose: Choose) -> None:
    choose(tile)
    weight, bias = weight_of(256, 192, bits, kind), random(256, seed=2)
    x, h, c = random(streams, 128), random(streams, 64, seed=3), random(streams, 64, seed=4)
    dense = weight.dense() if isinstance(weight, Packed) else weight.float()
    wanted, last, cell = lstm_reference(x[:, None], h, c, dense, bias)
    states = States(h, c, torch.arange(streams))
    close(lstm_step(x, states, weight, bias), wanted[:, 0], NEAR[kind])
    close(states.h, last, NEAR[kind])
    close(states.c, cell, NEAR[kind])


@pytest.mark.parametrize("tile", [4, *(pytest.param(n, marks=pytest.mark.long) for n in range(4))])
@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize(("batch", "frames", "cells"), [(18, 3, 80), (2, 5, 72)])
def test_programs_that_wait_for_each_other(
    batch: int, frames: int, cells: int, kind: torch.dtype, tile: int, choose: Choose
) -> None:
    """A sequence in one launch: after each frame programs read what the others have written."""
    choose(tile)
    given = random(batch, frames, 32), random(batch, cells, seed=3), random(batch, cells, seed=4)
    weight, bias = random(4 * cells, 32 + cells, seed=1) / 10, random(4 * cells, seed=2)
    found = lstm(*(x.to(kind) for x in given[:2]), given[2], weight.to(kind), bias)
    for one, wanted in zip(found, lstm_reference(*given, weight, bias), strict=True):
        close(one.float(), wanted, 4 * NEAR[kind])


def test_programs_that_have_no_room(choose: Choose) -> None:
    """A GPU with fewer processors would stand still, which `_together` is there to prevent."""
    given = random(1, 3, 32), *random(2, 1, 80, seed=3), random(320, 112, seed=1)
    with machine(Launcher(processors=3)):
        choose(4)
        with pytest.raises(Fault, match="have no room"):
            lstm(*given, None)


def positions(queries: int, window: int, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    p = random(2, queries, 256, seed=8).to(kind)
    return p, random(1, 2 * window - 1, 256, seed=9).to(kind)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("relative", [False, True])
def test_attention(relative: bool, kind: torch.dtype, tile: int, choose: Choose) -> None:
    choose(tile)
    q, k, v = (random(2, 70, 256, seed=n).to(kind) for n in range(3))
    given = (q, k, v, 4, *intervals(70, 70, chunk=8, left=24))
    more = positions(70, 70, kind) if relative else ()
    wanted = attention_reference(*(x.float() if isinstance(x, Tensor) and x.is_floating_point()
                                   else x for x in (*given, None, *more)))  # fmt: skip
    close(attention(*given, None, *more).float(), wanted, NEAR[kind])


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("kind", KINDS)
def test_attention_of_a_step(kind: torch.dtype, tile: int, choose: Choose) -> None:
    choose(tile)
    q, k, v = (random(2, 8, 256, seed=n) for n in range(3))
    held = (random(2, 64, 256, seed=n) for n in (4, 5))
    ring = Ring(*held, Moment(torch.tensor([11, 3]), 8, -8))
    p, r = positions(8, 72, torch.float32)
    given = (q, k, v, 4, ring, *intervals(8, 72, right=None), None, p, r)
    found = attention_step(*given, low=-71, products=kind)
    close(found, reference_step(*given, low=-71), NEAR[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_windows(kind: torch.dtype) -> None:
    x, weight = random(2, 40, 64), random(96, 192, seed=1).to(kind)
    found = conv1d(x, by_tap(weight, 3), None, (2, 0, 1, 2))
    close(found, conv1d_reference(x, by_tap(weight, 3), None, (2, 0, 1, 2)), NEAR[kind])
