"""Attention under any mask that lets a query see an interval of keys, without a matrix of scores.

Tiles of keys pass by a tile of queries, which keeps a running softmax (Dao et al. 2022,
FlashAttention, algorithm 1); those that no query of the tile sees are never read. Scores of
relative positions (Dai et al. 2019, Transformer-XL) are made in the kernel too.

A step of streams is the same kernel over a window of a ring: the newest frames that a slot can
hold, from the oldest on. Frame `f` of a stream lies at `f % capacity` of its slot, so that its
write position is its frame number, and a stream that joins has nothing to clear.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import e, log2

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...torch.attention import attend, relative_scores
from ...torch.stepping import relative_window
from ..tuning import TUNER, Config
from .cost import Cost, nbytes
from .linear import _given, dotted

FEW = 16
"""Queries up to which a tile holds them all: the fewest rows that a tensor core takes."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Keys and values of all streams, `[slots, capacity, W]`; where some of their frames may be
    absent, `there` says which are not, `[slots, capacity]`.

    What fell out of it is seen by nobody: `capacity` is no less than the left context, the chunk
    or right context, and the frames of a step together.
    """

    keys: Tensor
    values: Tensor
    there: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Streams:
    """Where the streams of a batch are; made once for a step, by `streams_at`, for all layers.

    Stream b has slot `slots[b]` (negative: nobody is there, who gets zeros) and its first new frame
    is `now[b]`. Its queries are the frames from `now[b] - lag` on; each sees those from `first`
    to `last` (`[B, n]`, numbers in the stream).
    """

    slots: Tensor
    now: Tensor
    first: Tensor
    last: Tensor
    lag: int = 0


# --- who sees whom ---


def intervals(
    queries: int,
    keys: int,
    chunk: int | None = None,
    left: int | None = None,
    right: int | None = 0,
    device: torch.device | None = None,
) -> tuple[Tensor, Tensor]:
    """The first and last key that each query sees, `[queries]` int32.

    With `chunk`, from `left` frames before the query's chunk to `right` after it; else from `left`
    frames before the query to `right` after it. `None` is no bound.
    """
    t = torch.arange(queries, device=device)
    return _seen(t, torch.full_like(t, keys - 1), chunk, left, right)


def streams_at(
    slots: Tensor,
    now: Tensor,
    frames: int,
    chunk: int | None = None,
    left: int | None = None,
    right: int | None = 0,
    lag: int = 0,
    length: Tensor | None = None,
) -> Streams:
    """A step of `frames` new frames of each stream, and as many queries, `lag` frames behind them.

    Bounds are those of `intervals`, as far as frames are new or older; a chunk is whole where a
    step brings its last frame. Frames from `length` (`[B]`) on are no part of the stream.
    """
    t = now.unsqueeze(1) - lag + torch.arange(frames, device=now.device)
    newest = now + frames if length is None else torch.minimum(now + frames, length)
    first, last = _seen(t, newest.unsqueeze(1) - 1, chunk, left, right)
    return Streams(slots, now, first, last, lag)


def _seen(
    t: Tensor, newest: Tensor, chunk: int | None, left: int | None, right: int | None
) -> tuple[Tensor, Tensor]:
    """For the queries `t`; those before the start see nothing."""
    begin = t if chunk is None else t // chunk * chunk
    end = t if chunk is None else begin + chunk - 1
    first = torch.zeros_like(t) if left is None else (begin - left).clamp(min=0)
    last = newest.expand_as(t) if right is None else torch.minimum(end + right, newest)
    return first.int(), torch.where(t < 0, -1, last).int()


# --- entries ---


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    first: Tensor,
    last: Tensor,
    there: Tensor | None = None,
    p: Tensor | None = None,
    r: Tensor | None = None,
    out: Tensor | None = None,
    low: int | None = None,
) -> Tensor:
    """`softmax((q k + p r[t - s]) / sqrt(d)) v` in each head: `[B, Q, W]` of queries `[B, Q, W]`
    and keys and values `[B, K, W]` (last axes contiguous).

    A query sees the keys `first .. last` (`[Q]` or `[B, Q]`) of those that are `there` (`[B, K]`),
    or gets zeros. `p` is `[B, Q, W]`, `r` `[1, 2 n - 1, W]` for the distances `-(n - 1) .. n - 1`,
    or `[1, distances, W]` from `low` on; query t and key s are at the distance `t - s`. Raises
    ValueError where their widths differ.
    """
    _check(q, k, v, p, r)
    y = torch.empty(q.shape, dtype=q.dtype, device=q.device) if out is None else out
    if y.numel():
        _launch(_Call(q, k, v, heads, first, last, y, there, p, r, _least(r, low)))
    return y


def attention_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    ring: Ring,
    streams: Streams,
    p: Tensor | None = None,
    r: Tensor | None = None,
    low: int | None = None,
    there: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The same for a step: `[B, n, W]` of queries `[B, n, W]`, new keys and values `[B, m, W]`,
    which the ring has after it, and those that it had.

    `r`, `[1, distances, W]`, begins at the distance `low`; by itself, distance zero is in its
    middle. `there` (`[B, m]`) says which new frames there are. No two streams share a slot.
    """
    _check(q, k, v, p, r)
    y = torch.empty(q.shape, dtype=q.dtype, device=q.device) if out is None else out
    new, capacity = k.shape[1], ring.keys.shape[1]
    if new > capacity:
        raise ValueError(f"a step of {new} frames does not fit into a ring of {capacity}")
    if k.numel():
        _keep(k, v, ring, streams, _flags(k, ring, there))
    if y.numel():
        call = _Call(q, ring.keys, ring.values, heads, streams.first, streams.last, y, ring.there)
        _launch(replace(call, p=p, r=r, low=_least(r, low), new=new, streams=streams))
    return y


def _least(r: Tensor | None, low: int | None) -> int:
    """The distance that `r` begins with: `low`, or what makes zero its middle."""
    if low is not None:
        return low
    return 0 if r is None else -(r.shape[1] // 2)


def _check(q: Tensor, *others: Tensor | None) -> None:
    """A kernel would read what is behind a narrower one."""
    if any(x.shape[-1] != q.shape[-1] for x in others if x is not None):
        widths = [x.shape[-1] for x in (q, *others) if x is not None]
        raise ValueError(f"queries, keys, values and positions of different widths: {widths}")


def _flags(k: Tensor, ring: Ring, there: Tensor | None) -> Tensor | None:
    """Which new frames there are, for a ring that asks."""
    if ring.there is None and there is not None:
        raise ValueError("frames may be absent, and the ring has no place for it")
    absent = ring.there is None or there is not None
    return there if absent else torch.ones(k.shape[:2], dtype=torch.bool, device=k.device)


# --- references and cost ---


def reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    first: Tensor,
    last: Tensor,
    there: Tensor | None = None,
    p: Tensor | None = None,
    r: Tensor | None = None,
    low: int | None = None,
) -> Tensor:
    """`attention` in PyTorch; what nobody sees is zero there too."""
    seen = _matrix(first, last, torch.arange(k.shape[1], device=k.device).unsqueeze(0))
    seen = seen if there is None else seen & there.unsqueeze(1)
    bias = None
    if p is not None and r is not None and low is None:
        bias = relative_scores(p, r, heads, k.shape[1])
    elif p is not None and r is not None and low is not None:
        keys = tuple(range(k.shape[1]))
        bias = relative_window(p, r, heads, tuple(range(q.shape[1])), keys, low)
    return attend(q, _known(k, seen), _known(v, seen), heads, seen.expand(len(q), -1, -1), bias)


def reference_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    ring: Ring,
    streams: Streams,
    p: Tensor | None = None,
    r: Tensor | None = None,
    low: int | None = None,
    there: Tensor | None = None,
) -> Tensor:
    """`attention_step` in PyTorch, for slots that are all somebody's."""
    new, capacity = k.shape[1], ring.keys.shape[1]
    slots = streams.slots.long().unsqueeze(1)
    frames = streams.now.long().unsqueeze(1) + torch.arange(new - capacity, new, device=k.device)
    place, flags = frames % capacity, _flags(k, ring, there)
    for held, x in ((ring.keys, k), (ring.values, v), (ring.there, flags)):
        if held is not None and x is not None:
            held[slots, place[:, capacity - new :]] = x.to(held.dtype)
    seen = _matrix(streams.first, streams.last, frames) & (frames >= 0).unsqueeze(1)
    seen = seen if ring.there is None else seen & ring.there[slots, place].unsqueeze(1)
    bias = None
    if p is not None and r is not None:
        begin = capacity - new - streams.lag
        queries = tuple(range(begin, begin + q.shape[1]))
        bias = relative_window(p, r, heads, queries, tuple(range(capacity)), _least(r, low))
    keys, values = (_known(x[slots, place], seen) for x in (ring.keys, ring.values))
    return attend(q, keys, values, heads, seen, bias)


def _matrix(first: Tensor, last: Tensor, keys: Tensor) -> Tensor:
    """Which of the keys, `[B, K]`, each query sees: `[B, Q, K]`."""
    s = keys.unsqueeze(-2)
    return (s >= first.unsqueeze(-1)) & (s <= last.unsqueeze(-1))


def _known(x: Tensor, seen: Tensor) -> Tensor:
    return x.masked_fill(~seen.any(-2).unsqueeze(-1), 0)


def cost(
    q: Tensor,
    first: Tensor,
    last: Tensor,
    p: Tensor | None = None,
    r: Tensor | None = None,
    new: int = 0,
) -> Cost:
    """Of intervals that hold no more than the keys that there are; every key and value that an
    utterance sees is read once. A step writes `new` frames of each stream into its ring."""
    batch, queries, width = q.shape
    some = last >= first
    seen = torch.where(some, last - first + 1, 0).expand(batch, queries)
    begin, end = first.where(some, 2**31 - 1), last.where(some, -1)
    keys = (end.amax(-1) - begin.amin(-1) + 1).clamp(min=0).expand(batch)
    frames = 2.0 * batch * queries + 2.0 * float(keys.sum()) + 4.0 * batch * new
    products = 2 if p is None else 3
    moved = frames * width * q.element_size() + nbytes(first, last, p, r)
    return Cost(moved, 2.0 * products * width * float(seen.sum()))


# --- launches ---

_MANY = tuple(
    Config({"BLOCK_Q": q, "BLOCK_K": k}, warps, stages)
    for q, k, warps, stages in (
        *((32, 32, 4, 2), (32, 64, 4, 2), (64, 32, 4, 2)),
        *((64, 64, 4, 2), (64, 64, 4, 3), (128, 64, 8, 2)),
    )
)
_FEW = tuple(
    Config({"BLOCK_Q": FEW, "BLOCK_K": k}, warps, stages)
    for k, warps, stages in (
        (32, 2, 2),
        (16, 1, 2),
        (32, 1, 3),
        (64, 2, 2),
        (64, 4, 3),
        (128, 4, 2),
    )
)


@dataclass(frozen=True, slots=True)
class _Call:
    """What the kernel is given; with `streams`, keys and values are those of a ring."""

    q: Tensor
    k: Tensor
    v: Tensor
    heads: int
    first: Tensor
    last: Tensor
    y: Tensor
    there: Tensor | None = None
    p: Tensor | None = None
    r: Tensor | None = None
    low: int = 0
    new: int = 0
    streams: Streams | None = None


def _launch(call: _Call) -> None:
    (batch, queries, width), keys = call.q.shape, call.k.shape[1]
    size, few = width // call.heads, queries <= FEW
    arguments, flags = _arguments(call), _switches(call)

    def run(config: Config) -> None:
        strip = triton.next_power_of_2(config.sizes["BLOCK_Q"] + config.sizes["BLOCK_K"] - 1)
        grid = (triton.cdiv(queries, config.sizes["BLOCK_Q"]) * batch * call.heads,)
        wide = max(16, triton.next_power_of_2(size))
        _attended[grid](*arguments, **flags, SIZE=size, D=wide, STRIP=strip, **config.options())

    shape = (*map(triton.next_power_of_2, (queries, keys)), size, call.p is not None, call.q.dtype)
    name = "attention" if call.streams is None else "attention.step"
    run(TUNER.best(name, shape, _FEW if few else _MANY, run, call.q.device))


def _arguments(call: _Call) -> tuple[Tensor | int | float, ...]:
    batch, queries, width = call.q.shape
    keys, new, streams = call.k.shape[1], call.new, call.streams
    first, last = (x.expand(batch, queries) for x in (call.first, call.last))
    where = (None, None) if streams is None else (streams.slots, streams.now)
    there = None if call.there is None else call.there.view(torch.uint8)
    shift = 0 if streams is None else keys - new - streams.lag
    scale = log2(e) * (width // call.heads) ** -0.5  # the kernel has powers of two
    tensors = (call.q, call.k, call.v, call.p, call.r, there, first, last, *where, call.y)
    rows = 0 if call.r is None else call.r.shape[1]
    sizes = (queries, keys, rows, new, call.heads, scale, shift - call.low)
    strides = _strides(call.q, call.k, call.v, call.p, there, first, last, call.y, call.r)
    return (*_given(tensors), *sizes, *strides)


def _strides(*tensors: Tensor | None) -> list[int]:
    """Of the first two axes; the last of three has to be contiguous."""
    for x in tensors:
        assert x is None or x.dim() == 2 or x.shape[2] == 1 or x.stride(2) == 1
    return [n for x in tensors for n in ((0, 0) if x is None else x.stride()[:2])]


def _switches(call: _Call) -> dict[str, bool]:
    step, relative = call.streams is not None, call.p is not None and call.r is not None
    return {"STEP": step, "RELATIVE": relative, "THERE": call.there is not None}


def _keep(k: Tensor, v: Tensor, ring: Ring, streams: Streams, flags: Tensor | None) -> None:
    """Writes new frames into a ring: a kernel of its own, as nobody may read what it overwrites."""
    batch, new, width = k.shape
    there, held = (None if x is None else x.view(torch.uint8) for x in (flags, ring.there))
    tensors = (k, v, there, ring.keys, ring.values, held, streams.slots, streams.now)
    block = min(1024, triton.next_power_of_2(width))
    _kept[batch * new, triton.cdiv(width, block)](
        *_given(tensors), new, width, ring.keys.shape[1], *_strides(*tensors[:6]),
        THERE=flags is not None, BLOCK=block,
    )  # fmt: skip


# --- kernels ---


@triton.jit
def _kept(
    k, v, there, keys, values, held, slots, now, new, W, capacity,
    k_b, k_t, v_b, v_t, there_b, there_t, keys_b, keys_t, values_b, values_t, held_b, held_t,
    THERE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A program copies (a part of) a frame of keys and values."""
    b, t = (tl.program_id(0) // new).to(tl.int64), tl.program_id(0) % new
    slot = tl.load(slots + b).to(tl.int64)
    place = (tl.load(now + b).to(tl.int64) + t) % capacity
    w = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = (w < W) & (slot >= 0)
    key = tl.load(k + b * k_b + t * k_t + w, inside)
    tl.store(keys + slot * keys_b + place * keys_t + w, key.to(keys.dtype.element_ty), inside)
    value = tl.load(v + b * v_b + t * v_t + w, inside)
    at = values + slot * values_b + place * values_t + w
    tl.store(at, value.to(values.dtype.element_ty), inside)
    if THERE:
        flag = tl.load(there + b * there_b + t * there_t)
        tl.store(held + slot * held_b + place * held_t, flag, slot >= 0)


@triton.jit
def _rows(x, place, here, stride, SIZE: tl.constexpr, D: tl.constexpr):
    """`[rows, D]` of one head; what is not there is not read, and zero."""
    d = tl.arange(0, D)
    inside = here[:, None] & (d < SIZE)[None, :]
    return tl.load(x + place[:, None].to(tl.int64) * stride + d[None, :], inside, 0.0)


@triton.jit
def _interval(first, last, known, oldest, K):
    """First and last place in the window that each query sees; `K .. -1` where it sees none."""
    begin = tl.load(first, known, 0).to(tl.int64) - oldest
    begin = tl.maximum(begin, tl.maximum(-oldest, 0))  # a stream begins with frame 0
    end = tl.minimum(tl.load(last, known, 0).to(tl.int64) - oldest, K - 1)
    some = known & (begin <= end)
    return tl.where(some, begin, K).to(tl.int32), tl.where(some, end, -1).to(tl.int32)


@triton.jit
def _by_distance(
    position, r, row, R, stride, SIZE: tl.constexpr, D: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, STRIP: tl.constexpr,
):  # fmt: skip
    """`[BLOCK_Q, BLOCK_K]`: the products of positions with the rows of `r` for their distances.

    A tile only meets BLOCK_Q + BLOCK_K - 1 distances, from that of its first query to its last key,
    `row`, upwards. One product has them all for every query, on the tensor cores; then each takes
    its own, one column further for the next query. To load a row of `r` for every query and key
    would read each of them up to BLOCK_K times, and multiply without tensor cores.
    """
    rows = row + tl.arange(0, STRIP)
    strip = _rows(r, rows, (rows >= 0) & (rows < R), stride, SIZE, D)
    found = dotted(position, tl.trans(strip), tl.zeros((BLOCK_Q, STRIP), tl.float32))
    apart = tl.arange(0, BLOCK_Q)[:, None] - tl.arange(0, BLOCK_K)[None, :] + BLOCK_K - 1
    return tl.gather(found, apart, 1)


@triton.jit
def _softened(scores, value, peak, total, acc):
    """One more tile of keys; `scores` in powers of two, minus infinity where they are not seen."""
    top = tl.maximum(peak, tl.max(scores, 1))
    level = tl.where(top == float("-inf"), 0.0, top)  # of a query that has seen nothing yet
    weight, fade = tl.exp2(scores - level[:, None]), tl.exp2(peak - level)
    acc = dotted(weight.to(value.dtype), value, acc * fade[:, None])
    return top, total * fade + tl.sum(weight, 1), acc


@triton.jit
def _attended(
    q, k, v, p, r, there, first, last, slots, now, y, Q, K, R, new, heads, scale, shift,
    q_b, q_t, k_b, k_t, v_b, v_t, p_b, p_t, there_b, there_t, first_b, first_t, last_b, last_t,
    y_b, y_t, r_b, r_t,
    STEP: tl.constexpr, RELATIVE: tl.constexpr, THERE: tl.constexpr, SIZE: tl.constexpr,
    D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, STRIP: tl.constexpr,
):  # fmt: skip
    """A program makes a head of `BLOCK_Q` queries."""
    tiles = tl.cdiv(Q, BLOCK_Q)
    begin, head = tl.program_id(0) % tiles * BLOCK_Q, tl.program_id(0) // tiles % heads
    b, column = (tl.program_id(0) // tiles // heads).to(tl.int64), head * SIZE
    t = begin + tl.arange(0, BLOCK_Q)
    known, slot, oldest, start = t < Q, b, b * 0, 0
    if STEP:
        slot = tl.load(slots + b).to(tl.int64)
        oldest = tl.load(now + b).to(tl.int64) + new - K
        # The place of the oldest frame, where a remainder may have the sign of what is divided.
        start = ((oldest % K + K) % K).to(tl.int32)
        known = known & (slot >= 0)
    low, high = _interval(
        first + b * first_b + t * first_t, last + b * last_b + t * last_t, known, oldest, K
    )
    query = _rows(q + b * q_b + column, t, known, q_t, SIZE, D)
    if RELATIVE:
        position = _rows(p + b * p_b + column, t, known, p_t, SIZE, D)
    peak, total = tl.full((BLOCK_Q,), float("-inf"), tl.float32), tl.zeros((BLOCK_Q,), tl.float32)
    acc, end = tl.zeros((BLOCK_Q, D), tl.float32), tl.max(high, 0)
    for tile in range(tl.min(low, 0), end + 1, BLOCK_K):
        s = tile + tl.arange(0, BLOCK_K)
        here, place = s <= end, s + start
        place = tl.where(place < K, place, place - K)
        if THERE:
            here = tl.load(there + slot * there_b + place * there_t, here, 0) != 0
        key = _rows(k + slot * k_b + column, place, here, k_t, SIZE, D)
        scores = dotted(query, tl.trans(key), tl.zeros((BLOCK_Q, BLOCK_K), tl.float32))
        if RELATIVE:
            row = begin - tile - BLOCK_K + 1 + shift
            scores += _by_distance(
                position, r + column, row, R, r_t, SIZE, D, BLOCK_Q, BLOCK_K, STRIP
            )
        value = _rows(v + slot * v_b + column, place, here, v_t, SIZE, D)
        # Nothing times a weight of zero would be a number again: what is not finite goes the way
        # of the scores, to those queries alone that see it.
        finite = tl.abs(value) < float("inf")
        spoilt = tl.sum(tl.where(finite, 0.0, float("nan")), 1)
        scores, value = scores * scale + spoilt[None, :], tl.where(finite, value, 0.0)
        seen = here[None, :] & (s[None, :] >= low[:, None]) & (s[None, :] <= high[:, None])
        scores = tl.where(seen, scores, float("-inf"))
        peak, total, acc = _softened(scores, value, peak, total, acc)
    acc = acc / tl.where(total == 0, 1.0, total)[:, None]
    d = tl.arange(0, D)
    at = y + b * y_b + t[:, None].to(tl.int64) * y_t + column + d[None, :]
    tl.store(at, acc.to(y.dtype.element_ty), (t < Q)[:, None] & (d < SIZE)[None, :])
