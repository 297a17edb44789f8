"""Rings of streams: what a step writes, and what a window of one is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asrc.backends.triton.kernels import rings
from asrc.backends.triton.kernels.rings import (
    WIDEST,
    Moment,
    cost,
    keep,
    keep_all,
    kept,
    window,
)
from asrc.tests.backends.triton.guard import Guards, random


def moment(*ages: int, count: int = 3, start: int = 0) -> Moment:
    return Moment(torch.tensor(ages), count, start)


@pytest.mark.parametrize("new", [1, 3, 4, 5, 11])
@pytest.mark.parametrize("start", [0, -7])
@pytest.mark.parametrize("gated", [False, True])
def test_new_frames_take_the_oldest_places(new: int, start: int, gated: bool) -> None:
    """Fewer than the ring has, as many, and more; streams of any age, some of which stand still."""
    guards, capacity, width = Guards(), 4, 5
    ring = guards.put(random(4, capacity, width))
    frames = guards.put(random(4, new, width * (1 + gated), seed=1))
    moving = guards.put(torch.tensor([True, True, False, True]))
    now = moment(0, 1, 5, 2**33, start=start)
    for mask in (None, moving):
        wanted = kept(ring, frames, now, mask, gated=gated)
        keep(ring, frames, now, mask, gated=gated)
        torch.testing.assert_close(ring, wanted)
    guards.check()


@pytest.mark.parametrize("gated", [False, True])
def test_many_rings_at_once(gated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As each by itself; more than one launch takes go in several."""
    monkeypatch.setattr(rings, "MOST", 2)
    guards, now = Guards(), moment(0, 4)
    many = [guards.put(random(2, 4, 5, seed=n)) for n in range(5)]
    frames = [guards.put(random(2, 3, 5 * (1 + gated), seed=10 + n)) for n in range(5)]
    moving = guards.put(torch.tensor([True, False]))
    wanted = [kept(*pair, now, moving, gated=gated) for pair in zip(many, frames, strict=True)]
    keep_all(many, frames, now, moving, gated=gated)
    for found, ring in zip(many, wanted, strict=True):
        torch.testing.assert_close(found, ring)
    guards.check()


def test_a_ring_goes_around() -> None:
    """Steps of different lengths, one after the other: the window is what came."""
    x, ring = random(2, 40, 3), torch.full((2, 7, 3), float("nan"))
    age, at = torch.tensor([0, 0]), 0
    for steps in (1, 1, 4, 1, 2, 1):
        now, new = Moment(age, 3, 0), x[:, at : at + 3 * steps]
        seen = window(ring, new, now)
        assert torch.equal(seen[:, max(0, 7 - at) :], x[:, max(0, at - 7) : at + 3 * steps])
        keep(ring, new, now)
        age, at = age + steps, at + 3 * steps


def test_frames_of_many_axes_in_a_wider_tensor() -> None:
    layers, frames = torch.zeros(3, 2, 4, 3, 5), random(2, 6, 3, 10)[..., 3:8]
    wanted = kept(layers[1], frames, moment(2, 5))
    keep(layers[1], frames, moment(2, 5))
    assert torch.equal(layers[1], wanted)
    assert not layers[[0, 2]].any()
    with pytest.raises(RuntimeError, match="view"):  # it would be written to a copy
        keep(random(2, 4, 5, 3).transpose(2, 3), frames, moment(2, 5))


def test_rows_wider_than_a_program() -> None:
    guards, width = Guards(), WIDEST + 3
    ring, frames = guards.put(random(1, 2, width)), guards.put(random(1, 3, width, seed=1))
    wanted = kept(ring, frames, moment(1))
    keep(ring, frames, moment(1))
    assert torch.equal(ring, wanted)
    guards.check()


def test_a_ring_of_half_numbers() -> None:
    ring, frames = random(1, 4, 6).half(), random(1, 2, 6, seed=1)
    wanted = kept(ring, frames, moment(3))
    keep(ring, frames, moment(3))
    assert torch.equal(ring, wanted)


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3)])
def test_nothing(shape: tuple[int, ...]) -> None:
    ring: Tensor = random(shape[0], 4, 3)
    before = ring.clone()
    keep(ring, torch.zeros(shape), moment(*[1] * shape[0]))
    assert torch.equal(ring, before)


def test_cost() -> None:
    """What would be overwritten at once is not read."""
    ring = random(2, 4, 3)
    assert cost(ring, random(2, 9, 3)).bytes == 2 * 2 * 4 * 3 * 4
    assert cost(ring, random(2, 1, 6)).bytes == 2 * (3 + 6) * 4
