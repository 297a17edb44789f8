"""Greedy transducer decoding of many streams, whose host reads nothing between the launches.

Label looping (Bataev et al. 2024, arXiv 2406.06220): each stream has its own frame pointer, on the
device. A round takes a stream over its blanks to its next label, or over a window of frames; then
the predictor takes one step in the streams that found a label. The number of rounds is known
beforehand, so that a CUDA graph can hold them all; a stream with nothing to do costs next to
nothing. Blank is the last class, and of equal classes the lowest wins.

The joint, `W tanh(e + p) + b`, goes to its largest class without writing a score for each: a
program makes some classes of 16 rows, and leaves a maximum, its class and a sum of exponentials.
The classes are split because a step has few rows, and one processor reads a wide W many times
more slowly than all do. Bringing the parts together takes no launch of its own in the loop: the
kernel that moves the pointers does it. With so many streams that each can have a processor,
`alone` saves launches instead: a program takes one stream through all classes and windows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..packed import Weight, bytes_of, shape_of
from ..tuning import TUNER, Config, about
from . import embed as embedding
from . import linear as product
from . import lstm as recurrence
from .activations import tanh
from .codes import in_ptx, kind_of, parts_of, values
from .cost import Cost
from .linear import dotted
from .overlap import early, follow

LOW = tl.constexpr(-1e30)
"""Below every score. It is finite, so that differences of two such are no NaN."""
FLOAT = torch.float32
ROWS = 16
"""Of a tile: what a tensor core takes at least."""


@dataclass(frozen=True, slots=True)
class Joint:
    """Weight `[V, D]` and bias `[V]` of the layer behind `tanh(e + p)`; blank is V - 1."""

    weight: Weight
    bias: Tensor | None = None


class Predictor(Protocol):
    """What follows the labels of many streams, whose states are in slots.

    The last slot is spare: streams that have no label name it, several at once, and whatever is
    in it means nothing. So what is not named stays as it is, and nothing is masked.
    """

    def begin(self, slots: Tensor) -> None:
        """The states in the slots `[B]` are those before the first label."""
        ...

    def step(self, labels: Tensor, slots: Tensor) -> Tensor:
        """`[B, D]` after one more label each, `[B]` (int64); moves the states on."""
        ...


@dataclass(frozen=True, slots=True)
class Layer:
    """Weight `[4 H, D + H]` and bias of an LSTM; h and c `[slots + 1, H]` of all streams."""

    weight: Weight
    bias: Tensor | None
    h: Tensor
    c: Tensor


@dataclass(frozen=True, slots=True)
class LstmPredictor:
    """Embedding `[labels, W]`, LSTM layers, and a dense layer `[D, H]` with its bias."""

    table: Tensor
    layers: tuple[Layer, ...]
    weight: Weight
    bias: Tensor | None = None
    gates: tuple[int, int, int, int] = recurrence.GATES

    def begin(self, slots: Tensor) -> None:
        for layer in self.layers:
            layer.h[slots] = 0
            layer.c[slots] = 0

    def step(self, labels: Tensor, slots: Tensor) -> Tensor:
        x = embedding.embed(labels, self.table)
        for layer in self.layers:
            states = recurrence.States(layer.h, layer.c, slots)
            x = recurrence.lstm_step(x, states, layer.weight, layer.bias, self.gates)
        return product.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Streams:
    """What streams carry from call to call, in slots of which the last is spare; and `slots`
    `[B]` (int64), which of them a batch has, each once.

    output  `[slots + 1, D]`: the predictor's, after the last label
    here    int32: labels found so far at the frame that is next
    frames  int64: how many were read, which is the number of the next one
    scores  float64: log-probabilities of all labels and blanks so far
    """

    output: Tensor
    here: Tensor
    frames: Tensor
    scores: Tensor
    slots: Tensor

    @classmethod
    def room(cls, count: int, like: Tensor) -> Streams:
        """Of so many streams, with outputs as wide as `like` `[..., D]` and of its dtype."""
        return cls(
            like.new_zeros(count + 1, like.shape[-1]),
            like.new_zeros(count + 1, dtype=torch.int32),
            like.new_zeros(count + 1, dtype=torch.int64),
            like.new_zeros(count + 1, dtype=torch.float64),
            torch.arange(count, device=like.device),
        )

    @property
    def spare(self) -> int:
        return len(self.output) - 1

    def of(self, slots: Tensor) -> Streams:
        """The same streams, of which a batch has others."""
        return replace(self, slots=slots)

    def begin(self, predictor: Predictor, first: int | None = 0) -> None:
        """The batch's streams begin anew; before their labels the predictor is given `first`, or
        without it nothing, and its output is zero."""
        for each in (self.output, self.here, self.frames, self.scores):
            each[self.slots] = 0
        predictor.begin(self.slots)
        if first is not None:
            labels = torch.full_like(self.slots, first)
            self.output[self.slots] = predictor.step(labels, self.slots).to(self.output.dtype)


@dataclass(frozen=True, slots=True)
class Found:
    """Labels of a batch, with room for `most` a stream.

    labels  int64 `[B, most]`, of which the first `counts` (int32 `[B]`) are there
    frames  int64 `[B, most]`: where, counted from the stream's beginning
    scores  float32 `[B, most]`: log-probabilities
    read    int32 `[B]`: frames of the chunk that were read

    Where there is no more room, a stream stops before its next label, and `read` is below its
    length. Decoding the same chunk again with `emptied` goes on there.
    """

    labels: Tensor
    frames: Tensor
    scores: Tensor
    counts: Tensor
    read: Tensor

    @classmethod
    def room(cls, batch: int, most: int, device: torch.device | str = "cpu") -> Found:
        kinds = torch.int64, torch.int64, torch.float32
        wide = (torch.zeros(batch, most, dtype=kind, device=device) for kind in kinds)
        long = (torch.zeros(batch, dtype=torch.int32, device=device) for _ in range(2))
        return cls(*wide, *long)

    def emptied(self) -> Found:
        """For more labels of the same chunk."""
        return replace(self, counts=torch.zeros_like(self.counts))


@dataclass(frozen=True, slots=True)
class Plan:
    """How to go through a chunk.

    per_frame  at most so many labels at one frame; then the next frame's turn comes
    window     frames that a round looks at in each stream: 1, 2, 4, 8 or 16
    alone      a program takes one stream to its next label, however far, and 16 frames at a time
    """

    per_frame: int = 10
    window: int = 8
    alone: bool = False

    def __post_init__(self) -> None:
        if self.per_frame < 1 or self.window not in (1, 2, 4, 8, 16):
            raise ValueError("per_frame is at least 1, window a power of two up to 16")

    def rounds(self, frames: int, most: int) -> int:
        """That are enough whatever is said: a round finds a label, passes a window of blanks or
        ends a stream, and alone the latter two together are one."""
        return most + (min(frames, 1) if self.alone else triton.cdiv(frames, self.window))


def joint_argmax(
    e: Tensor, p: Tensor, weight: Weight, bias: Tensor | None = None, active: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The largest class of `W tanh(e + p) + b`, int64 `[N]`, and its log-probability, float32.

    Of frames and predictor outputs `[N, D]`; those not `active` (bool `[N]`) are not read, and
    are blank with 0. NaN is never the largest: where all is NaN, it is blank with NaN. The
    log-probability comes always, as an exponential beside D products.
    """
    rows, blank = len(e), shape_of(weight)[0] - 1
    zero = torch.zeros(rows, dtype=torch.int32, device=e.device)
    labels, scores = torch.empty_like(zero, dtype=torch.int64), torch.empty_like(zero, dtype=FLOAT)
    if rows:
        ends = zero + 1 if active is None else active.to(torch.int32)
        at = torch.arange(rows, device=e.device), zero, ends
        parts = _split(e.contiguous().unsqueeze(1), p.contiguous(), at, Joint(weight, bias), 1)
        count = parts[0].shape[1]
        _winners[(rows,)](
            *parts, ends, labels, scores, blank, count,
            PARTS=triton.next_power_of_2(count), num_warps=1,
        )  # fmt: skip
    return labels, scores


def decode(
    e: Tensor,
    lengths: Tensor,
    predictor: Predictor,
    joint: Joint,
    streams: Streams,
    found: Found,
    plan: Plan | None = None,
) -> Found:
    """The labels of one more chunk of encoder frames `[B, T, D]`, into `found`, which it returns.

    `lengths` `[B]` are the frames that are there; those behind are not read. Streams begin with
    `Streams.begin`. Any division into chunks finds the same. What a CUDA graph is to hold has to
    run once before: sizes of tiles are measured then.
    """
    plan = plan or Plan()
    batch, frames, width = e.shape
    most = found.labels.shape[1]
    if {len(streams.slots), len(lengths), len(found.read)} != {batch}:
        raise ValueError(f"{batch} slots, lengths and rows of what is found are needed")
    if shape_of(joint.weight)[1] != width or streams.output.shape[1] != width:
        raise ValueError(f"the joint and the predictor's outputs have to be {width} wide, as e")
    if batch * frames * most == 0:
        return found
    e = e if e.stride(2) == 1 else e.contiguous()
    ends = lengths.to(torch.int32).clamp(0, frames)
    labels, slots = torch.empty_like(streams.slots), torch.empty_like(streams.slots)
    for turn in range(plan.rounds(frames, most)):
        _look(e, ends, joint, streams, found, plan, (labels, slots))
        if turn < most or not plan.alone:
            made = predictor.step(labels, slots)
            streams.output[slots] = made.to(streams.output.dtype)
    return found


def reference(
    e: Tensor,
    lengths: Tensor,
    predictor: LstmPredictor,
    joint: Joint,
    per_frame: int = 10,
    first: int | None = 0,
) -> list[tuple[list[tuple[int, int, float]], float]]:
    """The same in PyTorch, float32, frame by frame (Graves 2012, section 2.6): of each stream from
    its beginning the labels with frames and scores, and the score of all, blanks included."""
    return [
        _frame_loop(row[:length].float(), predictor, joint, per_frame, first)
        for row, length in zip(e, lengths.tolist(), strict=True)
    ]


def cost(rows: int, weight: Weight, element: int = 4) -> Cost:
    """Of the joint of so many rows, whose numbers have `element` bytes, to label and score."""
    classes, width = shape_of(weight)
    moved = bytes_of(weight) + rows * (2 * width * element + 12)
    return Cost(moved, 2.0 * rows * width * classes)


# --- reference ---


def _frame_loop(
    e: Tensor, predictor: LstmPredictor, joint: Joint, per_frame: int, first: int | None
) -> tuple[list[tuple[int, int, float]], float]:
    zero = [(torch.zeros_like(layer.h[:1]), layer.c[:1] * 0) for layer in predictor.layers]
    p, states = torch.zeros_like(e[:1, :]), zero
    if first is not None:
        p, states = _plain_step(predictor, first, zero)
    labels, total, blank = [], 0.0, shape_of(joint.weight)[0] - 1
    for t, frame in enumerate(e):
        for _ in range(per_frame):
            logits = product.reference(torch.tanh(frame + p), joint.weight, joint.bias)
            score, label = (float(x) for x in logits[0].log_softmax(-1).max(-1))
            total += score
            if label == blank:
                break
            labels.append((int(label), t, score))
            p, states = _plain_step(predictor, int(label), states)
    return labels, total


def _plain_step(
    predictor: LstmPredictor, label: int, states: list[tuple[Tensor, Tensor]]
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    x, after = predictor.table[label].float()[None, None], []
    for layer, (h, c) in zip(predictor.layers, states, strict=True):
        x, h, c = recurrence.reference(x, h, c, layer.weight, layer.bias, predictor.gates)
        after.append((h, c))
    return product.reference(x[:, 0], predictor.weight, predictor.bias), after


# --- launches ---

_TILES = tuple(
    Config({"BLOCK": block, "BLOCK_K": 64}, warps, 3)
    for block, warps in ((64, 4), (32, 4), (32, 2), (16, 2), (128, 4))
)
_PACKED_TILES = tuple(replace(tile, stages=1) for tile in _TILES)
"""Codes go through registers, which stages only take shared memory for."""
_ALONE = Config({"BLOCK": 64, "BLOCK_K": 64}, 4, 3)
_PACKED_ALONE = Config({"BLOCK": 32, "BLOCK_K": 64}, 4, 1)
"""These are not measured: a stream that was moved on is not where it was."""


_Three: TypeAlias = tuple[Tensor, Tensor, Tensor]


def _split(e: Tensor, p: Tensor, at: _Three, joint: Joint, window: int) -> _Three:
    """Of a window of the frames `[B, T, D]` of each stream, with the outputs `[slots, D]`: each
    row's and tile's maximum, its class, and the sum of exponentials. `at` are the slots of the
    streams, where their windows begin, and where their frames end, `[B]`."""
    (classes, width), rows = shape_of(joint.weight), len(e) * window
    weight, quads, kind = _read(joint, e)

    def run(config: Config) -> _Three:
        count = triton.cdiv(classes, config.sizes["BLOCK"])
        high = e.new_empty(rows, count, dtype=FLOAT)
        parts = high, torch.empty_like(high, dtype=torch.int32), torch.empty_like(high)
        _joint[triton.cdiv(rows, ROWS), count](
            e, p, *at, *weight, *parts, rows, e.stride(0), e.stride(1), classes, width, quads,
            count, WINDOW=window, ROWS=ROWS, **kind, **config.options(), **early(e),
        )  # fmt: skip
        return parts

    shape = (about(rows), classes, width, kind["BITS"], e.dtype, kind["KIND"])
    tiles = _PACKED_TILES if kind["BITS"] else _TILES
    return run(TUNER.best("greedy.joint", shape, tiles, run, e.device))


def _read(joint: Joint, e: Tensor) -> tuple[tuple[Tensor, ...], int, dict[str, Any]]:
    """Weight, codebook, scales and bias; vectors of words a row; and what they are."""
    parts, quads, bits = parts_of(joint.weight)
    bias = parts[0] if joint.bias is None else joint.bias
    kind: dict[str, Any] = {"BITS": bits, "BIAS": joint.bias is not None}
    kind |= {"PTX": in_ptx(e), "KIND": kind_of(e, joint.weight)}
    return (*parts, bias), quads, kind


def _look(
    e: Tensor,
    ends: Tensor,
    joint: Joint,
    streams: Streams,
    found: Found,
    plan: Plan,
    step: tuple[Tensor, Tensor],
) -> None:
    """Moves every stream over its blanks and its label, which `step` then has, with its slot."""
    at, kept = (streams.slots, found.read, ends), (streams.here, streams.frames, streams.scores)
    made = (*kept, found.labels, found.frames, found.scores, found.counts, *step)
    (classes, width), most = shape_of(joint.weight), found.labels.shape[1]
    sizes = (streams.spare, most, plan.per_frame, classes)
    if not plan.alone:
        parts = _split(e, streams.output, at, joint, plan.window)
        count = parts[0].shape[1]
        wide = triton.next_power_of_2(count)
        _take[(len(e),)](
            *at, *parts, *made, *sizes, count, WINDOW=plan.window, PARTS=wide,
            num_warps=min(8, max(1, plan.window * wide // 256)), **early(e),
        )  # fmt: skip
        return
    weight, quads, kind = _read(joint, e)
    _scan[(len(e),)](
        e, streams.output, *at, *weight, *made, *sizes, e.stride(0), e.stride(1), width, quads,
        ROWS=ROWS, **kind, **(_PACKED_ALONE if kind["BITS"] else _ALONE).options(), **early(e),
    )  # fmt: skip


# --- kernels ---


@triton.jit
def _hidden(e, p, k, there, D):
    """`[ROWS, K]` of `tanh(e + p)`, from the pointers to each row, in e's dtype."""
    inside = there[:, None] & (k < D)[None, :]
    x = tl.load(e[:, None] + k[None, :], inside, 0.0)
    y = tl.load(p[:, None] + k[None, :], inside, 0.0)
    return tanh(x.to(tl.float32) + y.to(tl.float32)).to(x.dtype)


@triton.jit
def _scores(
    e, p, there, weight, book, scale, bias, n, V, D, quads,
    BITS: tl.constexpr, BIAS: tl.constexpr, PTX: tl.constexpr, KIND: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """float32 `[ROWS, BLOCK]` of the classes n; minus infinity where there is no such class."""
    acc = tl.zeros((ROWS, BLOCK), tl.float32)
    for first in range(0, D, BLOCK_K):
        row = _hidden(e, p, first + tl.arange(0, BLOCK_K), there, D)
        w = values(weight, book, n.to(tl.int64), n < V, first, D, quads, BITS, BLOCK_K, PTX, KIND)
        acc = dotted(row, tl.trans(w), acc, KIND)
    if BITS > 0:
        acc *= tl.load(scale + n, n < V, 0.0)[None, :]
    if BIAS:
        acc += tl.load(bias + n, n < V, 0.0).to(tl.float32)[None, :]
    return tl.where((n < V)[None, :], acc, float("-inf"))


@triton.jit
def _higher(high, best, total, x, n):
    """Maximum, its class and the sum of exponentials, after a tile of further classes.

    An earlier class keeps its place where another is as high. NaN shows in the sum alone.
    """
    top = tl.max(tl.where(x == x, x, LOW), 1)
    lowest = tl.min(tl.where(x == top[:, None], n[None, :], 2147483647), 1)
    above = tl.maximum(high, top)
    total = total * tl.exp(high - above) + tl.sum(tl.exp(x - above[:, None]), 1)
    return above, tl.where(top > high, lowest, best), total


@triton.jit
def _log(total):
    """The log-probability of the largest class, which is 1 of the sum; NaN stays."""
    return -tl.log(tl.where(total < 1, 1.0, total))


@triton.jit(do_not_specialize=("M",))
def _joint(
    e, p, slots, starts, ends, weight, book, scale, bias, high, best, total,
    M, e_stream, e_frame, V, D, quads, parts,
    BITS: tl.constexpr, BIAS: tl.constexpr, PTX: tl.constexpr, KIND: tl.constexpr,
    WINDOW: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """A program makes `BLOCK` classes of `ROWS` rows, `WINDOW` of which are a stream's.

    Where no row has a frame it reads no weight, and where one has none it leaves what is there.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    b = rows // WINDOW
    follow()
    t = tl.load(starts + b, rows < M, 0) + rows % WINDOW
    there = (rows < M) & (t < tl.load(ends + b, rows < M, 0))
    if tl.max(there.to(tl.int32), 0) > 0:
        n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        frame = e + b.to(tl.int64) * e_stream + t.to(tl.int64) * e_frame
        said = p + tl.load(slots + b, there, 0).to(tl.int64) * D
        x = _scores(
            frame, said, there, weight, book, scale, bias, n, V, D, quads,
            BITS, BIAS, PTX, KIND, ROWS, BLOCK, BLOCK_K,
        )  # fmt: skip
        nothing = tl.zeros((ROWS,), tl.int32)
        a, which, s = _higher(nothing + LOW, nothing + V - 1, nothing.to(tl.float32), x, n)
        place = rows.to(tl.int64) * parts + tl.program_id(1)
        tl.store(high + place, a, there)
        tl.store(best + place, which, there)
        tl.store(total + place, s, there)


@triton.jit
def _together(high, best, total, rows, there, parts, blank, PARTS: tl.constexpr):
    """Class and log-probability of rows, from those of their parts; blank where nothing is."""
    part = tl.arange(0, PARTS)
    known = there[:, None] & (part < parts)[None, :]
    place = rows.to(tl.int64)[:, None] * parts + part[None, :]
    h = tl.load(high + place, known, LOW)
    top = tl.max(h, 1)
    n = tl.load(best + place, known, blank)
    lowest = tl.min(tl.where(h == top[:, None], n, blank), 1)
    s = tl.load(total + place, known, 0.0) * tl.exp(h - top[:, None])
    return lowest, _log(tl.sum(s, 1))


@triton.jit
def _winners(
    high, best, total, active, labels, scores, blank, parts, PARTS: tl.constexpr
):  # fmt: skip
    """A program brings the parts of one row together."""
    row = tl.program_id(0) + tl.arange(0, 1)
    there = tl.load(active + row) > 0
    label, score = _together(high, best, total, row, there, parts, blank, PARTS)
    tl.store(labels + row, label.to(tl.int64))
    tl.store(scores + row, score)


@triton.jit
def _walk(label, score, left, blank, WINDOW: tl.constexpr):
    """Over the blanks of a window, of whose frames `left` are there: how many they are, what they
    score together; the label behind them, blank if there is none; and its score."""
    place = tl.arange(0, WINDOW)
    label = tl.where(place < left, label, blank)
    passed = tl.min(tl.where(label != blank, place, tl.minimum(left, WINDOW)), 0)
    gained = tl.sum(tl.where(place < passed, score, 0.0), 0)
    behind = (place == passed) & (label != blank)
    found = tl.min(tl.where(behind, label, blank), 0)
    return passed, gained, found, tl.sum(tl.where(behind, score, 0.0), 0)


@triton.jit
def _settle(
    b, slot, first, passed, gained, label, score, starts, here, frame, sums,
    labels, frames, scores, counts, step_labels, step_slots, spare, most, per_frame, blank,
):  # fmt: skip
    """Writes where a stream is, after some blanks and a label, if there is one and room for it."""
    count, at, before = tl.load(counts + b), tl.load(frame + slot), tl.load(here + slot)
    summed = tl.load(sums + slot)
    tl.debug_barrier()  # all threads have read what one of them writes
    taken = (label != blank) & (count < most)
    symbols = tl.where(passed > 0, 0, before) + taken.to(tl.int32)
    leaves = taken & (symbols >= per_frame)
    moved = passed + leaves.to(tl.int32)
    place = b.to(tl.int64) * most + count
    tl.store(labels + place, label.to(tl.int64), taken)
    tl.store(frames + place, at + passed, taken)
    tl.store(scores + place, score, taken)
    total = gained + tl.where(taken, score, 0.0)
    tl.store(sums + slot, summed + total.to(tl.float64))
    tl.store(counts + b, count + taken.to(tl.int32))
    tl.store(starts + b, first + moved)
    tl.store(frame + slot, at + moved)
    tl.store(here + slot, tl.where(leaves, 0, symbols))
    tl.store(step_labels + b, tl.where(taken, label, 0).to(tl.int64))
    tl.store(step_slots + b, tl.where(taken, slot, spare).to(tl.int64))


@triton.jit(do_not_specialize=("most",))
def _take(
    slots, starts, ends, high, best, total, here, frame, sums, labels, frames, scores, counts,
    step_labels, step_slots, spare, most, per_frame, V, parts,
    WINDOW: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """A program moves one stream, of whose window the joint is made."""
    follow()
    b, place = tl.program_id(0), tl.arange(0, WINDOW)
    slot, first = tl.load(slots + b), tl.load(starts + b)
    left, blank = tl.load(ends + b) - first, V - 1
    label, score = _together(
        high, best, total, b * WINDOW + place, place < left, parts, blank, PARTS
    )  # fmt: skip
    passed, gained, found, sure = _walk(label, score, tl.maximum(left, 0), blank, WINDOW)
    _settle(
        b, slot, first, passed, gained, found, sure, starts, here, frame, sums,
        labels, frames, scores, counts, step_labels, step_slots, spare, most, per_frame, blank,
    )  # fmt: skip


@triton.jit(do_not_specialize=("most",))
def _scan(
    e, p, slots, starts, ends, weight, book, scale, bias, here, frame, sums,
    labels, frames, scores, counts, step_labels, step_slots, spare, most, per_frame, V,
    e_stream, e_frame, D, quads,
    BITS: tl.constexpr, BIAS: tl.constexpr, PTX: tl.constexpr, KIND: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """A program takes one stream, a window of `ROWS` frames after the other, to its next label."""
    follow()
    b, place = tl.program_id(0), tl.arange(0, ROWS)
    slot, first, end = tl.load(slots + b), tl.load(starts + b), tl.load(ends + b)
    said, nothing = p + slot.to(tl.int64) * D + place * 0, tl.zeros((ROWS,), tl.int32)
    at, found = first, tl.min(nothing, 0) + V - 1
    gained = tl.sum(nothing.to(tl.float32), 0)
    sure = gained
    while (at < end) & (found == V - 1):
        t = at + place
        rows = e + b.to(tl.int64) * e_stream + t.to(tl.int64) * e_frame
        high, best, total = nothing + LOW, nothing + V - 1, nothing.to(tl.float32)
        for begin in range(0, V, BLOCK):
            n = begin + tl.arange(0, BLOCK)
            x = _scores(
                rows, said, t < end, weight, book, scale, bias, n, V, D, quads,
                BITS, BIAS, PTX, KIND, ROWS, BLOCK, BLOCK_K,
            )  # fmt: skip
            high, best, total = _higher(high, best, total, x, n)
        passed, more, found, sure = _walk(best, _log(total), end - at, V - 1, ROWS)
        at += passed
        gained += more
    _settle(
        b, slot, first, at - first, gained, found, sure, starts, here, frame, sums,
        labels, frames, scores, counts, step_labels, step_slots, spare, most, per_frame, V - 1,
    )  # fmt: skip
