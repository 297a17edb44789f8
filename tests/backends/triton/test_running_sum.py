"""Sums over frames against `running_sum` of the PyTorch backend."""

from __future__ import annotations

import pytest
import torch

from asrc.backends.torch.frames import all_there
from asrc.backends.torch.recurrent import running_sum as plainly
from asrc.backends.triton.kernels import running_sum as file
from asrc.backends.triton.kernels.running_sum import cost, reference, running_sum
from asrc.backends.triton.tuning import TUNER
from asrc.tests.backends.triton.guard import Guards, close, random


@pytest.mark.parametrize("frames", [1, 2, 16, 17, 50])
@pytest.mark.parametrize("channels", [1, 5, 33])
@pytest.mark.parametrize("start", [False, True])
def test_over_frames(frames: int, channels: int, start: bool) -> None:
    """Some frames are not there, and NaN."""
    guards, up = Guards(), random(3, frames, seed=1) > -0.5
    x = guards.put(random(3, frames, channels).masked_fill(~up[..., None], float("nan")))
    there, y = guards.put(up), guards.room(3, frames, channels)
    first = guards.put(random(3, 1, channels, seed=2)) if start else None
    running_sum(x, there, 1, first, y)
    assert not y.isnan().any()
    close(y, plainly(x, up, 1, first))
    guards.check()


@pytest.mark.parametrize("shape", [(2, 5, 3, 2), (1, 1, 1, 1), (2, 20, 3)])
def test_over_any_axis(shape: tuple[int, ...]) -> None:
    """With masks that have fewer axes than that of the sum, as many, and more."""
    x = random(*shape)
    for axis in range(1, len(shape) - 1):
        for rank in range(1, len(shape) + 1):
            there = random(*shape[:rank], seed=rank) > 0
            start = random(*shape[:axis], 1, *shape[axis + 1 :], seed=1)
            close(running_sum(x, there, axis, start), plainly(x, there, axis, start))


@pytest.mark.parametrize("shape", [(1, 6), (3, 1), (1, 1)])
def test_masks_and_starts_of_all(shape: tuple[int, int]) -> None:
    """One for the whole batch is spread over it."""
    x, there = random(3, 6, 4), random(*shape, seed=1) > 0
    for start in (random(1, 1, 4, seed=2), random(4, seed=2), torch.tensor(1.5)):
        close(running_sum(x, there, 1, start), plainly(x, there, 1, start))


def test_frames_of_a_wider_tensor() -> None:
    x = random(4, 9, 10)[1:, 2:, 3:8]
    close(running_sum(x, all_there(x, 2), 1), plainly(x, all_there(x, 2), 1))


def test_half_precision() -> None:
    """The carried sum is in float32, so that only what is stored is rounded."""
    x = random(2, 100, 5).half()
    found = running_sum(x, all_there(x, 2), 1)
    assert found.dtype == torch.float16
    close(found, reference(x, all_there(x, 2), 1), 1e-3)


def test_in_pieces() -> None:
    """A stream goes on where it was."""
    x = random(2, 23, 5)
    there, whole, start, found = all_there(x, 2), running_sum(x, all_there(x, 2), 1), None, []
    for frames, up in zip(x.split(7, 1), there.split(7, 1), strict=True):
        found.append(running_sum(frames, up, 1, start))
        start = found[-1][:, -1:]
    close(torch.cat(found, 1), whole)


def test_nothing_of_nothing() -> None:
    for shape in ((0, 4, 3), (2, 0, 3), (2, 4, 0)):
        x = random(*shape)
        assert running_sum(x, all_there(x, 2), 1).shape == shape


@pytest.mark.parametrize("at", range(len(file._TILES)))
def test_every_tile(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(TUNER), "best", lambda *_: file._TILES[at])
    x, there = random(2, 131, 35), random(2, 131, seed=1) > 0
    close(running_sum(x, there, 1), plainly(x, there, 1))


def test_cost() -> None:
    assert cost(2, 10, 8).bytes == 2 * 2 * 10 * 8 * 4 + 2 * 10
    assert cost(2, 10, 8).flops == 2 * 10 * 8
