"""Attention under any mask that lets a query see an interval of keys, without a matrix of scores.

Tiles of keys pass by a tile of queries, which keeps a running softmax (Dao et al. 2022,
FlashAttention, algorithm 1); those that no query of the tile sees are never read. Scores of
relative positions (Dai et al. 2019, Transformer-XL) are made in the kernel too.

A step of streams is the same kernel over a window: the keys and values that a ring held before the
step, where they lie (`rings.py`), then those that are new.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import e, log2
from typing import Any, TypeAlias

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...torch.attention import attend, relative_scores
from ...torch.stepping import relative_window
from ..tuning import TUNER, Config
from .codes import as_kind, kind_of
from .cost import Cost, nbytes
from .linear import _given, dotted, side_by_side
from .overlap import early, follow
from .rings import Moment, first_place, place_of, window

FEW = 16
"""Queries up to which a tile holds them all: the fewest rows that a tensor core takes."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Keys and values of all streams before a step, `[B, capacity, W]`; `capacity` is no less than
    what the first query of a step sees of older frames."""

    keys: Tensor
    values: Tensor
    now: Moment


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
    begin = t if chunk is None else t // chunk * chunk
    end = t if chunk is None else begin + chunk - 1
    first = torch.zeros_like(t) if left is None else (begin - left).clamp(min=0)
    last = torch.full_like(t, keys - 1) if right is None else (end + right).clamp(max=keys - 1)
    return first.int(), last.int()


Shifts: TypeAlias = tuple[Tensor | None, Tensor | None]
"""Rows that are added to queries, and to what meets the positions."""
NO_SHIFTS: Shifts = (None, None)

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
    products: torch.dtype | None = None,
    shifts: Shifts = NO_SHIFTS,
) -> Tensor:
    """`softmax((q k + p r[t - s]) / sqrt(d)) v` in each head: `[B, Q, W]` of queries `[B, Q, W]`
    and keys and values `[B, K, W]` (last axes contiguous).

    A query sees the keys `first .. last` (`[Q]` or `[B, Q]`) of those that are `there` (`[B, K]`),
    or gets zeros. `p` is `[B, Q, W]`, `r` `[1, 2 n - 1, W]` for the distances `-(n - 1) .. n - 1`,
    or `[1, distances, W]` from `low` on; query t and key s are at the distance `t - s`.
    `products` is the type in which tensor cores multiply numbers in float32; `shifts` are rows
    `[W]` that are added to every query, and to every row of `p`. Raises ValueError where widths
    differ.
    """
    _check(q, k, v, p, r)
    y = torch.empty(q.shape, dtype=q.dtype, device=q.device) if out is None else out
    if y.numel():
        more = there, p, r, _least(r, low), products, shifts
        _launch(_Call(q, k, v, heads, first, last, y, *more))
    return y


def attention_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    ring: Ring,
    first: Tensor,
    last: Tensor,
    there: Tensor | None = None,
    p: Tensor | None = None,
    r: Tensor | None = None,
    out: Tensor | None = None,
    low: int | None = None,
    products: torch.dtype | None = None,
    shifts: Shifts = NO_SHIFTS,
) -> Tensor:
    """The same for a step of streams, with new keys and values `[B, n, W]`, over the window
    `[B, capacity + n]` of the ring's frames, oldest first, and the new ones.

    `first`, `last` and `there` are about places in the window, and `low` about queries and the
    window both counted from zero. Frames before a stream's start are never seen. The ring stays
    as it is: the caller keeps the new frames.
    """
    _check(q, k, v, ring.keys, ring.values, p, r)
    y = torch.empty(q.shape, dtype=q.dtype, device=q.device) if out is None else out
    if y.numel():
        more = there, p, r, _least(r, low), products, shifts
        _launch(_Call(q, k, v, heads, first, last, y, *more, ring))
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
    first: Tensor,
    last: Tensor,
    there: Tensor | None = None,
    p: Tensor | None = None,
    r: Tensor | None = None,
    low: int | None = None,
) -> Tensor:
    """`attention_step` in PyTorch."""
    keys, values = (window(x, new, ring.now) for x, new in ((ring.keys, k), (ring.values, v)))
    place = torch.arange(keys.shape[1], device=k.device)
    begun = ring.now.oldest(ring.keys.shape[1]).unsqueeze(1) + place >= 0
    there = begun if there is None else begun & there
    return reference(q, keys, values, heads, first, last, there, p, r, _least(r, low))


def _matrix(first: Tensor, last: Tensor, keys: Tensor) -> Tensor:
    """Which of the keys, `[B, K]`, each query sees: `[B, Q, K]`."""
    s = keys.unsqueeze(-2)
    return (s >= first.unsqueeze(-1)) & (s <= last.unsqueeze(-1))


def _known(x: Tensor, seen: Tensor) -> Tensor:
    return x.masked_fill(~seen.any(-2).unsqueeze(-1), 0)


def cost(
    q: Tensor, first: Tensor, last: Tensor, p: Tensor | None = None, r: Tensor | None = None
) -> Cost:
    """Of intervals that hold no more than the keys that there are; every key and value that an
    utterance, or a step of a stream, sees is read once."""
    batch, queries, width = q.shape
    some = last >= first
    seen = torch.where(some, last - first + 1, 0).expand(batch, queries)
    begin, end = first.where(some, 2**31 - 1), last.where(some, -1)
    keys = (end.amax(-1) - begin.amin(-1) + 1).clamp(min=0).expand(batch)
    frames = 2.0 * batch * queries + 2.0 * float(keys.sum())
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
    """What the kernel is given; with a ring, keys and values are those behind its own."""

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
    products: torch.dtype | None = None
    shifts: Shifts = NO_SHIFTS
    ring: Ring | None = None

    @property
    def held(self) -> int:
        """Frames of the window that are in the ring."""
        return 0 if self.ring is None else self.ring.keys.shape[1]


def _launch(call: _Call) -> None:
    read: dict[str, Any] = {
        n: side_by_side(x) for n in "qkvpr" if (x := getattr(call, n)) is not None
    }
    call = replace(call, **read)
    (batch, queries, width), keys = call.q.shape, call.held + call.k.shape[1]
    size, few = width // call.heads, queries <= FEW
    arguments, flags = _arguments(call), _switches(call)
    kind = kind_of(call.q, call.products)

    def run(config: Config) -> None:
        strip = triton.next_power_of_2(config.sizes["BLOCK_Q"] + config.sizes["BLOCK_K"] - 1)
        grid = (triton.cdiv(queries, config.sizes["BLOCK_Q"]) * batch * call.heads,)
        wide = max(16, triton.next_power_of_2(size))
        _attended[grid](
            *arguments,
            **flags,
            KIND=kind,
            SIZE=size,
            D=wide,
            STRIP=strip,
            **config.options(),
            **early(call.q),
        )

    shape = (
        *map(triton.next_power_of_2, (queries, keys)),
        size,
        call.p is not None,
        call.q.dtype,
        kind,
    )
    name = "attention" if call.ring is None else "attention.step"
    run(TUNER.best(name, shape, _FEW if few else _MANY, run, call.q.device))


def _arguments(call: _Call) -> tuple[Tensor | int | float, ...]:
    batch, queries, width = call.q.shape
    first, last = (x.expand(batch, queries) for x in (call.first, call.last))
    there = None if call.there is None else call.there.view(torch.uint8)
    scale = log2(e) * (width // call.heads) ** -0.5  # the kernel has powers of two
    ring, rows = call.ring, 0 if call.r is None else call.r.shape[1]
    held = (None, None, None) if ring is None else (ring.keys, ring.values, ring.now.age)
    turn = (0, 0, 0) if ring is None else (call.held, ring.now.count, ring.now.start)
    tensors = (call.q, call.k, call.v, *held, call.p, call.r, there, first, last, call.y)
    tensors = (*tensors, *call.shifts)
    sizes = (queries, call.k.shape[1], rows, *turn, call.heads, scale, -call.low)
    strides = _strides(*tensors[:5], call.p, call.r, there, first, last, call.y)
    return (*_given(tensors), *sizes, *strides)


def _strides(*tensors: Tensor | None) -> list[int]:
    """Of the first two axes; the last of three has to be contiguous."""
    for x in tensors:
        assert x is None or x.dim() == 2 or x.shape[2] == 1 or x.stride(2) == 1
    return [n for x in tensors for n in ((0, 0) if x is None else x.stride()[:2])]


def _switches(call: _Call) -> dict[str, bool]:
    step, relative = call.ring is not None, call.p is not None and call.r is not None
    shifted = {
        name: x is not None for name, x in zip(("Q_SHIFT", "P_SHIFT"), call.shifts, strict=True)
    }
    return {"STEP": step, "RELATIVE": relative, "THERE": call.there is not None, **shifted}


# --- kernels ---


@triton.jit
def _shifted(rows, shift, SIZE: tl.constexpr, D: tl.constexpr):
    """Rows of one head, and what is added to each."""
    d = tl.arange(0, D)
    return rows.to(tl.float32) + tl.load(shift + d, d < SIZE, 0.0).to(tl.float32)[None, :]


@triton.jit
def _rows(x, place, here, stride, SIZE: tl.constexpr, D: tl.constexpr):
    """`[rows, D]` of one head; what is not there is not read, and zero."""
    d = tl.arange(0, D)
    inside = here[:, None] & (d < SIZE)[None, :]
    return tl.load(x + place[:, None].to(tl.int64) * stride + d[None, :], inside, 0.0)


@triton.jit
def _window(
    x, ring, s, here, held, place, x_t, ring_t,
    STEP: tl.constexpr, SIZE: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """The same of frames `s` of a window, those before `held` from their places in a ring."""
    if STEP:
        old = _rows(ring, place, here & (s < held), ring_t, SIZE, D)
        new = _rows(x, s - held, here & (s >= held), x_t, SIZE, D)
        found = tl.where((s < held)[:, None], old.to(new.dtype), new)
    else:
        found = _rows(x, s, here, x_t, SIZE, D)
    return found


@triton.jit
def _interval(first, last, known, begun, K):
    """First and last place in the window that each query sees, from `begun` on; `K .. -1` where it
    sees none."""
    begin = tl.maximum(tl.load(first, known, 0), begun)
    end = tl.minimum(tl.load(last, known, 0), K - 1)
    some = known & (begin <= end)
    return tl.where(some, begin, K).to(tl.int32), tl.where(some, end, -1).to(tl.int32)


@triton.jit
def _by_distance(
    position, r, row, R, stride, KIND: tl.constexpr, SIZE: tl.constexpr, D: tl.constexpr,
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
    found = dotted(position, tl.trans(strip), tl.zeros((BLOCK_Q, STRIP), tl.float32), KIND)
    apart = tl.arange(0, BLOCK_Q)[:, None] - tl.arange(0, BLOCK_K)[None, :] + BLOCK_K - 1
    return tl.gather(found, apart, 1)


@triton.jit
def _softened(scores, value, peak, total, acc, KIND: tl.constexpr):
    """One more tile of keys; `scores` in powers of two, minus infinity where they are not seen."""
    top = tl.maximum(peak, tl.max(scores, 1))
    level = tl.where(top == float("-inf"), 0.0, top)  # of a query that has seen nothing yet
    weight, fade = tl.exp2(scores - level[:, None]), tl.exp2(peak - level)
    acc = dotted(weight, value, acc * fade[:, None], KIND)
    return top, total * fade + tl.sum(weight, 1), acc


@triton.jit(do_not_specialize=("Q", "new", "R", "there_b", "first_b", "last_b"))
def _attended(
    q, k, v, held_k, held_v, age, p, r, there, first, last, y, q_shift, p_shift,
    Q, new, R, held, count, start, heads, scale, shift,
    q_b, q_t, k_b, k_t, v_b, v_t, hk_b, hk_t, hv_b, hv_t, p_b, p_t, r_b, r_t, there_b, there_t,
    first_b, first_t, last_b, last_t, y_b, y_t,
    STEP: tl.constexpr, RELATIVE: tl.constexpr, THERE: tl.constexpr, Q_SHIFT: tl.constexpr,
    P_SHIFT: tl.constexpr, KIND: tl.constexpr,
    SIZE: tl.constexpr, D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
    STRIP: tl.constexpr,
):  # fmt: skip
    """A program makes a head of `BLOCK_Q` queries."""
    follow()
    tiles = tl.cdiv(Q, BLOCK_Q)
    begin, head = tl.program_id(0) % tiles * BLOCK_Q, tl.program_id(0) // tiles % heads
    b, column = (tl.program_id(0) // tiles // heads).to(tl.int64), head * SIZE
    t, K = begin + tl.arange(0, BLOCK_Q), held + new
    known, begun, place = t < Q, 0, 0
    if STEP:
        oldest, place = first_place(age + b, count, start, held)
        begun = tl.minimum(tl.maximum(-oldest, 0), K).to(tl.int32)
    low, high = _interval(
        first + b * first_b + t * first_t, last + b * last_b + t * last_t, known, begun, K
    )
    query = _rows(q + b * q_b + column, t, known, q_t, SIZE, D)
    if Q_SHIFT:
        query = _shifted(query, q_shift + column, SIZE, D)
    if RELATIVE:
        position = _rows(p + b * p_b + column, t, known, p_t, SIZE, D)
        if P_SHIFT:
            position = _shifted(position, p_shift + column, SIZE, D)
    peak, total = tl.full((BLOCK_Q,), float("-inf"), tl.float32), tl.zeros((BLOCK_Q,), tl.float32)
    acc, end = tl.zeros((BLOCK_Q, D), tl.float32), tl.max(high, 0)
    for tile in range(tl.min(low, 0), end + 1, BLOCK_K):
        s = tile + tl.arange(0, BLOCK_K)
        here = s <= end
        if THERE:
            here = tl.load(there + b * there_b + s * there_t, here, 0) != 0
        at = place_of(s, place, held)
        keys, ring = k + b * k_b + column, held_k + b * hk_b + column
        key = _window(keys, ring, s, here, held, at, k_t, hk_t, STEP, SIZE, D)
        scores = dotted(query, tl.trans(key), tl.zeros((BLOCK_Q, BLOCK_K), tl.float32), KIND)
        if RELATIVE:
            row = begin - tile - BLOCK_K + 1 + shift
            scores += _by_distance(
                position, r + column, row, R, r_t, KIND, SIZE, D, BLOCK_Q, BLOCK_K, STRIP
            )
        values, ring = v + b * v_b + column, held_v + b * hv_b + column
        value = as_kind(_window(values, ring, s, here, held, at, v_t, hv_t, STEP, SIZE, D), KIND)
        # Nothing times a weight of zero would be a number again: what is not finite goes the way
        # of the scores, to those queries alone that see it.
        finite = tl.abs(value) < float("inf")
        spoilt = tl.sum(tl.where(finite, 0.0, float("nan")), 1)
        scores, value = scores * scale + spoilt[None, :], tl.where(finite, value, 0.0)
        seen = here[None, :] & (s[None, :] >= low[:, None]) & (s[None, :] <= high[:, None])
        scores = tl.where(seen, scores, float("-inf"))
        peak, total, acc = _softened(scores, value, peak, total, acc, KIND)
    acc = acc / tl.where(total == 0, 1.0, total)[:, None]
    d = tl.arange(0, D)
    at = y + b * y_b + t[:, None].to(tl.int64) * y_t + column + d[None, :]
    tl.store(at, acc.to(y.dtype.element_ty), (t < Q)[:, None] & (d < SIZE)[None, :])
