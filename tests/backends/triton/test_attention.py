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
    attention,
    attention_step,
    cost,
    intervals,
    reference,
    reference_step,
)
from asrc.backends.triton.kernels.rings import Moment, keep
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


@pytest.mark.parametrize("which", [(True, False), (False, True), (True, True)])
def test_rows_that_are_added_to_queries(which: tuple[bool, bool]) -> None:
    """Learned ones, to those that meet keys, and to those that meet positions."""
    guards, heads = Guards(), 3
    q, k, v, p, r = map(guards.put, inputs(17, 33, 36))
    rows = tuple(guards.put(random(36, seed=7 + n)) if on else None for n, on in enumerate(which))
    span, y = intervals(17, 33, left=None, right=4), guards.room(*q.shape)
    attention(q, k, v, heads, *span, None, p, r, y, shifts=rows)
    q, p = (x if row is None else x + row for x, row in zip((q, p), rows, strict=True))
    close(y, reference(q, k, v, heads, *span, None, p, r))
    guards.check()


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_a_value_that_is_more_than_a_half_type_has() -> None:
    """It spoils the queries that see it, and no other."""
    q, k, v, *_ = inputs(3, 3, 16)
    v[:, 2, 0] = 1e6
    span = torch.tensor([0, 0, 2], dtype=torch.int32), torch.tensor([1, 1, 2], dtype=torch.int32)
    found = attention(q, k, v, 1, *span, products=torch.float16)
    close(found[:, :2], reference(q, k, v, 1, *span)[:, :2], 3e-3)
    assert not found[:, 2].isfinite().any()


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


@pytest.mark.interpreter
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


def talk(joins: int, frames: int, width: int) -> Talk:
    return Talk(joins, *(random(frames, width, seed=7 * joins + i) for i in range(4)))


def steps(talks: list[Talk], count: int, lag: int) -> Iterator[tuple[list[bool], list[int]]]:
    """Who is there in every step, and how old each is."""
    for step in range(1000):
        ages = [max(step - x.joins, 0) for x in talks]
        here = [step >= x.joins and ages[n] * count < x.frames + lag for n, x in enumerate(talks)]
        if not any(here) and step > max(x.joins for x in talks):
            return
        yield here, ages


def empty(streams: int, capacity: int, width: int, guards: Guards) -> list[Tensor]:
    """Keys and values as earlier streams left them: nothing in them is a number."""
    return [guards.room(streams, capacity, width) for _ in range(2)]


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
    """Streams that join at different times, one of which never does, go around rings that have no
    room to spare; then each is what it is offline."""
    guards, width, heads, bounds = Guards(), 36, 2, MASKS[mask]
    left, chunk = bounds["left"] or 0, bounds.get("chunk") or 1
    capacity = left + lag
    keys, values = empty(3, capacity, width, guards)
    low, high = -(bounds.get("right") or 0) - chunk + 1, left + chunk - 1
    r = guards.put(random(1, 45, width, seed=5))
    talks = [talk(2, 23, width), talk(10**6, 0, width), talk(0, 17, width)]
    near = r[:, 22 + low : 22 + high + 1]
    for here, ages in steps(talks[::2], count, lag):
        here, age = [here[0], False, here[1]], torch.tensor([ages[0], 0, ages[1]])
        begin = (age * count).tolist()
        q, p = (stack(talks, name, [n - lag for n in begin], count) for name in "qp")
        k, v = (stack(talks, name, begin, count) for name in "kv")
        ring = Ring(keys, values, Moment(age, count, 0))
        spans = seen_in_window(ring, count, lag, bounds, torch.tensor([x.frames for x in talks]))
        # In a window, the first query is as far behind the first key as the ring is long.
        positions = (None, p, near, None, low - (capacity - lag)) if relative else ()
        y = attention_step(q, k, v, heads, ring, *spans, *positions)
        for x, found, moves in zip(talks, y, here, strict=True):
            x.made += [found] * moves
        keep(keys, k, ring.now, torch.tensor(here))
        keep(values, v, ring.now, torch.tensor(here))
    for x in talks[::2]:
        made = torch.cat(x.made)
        assert bool((made[:lag] == 0).all()), "before the start there is nobody"
        close(made[lag : lag + x.frames], offline(x, heads, bounds, r, relative))
    assert bool(keys[1].isnan().all() & values[1].isnan().all())
    guards.check()


def seen_in_window(
    ring: Ring, count: int, lag: int, bounds: dict[str, int | None], length: Tensor
) -> tuple[Tensor, Tensor]:
    """The places that each of `count` queries sees, `lag` frames behind the new ones."""
    chunk, left, right = (bounds.get(name) for name in ("chunk", "left", "right"))
    oldest = ring.now.oldest(ring.keys.shape[1]).unsqueeze(1)
    t = (ring.now.age * count).unsqueeze(1) - lag + torch.arange(count)
    begin = t if chunk is None else t // chunk * chunk
    end = t + (right or 0) if chunk is None else begin + chunk - 1 + (right or 0)
    first = torch.zeros_like(t) if left is None else (begin - left).clamp(min=0)
    last = torch.minimum(end, length.unsqueeze(1) - 1).where(t >= 0, -1)
    return (first - oldest).int(), (last - oldest).int()


def stack(here: list[Talk], name: str, begin: list[int], count: int) -> Tensor:
    rows = [x.rows(getattr(x, name), at, count) for x, at in zip(here, begin, strict=True)]
    return torch.stack(rows)


def offline(x: Talk, heads: int, bounds: dict[str, Any], r: Tensor, relative: bool) -> Tensor:
    q, k, v, p = (part.unsqueeze(0) for part in (x.q, x.k, x.v, x.p))
    bias = relative_scores(p, r, heads, x.frames) if relative else None
    return attend(q, k, v, heads, visible(q, k, **bounds), bias)[0]


@pytest.mark.parametrize("ages", [(0, 2), (10, 1), (2**31 - 60, 2**34)])
@pytest.mark.parametrize(("capacity", "new"), [(37, 5), (3, 5), (1, 33)])
@pytest.mark.parametrize("start", [0, -7])
def test_a_step_is_its_reference(
    ages: tuple[int, int], capacity: int, new: int, start: int
) -> None:
    """Frames may be absent; steps bring fewer frames than the ring has, and more. Rings stay."""
    guards, width, window = Guards(), 54, capacity + new
    q, k, v, p, _ = (guards.put(x) for x in inputs(new, new, width))
    keys, values = (guards.put(random(2, capacity, width, seed=i)) for i in (7, 8))
    r, there = random(1, 2 * window - 1, width, seed=5), random(2, window, seed=6) > -1
    before = keys.clone(), values.clone()
    ring = Ring(keys, values, Moment(torch.tensor(ages), 5, start))
    first = guards.put((torch.arange(new) + capacity - 20).int())
    given = (q, k, v, 3, ring, first, first + 22, guards.put(there), p, guards.put(r))
    found = attention_step(*given, out=guards.room(2, new, width), low=-(window - 1))
    close(found, reference_step(*given, low=-(window - 1)))
    assert torch.equal(keys, before[0])
    assert torch.equal(values, before[1])
    guards.check()


def test_a_step_sees_what_the_window_has() -> None:
    """Against the window itself, laid out by hand: the ring has frames 5 to 8, 8 in its first
    place."""
    q, k, v, *_ = inputs(2, 2, 16, batch=1)
    older = random(2, 1, 4, 16, seed=5)
    keys, values = (torch.roll(x, 1, 1) for x in older)
    ring = Ring(keys, values, Moment(torch.tensor([3]), 3, 0))
    first, last = torch.tensor([0, 3]), torch.tensor([4, 5])
    found = attention_step(q, k, v, 2, ring, first, last)
    whole = [torch.cat([old, new], 1) for old, new in zip(older, (k, v), strict=True)]
    close(found, reference(q, *whole, 2, first, last))


def test_look_ahead_by_frame_in_a_step() -> None:
    """Intervals may be anybody's: they reach before the start, and beyond the newest frame."""
    guards, (q, k, v, *_) = Guards(), inputs(6, 6, 16)
    keys, values = empty(2, 9, 16, guards)
    keys[1, :2] = values[1, :2] = 1.0  # the two frames that it has had
    first = (9 + torch.arange(6) - 4).expand(2, 6)
    last = first + torch.tensor([[3, 9, 2, 5, 4, 6], [8, 0, 4, 5, 99, 7]])
    ring = Ring(keys, values, Moment(torch.tensor([0, 1]), 2, 0))
    found = attention_step(q, k, v, 2, ring, first, last, out=guards.room(2, 6, 16))
    close(found, reference_step(q, k, v, 2, ring, first, last))
    guards.check()


def test_what_fell_out_of_the_ring_is_not_seen() -> None:
    """Without a bound to the left, a ring is one."""
    keys, values = (torch.zeros(1, 6, 16) for _ in range(2))
    q, k, v, *_ = inputs(14, 14, 16, batch=1)
    first, last = torch.tensor([0, 0]), torch.tensor([6, 7])
    made = []
    for n in range(0, 14, 2):
        ring, new = Ring(keys, values, Moment(torch.tensor([n]), 1, 0)), slice(n, n + 2)
        made.append(attention_step(q[:, new], k[:, new], v[:, new], 1, ring, first, last))
        keep(keys, k[:, new], ring.now)
        keep(values, v[:, new], ring.now)
    first, last = intervals(14, 14)
    oldest = (torch.arange(14) // 2 * 2 - 6).clamp(min=0)
    close(torch.cat(made, 1), reference(q, k, v, 1, first.maximum(oldest), last))


@pytest.mark.parametrize("number", [NAN, float("inf")])
def test_what_a_ring_hides_does_not_reach(number: float) -> None:
    """Frames that are not there, and those of an earlier stream."""
    q, k, v, *_ = inputs(3, 3, 18)
    keys, values = random(2, 5, 18, seed=7), random(2, 5, 18, seed=8)
    first, last, there = torch.zeros(3), torch.full((3,), 7), torch.ones(2, 8, dtype=torch.bool)
    there[0, 1] = False
    ring = Ring(keys, values, Moment(torch.tensor([2, 1]), 3, -1))
    wanted = reference_step(q, k, v, 1, ring, first.int(), last, there)
    keys[0, 1] = values[0, 1] = number  # frame 1 of frames 0 to 4
    keys[1, 2:] = values[1, 2:] = number  # frames -3 to -1
    close(attention_step(q, k, v, 1, ring, first.int(), last, there), wanted)
    values[0, 2] = number
    assert not bool(attention_step(q, k, v, 1, ring, first.int(), last, there)[0].isfinite().any())


def test_widths_of_a_ring() -> None:
    q, k, v, *_ = inputs(5, 5, 16, batch=1)
    ring = Ring(*(torch.zeros(1, 4, n) for n in (16, 12)), Moment(torch.tensor([0]), 5, 0))
    with pytest.raises(ValueError, match="different widths"):
        attention_step(q, k, v, 1, ring, torch.zeros(5), torch.zeros(5))


# --- cost ---


def test_cost() -> None:
    """Keys are read once, whoever sees them; products are those of what is seen."""
    q, first, last = random(2, 4, 8), torch.tensor([0, 0, 3, 5]), torch.tensor([1, -1, 4, 9])
    moved = 4 * 8 * (2 * 8 + 2 * 2 * 10) + 2 * 4 * 8
    assert cost(q, first, last).bytes == moved
    assert cost(q, first, last).flops == 2 * 2 * 8 * 2 * (2 + 2 + 5)
    p, r = random(2, 4, 8), random(1, 19, 8)
    more = cost(q, first, last, p, r)
    assert more.bytes == moved + 4 * 8 * (8 + 19)
    assert more.flops == 3 * 2 * 8 * 2 * (2 + 2 + 5)


def test_numbers_that_lie_apart() -> None:
    """Queries, keys and positions whose last axis is not the one of neighbours in memory."""
    q, k, v, p, r = inputs(7, 9, 12, batch=1)
    first, last = intervals(7, 9)
    wanted = attention(q, k, v, 2, first, last, None, p, r)
    apart = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v, p, r)]
    assert all(x.stride(2) != 1 for x in apart)
    assert torch.equal(attention(*apart[:3], 2, first, last, None, *apart[3:]), wanted)
