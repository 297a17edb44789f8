"""Convolutions over frames against `Dense`, on sizes that no tile divides."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asrc.backends.torch.frames import taps as taps_of
from asrc.backends.torch.leaves import Dense, Reach
from asrc.backends.triton.kernels.conv1d import TILES, by_tap, conv1d, cost, reference
from asrc.backends.triton.kernels.linear import PLAIN, Epilogue
from asrc.backends.triton.tuning import TUNER
from asrc.tests.backends.triton.guard import Guards, close, random

WINDOWS = [
    *((2, 0, 1, 1), (0, 2, 1, 1), (1, 1, 2, 1), (0, 0, 1, 1), (3, 1, 1, 2), (2, 2, 2, 3)),
    *((0, 0, 1, 3), (-1, 3, 1, 2), (3, -1, 2, 1), (4, -2, 1, 3)),
]
"""Past only, future only, both, none, strides to 3, not the frame itself."""


def dense(weight: Tensor, bias: Tensor | None, groups: int) -> Dense:
    module = Dense(tuple(weight.shape), bias is not None, groups)
    held = {"weight": weight} | ({} if bias is None else {"bias": bias})
    module.load_state_dict(held)
    return module


def check(
    shape: tuple[int, int, int],
    n: int,
    window: Reach,
    groups: int = 1,
    lengths: list[int] | None = None,
    then: Epilogue = PLAIN,
) -> None:
    """With guards, as `reference` has it."""
    guards, (batch, frames, dims) = Guards(), shape
    taps = window[0] + window[1] + 1
    x = guards.put(random(*shape))
    count = None if lengths is None else guards.put(torch.tensor(lengths, dtype=torch.int32))
    if lengths is not None:
        x.masked_fill_((torch.arange(frames) >= count[:, None])[..., None], float("nan"))
    weight = guards.put(random(n, dims // groups * taps, seed=1))
    bias, y = guards.put(random(n, seed=2)), guards.room(batch, frames // window[3], n)
    conv1d(x, weight, bias, window, groups, then, count, y)
    assert not y.isnan().any()
    close(y, reference(x, weight, bias, window, groups, then, count))
    guards.check()


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(
    ("groups", "dims", "n"), [(1, 5, 33), (3, 6, 9), (7, 7, 14), (1, 35, 9), (2, 140, 6)]
)
def test_windows_and_groups(window: Reach, groups: int, dims: int, n: int) -> None:
    check((2, 11, dims), n, window, groups)


@pytest.mark.parametrize("window", WINDOWS)
def test_few_frames(window: Reach) -> None:
    """As few as make one, and one more."""
    for frames in (window[3], window[3] + 1):
        check((3, frames, 4), 5, window)


@pytest.mark.parametrize("shape", [(1, 40, 17), (3, 7, 70), (1, 1, 1)])
def test_more_than_a_tile(shape: tuple[int, int, int]) -> None:
    check(shape, 70, (1, 1, 1, 1))


@pytest.mark.parametrize("window", [(2, 0, 1, 1), (1, 2, 2, 1), (2, 2, 1, 2)])
def test_frames_that_are_not_there(window: Reach) -> None:
    """NaN in the frames beyond each utterance is not read, one has no frames at all."""
    check((3, 9, 6), 10, window, 2, [4, 9, 0])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_as_the_module_over_a_window_written_down(bias: bool, groups: int) -> None:
    """Not only as its convolution: as the product with rows of dims and taps."""
    x, weight = random(2, 8, 6), random(4, 6 // groups * 3, seed=1)
    module = dense(weight, random(4, seed=2) if bias else None, groups)
    rows = taps_of(x, (-4, -2, 0), 1, 2).flatten(2)
    found = conv1d(x, module.weight, module.bias, (2, 0, 2, 2), groups)
    close(found, module(rows).detach())
    close(found, module(x, window=(2, 0, 2, 2)).detach())


@pytest.mark.parametrize("activation", ["relu", "swish", "gelu"])
def test_what_follows(activation: str) -> None:
    then = Epilogue(activation, 0.5, random(2, 5, 9, seed=3))
    check((2, 10, 6), 9, (1, 1, 1, 2), 3, None, then)


def test_weights_in_another_order() -> None:
    """Dims side by side in memory."""
    x, weight, window = random(2, 7, 20), random(9, 20 * 3, seed=1), (2, 0, 1, 1)
    held = by_tap(weight, 3)
    assert held.shape == (9, 20, 3)
    assert held.stride(1) == 1
    close(conv1d(x, held, None, window), reference(x, weight, None, window))
    close(reference(x, held, None, window), reference(x, weight, None, window), 0)


def test_frames_of_a_wider_tensor() -> None:
    wide, weight, window = random(3, 9, 20), random(5, 7 * 3, seed=1), (1, 1, 1, 1)
    part = wide[1:, 2:, 4:11]
    close(conv1d(part, weight, None, window), reference(part, weight, None, window))


def test_half_precision() -> None:
    """Sums in float32: what is lost is what the numbers themselves lose."""
    x, weight = (random(*s).half() for s in ((2, 9, 24), (20, 24 * 5)))
    found = conv1d(x, weight, None, (2, 2, 1, 1))
    assert found.dtype == torch.float16
    close(found, reference(x, weight, None, (2, 2, 1, 1)), 1e-3)


def test_nothing_of_nothing() -> None:
    weight = random(3, 4 * 2)
    assert conv1d(random(0, 5, 4), weight, None, (1, 0, 1, 1)).shape == (0, 5, 3)
    assert conv1d(random(2, 1, 4), weight, None, (1, 0, 1, 2)).shape == (2, 0, 3)
    assert reference(random(2, 1, 4), weight, None, (1, 0, 1, 2)).shape == (2, 0, 3)


@pytest.mark.parametrize("at", range(len(TILES)))
def test_every_tile(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(TUNER), "best", lambda *_: TILES[at])
    check((2, 37, 6), 22, (1, 1, 1, 1), 2)


def test_cost() -> None:
    """Frames and the weight are read once, though every frame is in three windows."""
    found = cost(2, 10, random(8, 6 * 3), (2, 0, 1, 2), 2)
    assert found.bytes == 4 * (8 * 18 + 2 * 10 * 12 + 2 * 5 * 8)
    assert found.flops == 2 * 2 * 5 * 8 * 18
