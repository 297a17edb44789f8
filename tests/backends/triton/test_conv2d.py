"""Convolutions over frames and bands against `Convf`, on sizes that no tile divides."""

from __future__ import annotations

import pytest
import torch

from asrc.backends.torch.frames import taps as taps_of
from asrc.backends.torch.leaves import Convf, Reach
from asrc.backends.triton.kernels.conv1d import TILES
from asrc.backends.triton.kernels.conv2d import conv2d, cost, reference
from asrc.backends.triton.kernels.linear import PLAIN, Epilogue
from asrc.backends.triton.tuning import TUNER
from asrc.tests.backends.triton.guard import Guards, close, random

WINDOWS = [
    *((2, 0, 1, 1), (0, 2, 1, 1), (1, 1, 2, 1), (0, 0, 1, 1), (2, 0, 1, 2), (2, 2, 2, 3)),
    *((-1, 3, 1, 2), (3, -1, 2, 1)),
]


def check(
    shape: tuple[int, int, int, int],
    kernel: tuple[int, int],
    window: Reach,
    groups: int = 1,
    stride: int = 1,
    lengths: list[int] | None = None,
    then: Epilogue = PLAIN,
) -> None:
    """With guards, as `reference` has it; the kernel is outputs and bands."""
    guards, (batch, frames, channels, _) = Guards(), shape
    taps, (n, size) = window[0] + window[1] + 1, kernel
    x = guards.put(random(*shape))
    count = None if lengths is None else guards.put(torch.tensor(lengths, dtype=torch.int32))
    if lengths is not None:
        x.masked_fill_((torch.arange(frames) >= count[:, None])[..., None, None], float("nan"))
    weight = guards.put(random(n, channels // groups, size, taps, seed=1))
    bias = guards.put(random(n, seed=2))
    wanted = reference(x, weight, bias, window, groups, stride, then, count)
    y = guards.room(batch, frames // window[3], n, wanted.shape[-1])
    conv2d(x, weight, bias, window, groups, stride, then, count, y)
    assert not y.isnan().any()
    close(y, wanted)
    guards.check()


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("groups", [1, 3])
def test_windows_and_groups(window: Reach, groups: int) -> None:
    check((2, 7, 3, 5), (6, 3), window, groups, 2)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("bands", [5, 8])
def test_bands(size: int, stride: int, bands: int) -> None:
    check((1, 3, 2, bands), (5, size), (1, 0, 1, 1), 1, stride)


@pytest.mark.parametrize("window", WINDOWS)
def test_few_frames(window: Reach) -> None:
    """As few as make one, and one more."""
    for frames in (window[3], window[3] + 1):
        check((2, frames, 1, 4), (3, 3), window)


@pytest.mark.parametrize("shape", [(1, 9, 1, 20), (2, 3, 17, 3), (1, 1, 1, 1)])
def test_more_than_a_tile(shape: tuple[int, int, int, int]) -> None:
    check(shape, (70, 3), (2, 0, 1, 1), 1, 2)


@pytest.mark.parametrize("window", [(2, 0, 1, 1), (1, 1, 1, 2)])
def test_frames_that_are_not_there(window: Reach) -> None:
    check((3, 6, 2, 5), (4, 3), window, 2, 2, [2, 6, 0])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (2, 2)])
def test_windows_that_are_written_down(bias: bool, groups: int, stride: int) -> None:
    """`[..., C, F, taps]`, and the same frames where they lie."""
    x = random(2, 8, 4, 7)
    module = Convf((6, 4 // groups, 3, 3), bias, groups, stride)
    module.load_state_dict({k: random(*v.shape, seed=1) for k, v in module.state_dict().items()})
    windows = taps_of(x, (-2, 0, 2), 1, 2)
    wanted = module(windows).detach()
    held = module.weight.detach(), module.bias
    close(conv2d(windows, *held, None, groups, stride), wanted)
    close(conv2d(x, *held, (1, 1, 2, 2), groups, stride), wanted)
    close(conv2d(windows[0], *held, None, groups, stride), wanted[0])


@pytest.mark.parametrize("window", [None, (2, 0, 1, 2)])
def test_what_follows(window: Reach | None) -> None:
    x = random(2, 4, 3, 5) if window is not None else random(2, 2, 3, 5, 3)
    weight, bias = random(4, 3, 3, 3, seed=1), random(4, seed=2)
    then = Epilogue("swish", 0.5, random(2, 2, 4, 3, seed=3))
    wanted = reference(x, weight, bias, window, 1, 2, then)
    close(conv2d(x, weight, bias, window, 1, 2, then), wanted)


def test_channels_last() -> None:
    """As another kernel may leave them."""
    x, weight = random(2, 5, 6, 3).transpose(2, 3), random(4, 3, 3, 2, seed=1)
    assert not x.is_contiguous()
    close(conv2d(x, weight, None, (1, 0, 1, 1)), reference(x, weight, None, (1, 0, 1, 1)))


def test_half_precision() -> None:
    x, weight = (random(*s).half() for s in ((2, 5, 4, 9), (8, 4, 3, 3)))
    found = conv2d(x, weight, None, (2, 0, 1, 2), 1, 2)
    assert found.dtype == torch.float16
    close(found, reference(x, weight, None, (2, 0, 1, 2), 1, 2), 1e-3)


def test_nothing_of_nothing() -> None:
    weight = random(3, 2, 3, 2)
    assert conv2d(random(0, 5, 2, 7), weight, None, (1, 0, 1, 1)).shape == (0, 5, 3, 7)
    assert conv2d(random(2, 1, 2, 7), weight, None, (1, 0, 1, 2), 1, 2).shape == (2, 0, 3, 4)
    assert conv2d(random(2, 0, 2, 7, 2), weight, None).shape == (2, 0, 3, 7)


@pytest.mark.parametrize("at", range(len(TILES)))
def test_every_tile(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(TUNER), "best", lambda *_: TILES[at])
    check((2, 9, 6, 5), (22, 3), (1, 1, 1, 1), 2)


def test_cost() -> None:
    found = cost(2, 10, 9, random(8, 3, 3, 3), (2, 0, 1, 2), 2, 2)
    assert found.bytes == 4 * (8 * 27 + 2 * 10 * 6 * 9 + 2 * 5 * 8 * 5)
    assert found.flops == 2 * 2 * 5 * 8 * 5 * 27
