"""Attention under every mask, on sizes that no tile divides; steps of streams with rings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from asrc.backends.torch.attention import attend, relative_scores, visible
from asrc.backends.triton.kernels import attention as kernels
from asrc.backends.triton.kernels.attention import (
    Ring,
    Streams,
    attention,
    attention_step,
    cost,
    intervals,
    reference,
    reference_step,
    streams_at,
)
from asrc.tests.backends.triton.guard import Guards, close, random

NAN = float("nan")
MASKS: dict[str, dict[str, int | None]] = {
    "full": {"left": None, "right": None},
    "causal": {"left": None},
    "causal-left": {"left": 3},
    "limited": {"left": 4, "right": 2},
    "chunk": {"chunk": 4},
    "chunk-left": {"chunk": 4, "left": 5},
    "chunk-right": {"chunk": 3, "left": 0, "right": 2},
}
SIZES = [(1, 1), (2, 5), (5, 2), (17, 33), (33, 17)]
HEADS = [(1, 6), (2, 36), (3, 54), (4, 72), (2, 64)]


def inputs(queries: int, keys: int, width: int, batch: int = 2) -> tuple[Tensor, ...]:
    """q, k, v, p and r."""
    frames = (queries, keys, keys, queries)
    q, k, v, p = (random(batch, n, width, seed=i) for i, n in enumerate(frames))
    return q, k, v, p, random(1, 2 * max(queries, keys) - 1, width, seed=4)


# --- masks and positions ---


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("queries", "keys"), SIZES)
def test_intervals_are_what_is_visible(mask: str, queries: int, keys: int) -> None:
    first, last = intervals(queries, keys, **MASKS[mask])
    s = torch.arange(keys)
    found = (s >= first.unsqueeze(1)) & (s <= last.unsqueeze(1))
    wanted = visible(torch.zeros(1, queries, 1), torch.zeros(1, keys, 1), **MASKS[mask])
    assert torch.equal(found, wanted[0])
    assert first.dtype == last.dtype == torch.int32


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("sizes", "shape"), [*zip(SIZES, HEADS, strict=True)])
@pytest.mark.parametrize("relative", [False, True], ids=["plain", "relative"])
def test_masks(mask: str, sizes: tuple[int, int], shape: tuple[int, int], relative: bool) -> None:
    """As PyTorch has it, with nothing written or read out of bounds."""
    guards, heads = Guards(), shape[0]
    q, k, v, p, r = map(guards.put, inputs(*sizes, shape[1]))
    y, (first, last) = guards.room(*q.shape), map(guards.put, intervals(*sizes, **MASKS[mask]))
    attention(q, k, v, heads, first, last, None, *((p, r) if relative else ()), out=y)
    bias = relative_scores(p, r, heads, sizes[1]) if relative else None
    close(y, attend(q, k, v, heads, visible(q, k, **MASKS[mask]), bias))
    guards.check()


@pytest.mark.parametrize("relative", [False, True], ids=["plain", "relative"])
def test_look_ahead_by_frame(relative: bool) -> None:
    """Every query of every utterance has an interval of its own; some keys are not there."""
    guards, (queries, keys) = Guards(), (33, 40)
    q, k, v, p, r = map(guards.put, inputs(queries, keys, 36))
    centre = torch.arange(queries)
    ahead = random(2, queries, seed=5).abs().mul(6).int()
    first, last = guards.put((centre - 9 + ahead).int()), guards.put((centre + ahead).int())
    there = guards.put(random(2, keys, seed=6) > -0.5)
    given = (q, k, v, 2, first, last, there, *((p, r) if relative else ()))
    close(attention(*given, out=guards.room(*q.shape)), reference(*given))
    guards.check()


def test_more_positions_than_frames() -> None:
    """One table of distances serves utterances of every length, its zero in the middle."""
    q, k, v, p, _ = inputs(5, 7, 24)
    r, (first, last) = random(1, 41, 24, seed=9), intervals(5, 7, right=None)
    bias = relative_scores(p, r, 3, 7)
    close(attention(q, k, v, 3, first, last, None, p, r), attend(q, k, v, 3, None, bias))


@pytest.mark.parametrize("low", [-30, -2, 3])
def test_positions_from_some_distance_on(low: int) -> None:
    """A table may have the distances alone at which somebody sees; others count as nothing."""
    guards = Guards()
    q, k, v, p, r = map(guards.put, inputs(17, 33, 36))
    t = torch.arange(17)
    first, last = (t - low - 8).clamp(min=0), t - low
    near = guards.put(r[:, 32 + low : 32 + low + 9])
    found = attention(q, k, v, 2, first, last, None, p, near, low=low)
    close(found, reference(q, k, v, 2, first, last, None, p, r))
    close(found, reference(q, k, v, 2, first, last, None, p, near, low))
    guards.check()


def test_parts_of_a_wider_tensor() -> None:
    """Queries, keys and values of one product are read where they lie, and p and r too."""
    guards = Guards()
    wide, long = guards.put(random(2, 19, 160)), guards.put(random(1, 37, 80, seed=1))
    q, k, v, p = wide.split(40, -1)
    first, last = intervals(19, 19, chunk=4, left=3)
    given = (q, k, v, 4, first, last, None, p, long[..., 20:60])
    close(attention(*given), reference(*given))
    guards.check()


def test_halves() -> None:
    """Numbers of 16 bits, sums of 32."""
    q, k, v, p, r = (x.half() for x in inputs(17, 33, 36))
    first, last = intervals(17, 33, left=None, right=5)
    found = attention(q, k, v, 2, first, last, None, p, r)
    assert found.dtype == torch.float16
    close(found, reference(*(x.float() for x in (q, k, v)), 2, first, last, None, p.float(),
                           r.float()), 3e-3)  # fmt: skip


def test_large_scores_do_not_overflow() -> None:
    q, k, v, *_ = inputs(5, 40, 16)
    given = (300 * q, 300 * k, v, 1, *intervals(5, 40, right=None))
    close(attention(*given), reference(*given))


# --- nothing to see ---


def test_who_sees_nothing_gets_zeros() -> None:
    """By his interval, as it lies outside, or as none of its keys is there."""
    q, k, v, p, r = inputs(5, 7, 24)
    first, last = torch.tensor([0, 3, 7, -4, 2]), torch.tensor([6, 2, 9, -1, 4])
    there = torch.tensor([True, True, False, False, False, True, True]).expand(2, -1)
    found = attention(q, k, v, 2, first, last, there, p, r)
    assert bool((found[:, 1:] == 0).all())
    close(found, reference(q, k, v, 2, first, last, there, p, r))


def test_nothing_of_nothing() -> None:
    none = torch.zeros(0, dtype=torch.int32)
    assert attention(*(random(2, n, 8) for n in (0, 3, 3)), 2, none, none).shape == (2, 0, 8)
    empty = attention(*(random(2, n, 8) for n in (3, 0, 0)), 2, *intervals(3, 0))
    assert torch.equal(empty, torch.zeros(2, 3, 8))


@pytest.mark.parametrize("number", [NAN, float("inf")])
@pytest.mark.parametrize("spoilt", ["keys", "values"])
def test_what_is_hidden_does_not_reach(number: float, spoilt: str) -> None:
    """Frames that are not there, or that no query sees."""
    q, k, v, *_ = inputs(17, 40, 18)
    first, last = intervals(17, 40, left=3, right=1)
    there = torch.ones(2, 40, dtype=torch.bool)
    there[0, 4:7] = False
    wanted = reference(q, k, v, 1, first, last, there)
    bad = k if spoilt == "keys" else v
    bad[0, 4:7], bad[:, 18:] = number, number
    close(attention(q, k, v, 1, first, last, there), wanted)


@pytest.mark.parametrize("spoilt", ["keys", "values"])
def test_one_bad_frame_reaches_those_who_see_it(spoilt: str) -> None:
    """Others in the same tile keep their numbers: no future shows before it is seen."""
    q, k, v, *_ = inputs(17, 17, 18)
    first, last = intervals(17, 17, left=3)
    wanted = reference(q, k, v, 3, first, last)
    (k if spoilt == "keys" else v)[1, 5] = NAN
    wanted[1, 5:9] = NAN
    close(attention(q, k, v, 3, first, last), wanted)


def test_tiles_out_of_sight_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 640 keys a tile of queries reads those that it sees, not 20 tiles of 32."""
    monkeypatch.setattr(kernels.TUNER, "best", lambda name, shape, tiles, run, device: tiles[0])
    turns, softened = [], kernels._softened
    monkeypatch.setattr(kernels, "_softened", lambda *given: turns.append(0) or softened(*given))
    q, k, v, *_ = inputs(33, 640, 16, batch=1)
    first = torch.arange(33) + 500
    close(attention(q, k, v, 1, first, first + 2), reference(q, k, v, 1, first, first + 2))
    assert len(turns) == 3  # 34 keys of the first 32 queries, and 3 of the last


# --- steps of streams ---


@dataclass
class Talk:
    """A stream that joins at some step, and what was made of it; `[T, W]` each."""

    slot: int
    joins: int
    q: Tensor
    k: Tensor
    v: Tensor
    p: Tensor
    made: list[Tensor] = field(default_factory=list)

    @property
    def frames(self) -> int:
        return len(self.q)

    def rows(self, x: Tensor, begin: int, count: int) -> Tensor:
        """`[count, W]`; not a number before the start and after the end."""
        found = torch.full((count, x.shape[1]), NAN)
        for n in range(max(-begin, 0), min(count, len(x) - begin)):
            found[n] = x[begin + n]
        return found


def talk(slot: int, joins: int, frames: int, width: int) -> Talk:
    return Talk(slot, joins, *(random(frames, width, seed=7 * slot + i) for i in range(4)))


def steps(talks: list[Talk], count: int, lag: int) -> Iterator[tuple[list[Talk], list[int]]]:
    """Who is there in every step, and with which new frame each goes on."""
    for step in range(1000):
        now = [(step - x.joins) * count for x in talks]
        here = [n for n, x in enumerate(talks) if 0 <= now[n] < x.frames + lag]
        if not here and step > max(x.joins for x in talks):
            return
        yield [talks[n] for n in here], [now[n] for n in here]


def empty(slots: int, capacity: int, width: int, guards: Guards) -> Ring:
    """As an earlier stream left it: nothing in it is a number."""
    return Ring(*(guards.room(slots, capacity, width) for _ in range(2)))


STREAMS = [
    *(("causal-left", count, 0, True) for count in (1, 3, 8)),
    *(("limited", count, 2, True) for count in (1, 5)),
    *(("chunk-left", count, 0, True) for count in (4, 8)),
    ("chunk-right", 3, 3, True),
    *(("causal-left", 5, 0, False), ("limited", 4, 2, False), ("chunk-left", 4, 0, False)),
]
"""Masks, frames of a step, by how many frames queries lag behind keys, relative positions."""


@pytest.mark.parametrize(("mask", "count", "lag", "relative"), STREAMS)
def test_streams_are_whole_utterances(mask: str, count: int, lag: int, relative: bool) -> None:
    """Two streams that join at different times, in slots in no order, go around a ring that has
    no room to spare; then each is what it is offline."""
    guards, width, heads, bounds = Guards(), 36, 2, MASKS[mask]
    left, chunk = bounds["left"] or 0, bounds.get("chunk") or 1
    capacity = left + lag + count
    ring = empty(3, capacity, width, guards)
    low, high = -(bounds.get("right") or 0) - chunk + 1, left + chunk - 1
    r = guards.put(random(1, 45, width, seed=5))
    talks = [talk(2, 0, 23, width), talk(0, 2, 17, width)]
    near = r[:, 22 + low : 22 + high + 1]
    for here, now in steps(talks, count, lag):
        q, p = (stack(here, name, [n - lag for n in now], count) for name in "qp")
        k, v = (stack(here, name, now, count) for name in "kv")
        at, length = torch.tensor(now), torch.tensor([x.frames for x in here])
        slots = torch.tensor([x.slot for x in here])
        streams = streams_at(slots, at, count, **bounds, lag=lag, length=length)
        positions = (p, near, low) if relative else ()
        y = attention_step(q, k, v, heads, ring, streams, *positions)
        for x, found in zip(here, y, strict=True):
            x.made.append(found)
    for x in talks:
        made = torch.cat(x.made)
        assert bool((made[:lag] == 0).all()), "before the start there is nobody"
        close(made[lag : lag + x.frames], offline(x, heads, bounds, r, relative))
    assert bool(ring.keys[1].isnan().all() & ring.values[1].isnan().all())
    guards.check()


def stack(here: list[Talk], name: str, begin: list[int], count: int) -> Tensor:
    rows = [x.rows(getattr(x, name), at, count) for x, at in zip(here, begin, strict=True)]
    return torch.stack(rows)


def offline(x: Talk, heads: int, bounds: dict[str, Any], r: Tensor, relative: bool) -> Tensor:
    q, k, v, p = (part.unsqueeze(0) for part in (x.q, x.k, x.v, x.p))
    bias = relative_scores(p, r, heads, x.frames) if relative else None
    return attend(q, k, v, heads, visible(q, k, **bounds), bias)[0]


@pytest.mark.parametrize("now", [(0, 5), (40, 2), (2**31 - 60, 2**30)])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_a_step_is_its_reference(now: tuple[int, int], dtype: torch.dtype) -> None:
    """And so are the rings after it, where frames may be absent."""
    width, capacity, new = 54, 37, 5
    q, k, v, p, _ = inputs(new, new, width)
    r, there = random(1, 2 * capacity - 1, width, seed=5), random(2, new, seed=6) > 0
    held = (*(random(4, capacity, width, seed=i) for i in (7, 8)), random(4, capacity, seed=9) > 0)
    ring, other = Ring(*held), copied(Ring(*held))
    slots = torch.tensor([3, 1], dtype=dtype)
    streams = streams_at(slots, torch.tensor(now, dtype=dtype), new, left=20, right=2)
    found = attention_step(q, k, v, 3, ring, streams, p, r, there=there)
    close(found, reference_step(q, k, v, 3, other, streams, p, r, there=there))
    for name in ("keys", "values", "there"):
        assert torch.equal(getattr(ring, name), getattr(other, name))


def test_look_ahead_by_frame_in_a_step() -> None:
    """Intervals may be anybody's: they reach before the start, and beyond the newest frame."""
    guards, (q, k, v, *_) = Guards(), inputs(6, 6, 16)
    ring, now = empty(2, 9, 16, guards), torch.tensor([0, 2])
    ring.keys[1, :2] = ring.values[1, :2] = 1.0  # the two frames that it has had
    first = now.unsqueeze(1) + torch.arange(6) - 4
    last = first + torch.tensor([[3, 9, 2, 5, 4, 6], [8, 0, 4, 5, 99, 7]])
    streams, other = Streams(torch.tensor([0, 1]), now, first, last), copied(ring)
    found = attention_step(q, k, v, 2, ring, streams, out=guards.room(2, 6, 16))
    close(found, reference_step(q, k, v, 2, other, streams))
    guards.check()


def copied(ring: Ring) -> Ring:
    there = None if ring.there is None else ring.there.clone()
    return Ring(ring.keys.clone(), ring.values.clone(), there)


def test_what_fell_out_of_the_ring_is_not_seen() -> None:
    """Without a bound to the left, a ring is one."""
    ring = Ring(*(torch.zeros(1, 6, 16) for _ in range(2)))
    q, k, v, *_ = inputs(14, 14, 16, batch=1)
    made = [
        attention_step(
            *(x[:, n : n + 2] for x in (q, k, v)), 1, ring,
            streams_at(torch.tensor([0]), torch.tensor([n]), 2),
        )
        for n in range(0, 14, 2)
    ]  # fmt: skip
    first, last = intervals(14, 14)
    oldest = (torch.arange(14) // 2 * 2 + 2 - 6).clamp(min=0)
    close(torch.cat(made, 1), reference(q, k, v, 1, first.maximum(oldest), last))


def test_a_place_without_a_stream() -> None:
    """A batch of fixed size has places to spare: they get zeros and write nothing."""
    guards, (q, k, v, *_) = Guards(), inputs(2, 2, 16)
    ring = empty(1, 4, 16, guards)
    streams = streams_at(torch.tensor([-1, 0]), torch.tensor([0, 0]), 2)
    y = attention_step(q, k, v, 1, ring, streams, out=guards.room(2, 2, 16))
    assert torch.equal(y[0], torch.zeros(2, 16))
    alone = streams_at(torch.tensor([0]), torch.tensor([0]), 2)
    other = empty(1, 4, 16, guards)
    close(y[1:], reference_step(q[1:], k[1:], v[1:], 1, other, alone))
    close(ring.keys, other.keys)
    guards.check()


def test_what_a_step_cannot_do() -> None:
    q, k, v, *_ = inputs(5, 5, 16, batch=1)
    ring = Ring(*(torch.zeros(1, 4, 16) for _ in range(2)))
    streams = streams_at(torch.tensor([0]), torch.tensor([0]), 5)
    with pytest.raises(ValueError, match="a step of 5 frames does not fit into a ring of 4"):
        attention_step(q, k, v, 1, ring, streams)
    there = torch.ones(1, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match="the ring has no place for it"):
        attention_step(q[:, :3], k[:, :3], v[:, :3], 1, ring, streams, there=there)


# --- cost ---


def test_cost() -> None:
    """Keys are read once, whoever sees them; products are those of what is seen."""
    q, first, last = random(2, 4, 8), torch.tensor([0, 0, 3, 5]), torch.tensor([1, -1, 4, 9])
    moved = 4 * 8 * (2 * 8 + 2 * 2 * 10) + 2 * 4 * 8
    assert cost(q, first, last).bytes == moved
    assert cost(q, first, last).flops == 2 * 2 * 8 * 2 * (2 + 2 + 5)
    p, r = random(2, 4, 8), random(1, 19, 8)
    more = cost(q, first, last, p, r, new=3)
    assert more.bytes == moved + 4 * 8 * (8 + 19) + 4 * 8 * 4 * 2 * 3
    assert more.flops == 3 * 2 * 8 * 2 * (2 + 2 + 5)
