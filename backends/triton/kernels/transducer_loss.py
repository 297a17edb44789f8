"""The transducer loss and its gradient (Graves 2012, arXiv 1211.3711), softmax included.

Node (t, u) stands before frame t with u labels out; its blank arc goes to (t+1, u), its label arc
to (t, u+1). The scores are read once for the loss, and read and written once for the gradient:
besides the two nothing is as large as `[B, T, U+1, V]`. Padding is not read.

What is kept of a cell lies by anti-diagonals, `[B, T+U, U+1]` with t + u as the second axis: a
diagonal, whose nodes do not depend on each other, is then a row of memory.

Logarithms of probabilities are added up in float64, as hundreds of them lose 1e-3 in float32; each
correction, `log(1 + e^-x)`, is made in float32, which a GPU has special units for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..tuning import TUNER, Config
from .cost import Cost

LOW = tl.constexpr(-1e30)
"""The logarithm of nothing. It is finite, so that differences of two such are no NaN."""
IMPOSSIBLE = tl.constexpr(-1e29)
"""A logarithm below this has at least one `LOW` in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Labels `[B, U]`, lengths `[B]`, the class that is blank, and FastEmit's lambda."""

    targets: Tensor
    frames: Tensor
    labels: Tensor
    blank: int
    fastemit: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """By anti-diagonals `[B, T+U, U+1]`, meaningless in padding: the logarithms of

    - `norms`: the sum of the exponentials of a cell's scores, float32,
    - `blanks`, `moves`: the probabilities of its blank and its label arc, float32,
    - `alpha`, `beta`: the probabilities of all paths up to a node and from it on, float64.

    `totals` `[B]` is that of all paths, float64.
    """

    norms: Tensor
    blanks: Tensor
    moves: Tensor
    alpha: Tensor
    beta: Tensor
    totals: Tensor

    @classmethod
    def room(cls, logits: Tensor) -> Lattice:
        batch, time, states, _ = logits.shape
        size: tuple[int, ...] = (batch, time + states - 1, states)
        single, double = 3 * [(size, torch.float32)], 2 * [(size, torch.float64)]
        kinds = [*single, *double, ((batch,), torch.float64)]
        return cls(*(logits.new_empty(each, dtype=kind) for each, kind in kinds))


def transducer_loss(
    logits: Tensor,
    targets: Tensor,
    frames: Tensor,
    labels: Tensor,
    blank: int = -1,
    fastemit: float = 0.0,
    *,
    overwrite: bool = False,
) -> Tensor:
    """Minus the log-probability of each utterance's labels, `[B]` float32.

    `logits` `[B, T, U+1, V]` are scores before softmax, float32 or a half type; the gradient is
    of their type. `targets` `[B, U]` are integers, `frames` and `labels` `[B]` lengths. `blank` is
    counted from the end where negative. With `fastemit` the gradient of a label arc is
    1 + lambda times as large, the loss the same (arXiv 2010.11148). With `overwrite` the gradient
    takes the place of `logits`, which nothing else may need.

    Padding may hold anything, and its gradient is zero. An utterance without frames has loss and
    gradient zero; where no alignment has any probability the loss is infinite and the gradient
    zero. Raises `ValueError` where shapes, lengths, labels or types do not fit; to look at them
    Python waits once for what a GPU has queued.
    """
    batch = _checked(logits, targets, frames, labels, blank, fastemit)
    graded = logits.requires_grad and torch.is_grad_enabled()
    losses: Tensor = _Loss.apply(logits, batch, graded, overwrite)
    return losses


def reference(
    logits: Tensor,
    targets: Tensor,
    frames: Tensor,
    labels: Tensor,
    blank: int = -1,
    fastemit: float = 0.0,
) -> Tensor:
    """The same in PyTorch, row by row in float64; no probability may be zero."""
    losses = [
        _by_rows(logits[b, :time, : count + 1].double(), targets[b, :count], blank, fastemit)
        for b, (time, count) in enumerate(zip(frames.tolist(), labels.tolist(), strict=True))
    ]
    return torch.stack(losses).float()


def _by_rows(scores: Tensor, target: Tensor, blank: int, fastemit: float) -> Tensor:
    """Of one utterance `[T, U+1, V]`: a row's label arcs are a cumulative sum."""
    if not len(scores):
        return scores.sum()
    logs = scores.log_softmax(-1)
    moves = logs[:, torch.arange(len(target)), target]
    moves = (1 + fastemit) * moves - fastemit * moves.detach()
    along = torch.nn.functional.pad(moves.cumsum(1), (1, 0))
    row = along[0]
    for stays, way in zip(logs[:-1, :, blank], along[1:], strict=True):
        row = way + (row + stays - way).logcumsumexp(0)
    return -(row[-1] + logs[-1, -1, blank])


def cost(shape: tuple[int, int, int, int], element: int = 4, *, backward: bool = True) -> Cost:
    """Of scores `[B, T, U+1, V]` whose numbers have `element` bytes."""
    batch, time, states, classes = shape
    cells = batch * time * states
    passes, kept = (3, 2 * (3 * 4 + 2 * 8)) if backward else (1, 3 * 4 + 2 * 4 + 8)
    flops = cells * classes * (8.0 if backward else 4.0)
    return Cost(cells * (classes * element * passes + kept), flops)


def _checked(
    logits: Tensor, targets: Tensor, frames: Tensor, labels: Tensor, blank: int, fastemit: float
) -> Batch:
    if logits.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"logits are of {logits.dtype}; float32 or a half type is needed")
    batch, time, states, classes = logits.shape
    if not batch or not time or targets.shape != (batch, states - 1):
        raise ValueError(
            f"logits {list(logits.shape)} do not fit targets {list(targets.shape)}; "
            "[B, T, U+1, V] and [B, U] are needed, with an utterance and a frame at least"
        )
    if frames.shape != (batch,) or labels.shape != (batch,):
        raise ValueError(f"{batch} lengths are needed, of frames and of labels")
    if not -classes <= blank < classes:
        raise ValueError(f"blank is {blank}, but there are {classes} classes")
    targets, frames, labels = (each.to(logits.device) for each in (targets, frames, labels))
    blank %= classes
    _check_values(logits.shape, targets, frames, labels, blank)
    lengths = frames.to(torch.int32).contiguous(), labels.to(torch.int32).contiguous()
    return Batch(targets.to(torch.int64).contiguous(), *lengths, blank, fastemit)


def _check_values(
    shape: torch.Size, targets: Tensor, frames: Tensor, labels: Tensor, blank: int
) -> None:
    """All in one question: a kernel would read anywhere at a label that is no class."""
    used = torch.arange(targets.shape[1], device=labels.device) < labels[:, None]
    wrong = used & ((targets < 0) | (targets >= shape[3]) | (targets == blank))
    outside = (frames < 0) | (frames > shape[1]) | (labels < 0) | (labels >= shape[2])
    if bool((wrong.any(1) | outside).any()):
        raise ValueError(
            f"lengths must lie in 0..{shape[1]} frames and 0..{shape[2] - 1} labels, and labels "
            f"in 0..{shape[3] - 1} without blank ({blank})"
        )


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, batch: Batch, graded: bool, overwrite: bool) -> Tensor:
        scores = logits.contiguous()
        lattice = Lattice.room(scores)
        losses = torch.empty(len(scores), device=scores.device)
        sweep(scores, batch, lattice, losses, both=graded)
        ctx.save_for_backward(scores)
        ctx.batch, ctx.lattice, ctx.overwrite = batch, lattice, overwrite
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None, None, None]:
        (scores,) = ctx.saved_tensors
        scores = scores.detach()
        out = scores if ctx.overwrite else torch.empty_like(scores)
        gradient(scores, ctx.batch, ctx.lattice, weight.float().contiguous(), out)
        if ctx.overwrite:
            # Autograd does not see what a kernel writes, and must refuse to use the scores again.
            torch.autograd.graph.increment_version(scores)
        return out, None, None, None


# --- launches ---


def sweep(logits: Tensor, batch: Batch, lattice: Lattice, losses: Tensor, *, both: bool) -> None:
    """Fills `losses` `[B]` and the lattice, `beta` only if `both` ways are swept."""
    count, time, states, _ = logits.shape
    _measured(logits, batch, lattice, _tile(logits, batch, lattice))
    room = triton.next_power_of_2(states)
    _sweep[count, 1 + both](
        lattice.blanks, lattice.moves, batch.frames, batch.labels, lattice.alpha, lattice.beta,
        lattice.totals, losses, time, states, STATES=room, num_warps=min(8, max(1, room // 64)),
    )  # fmt: skip


def gradient(logits: Tensor, batch: Batch, lattice: Lattice, weight: Tensor, out: Tensor) -> None:
    """Into `out`, which may be `logits`: the gradient of the losses times `weight` `[B]`."""
    count, time, states, classes = logits.shape
    cells, config = count * time * states, _tile(logits, batch, lattice)
    _gradient[triton.cdiv(cells, config.sizes["ROWS"]),](
        logits, batch.targets, batch.frames, batch.labels, lattice.norms, lattice.blanks,
        lattice.moves, lattice.alpha, lattice.beta, lattice.totals, weight, out,
        cells, time, states, classes, batch.blank, 1.0 + batch.fastemit, **config.options(),
    )  # fmt: skip


def _measured(logits: Tensor, batch: Batch, lattice: Lattice, config: Config) -> None:
    count, time, states, classes = logits.shape
    cells = count * time * states
    _measure[triton.cdiv(cells, config.sizes["ROWS"]),](
        logits, batch.targets, batch.frames, batch.labels, lattice.norms, lattice.blanks,
        lattice.moves, cells, time, states, classes, batch.blank, **config.options(),
    )  # fmt: skip


def _tile(logits: Tensor, batch: Batch, lattice: Lattice) -> Config:
    """For both passes: one that writes over the scores cannot be run again to be timed."""
    classes = logits.shape[-1]
    block = min(1024, max(16, triton.next_power_of_2(classes)))
    candidates = [
        Config({"ROWS": size // block, "BLOCK": block}, warps)
        for size, warps in ((2048, 4), (1024, 2), (1024, 4), (4096, 4), (4096, 8))
    ]

    def run(config: Config) -> None:
        _measured(logits, batch, lattice, config)

    shape = (classes, logits.dtype)
    return TUNER.best("transducer_loss", shape, candidates, run, logits.device)


# --- kernels ---


@triton.jit
def _cells(frames, labels, N, T, S, ROWS: tl.constexpr):
    """Of a tile's cells: number, utterance, t, u, both lengths, and whether it is no padding."""
    cell = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    u, row = cell % S, cell // S
    t, b = row % T, row // T
    time = tl.load(frames + b, cell < N, 0)
    count = tl.load(labels + b, cell < N, 0)
    return cell, b, t, u, time, count, (cell < N) & (t < time) & (u <= count)


@triton.jit(do_not_specialize=("N", "T", "S"))
def _measure(
    logits, targets, frames, labels, norms, blanks, moves, N, T, S, V, blank,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A program reads the scores of `ROWS` cells once: the sum is scaled anew as the maximum grows.

    A score of minus infinity is a class ruled out.
    """
    cell, b, t, u, _, count, inside = _cells(frames, labels, N, T, S, ROWS)
    high = tl.full((ROWS,), LOW, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    for first in range(0, V, BLOCK):
        v = first + tl.arange(0, BLOCK)
        there = inside[:, None] & (v < V)[None, :]
        x = tl.load(logits + cell[:, None] * V + v[None, :], there, float("-inf")).to(tl.float32)
        above = tl.maximum(high, tl.max(x, 1))
        total = total * tl.exp(high - above) + tl.sum(tl.exp(x - above[:, None]), 1)
        high = above
    norm = high + tl.log(tl.where(inside, total, 1.0))
    moving = inside & (u < count)
    label = tl.load(targets + b * (S - 1) + u, moving, 0)
    stay = tl.load(logits + cell * V + blank, inside, 0.0).to(tl.float32) - norm
    move = tl.load(logits + cell * V + label, moving, 0.0).to(tl.float32) - norm
    place = (b * (T + S - 1) + t + u) * S + u
    tl.store(norms + place, norm, inside)
    tl.store(blanks + place, _raised(stay), inside)
    tl.store(moves + place, tl.where(moving, _raised(move), LOW), inside)


@triton.jit
def _raised(x):
    """At least `LOW`; NaN stays."""
    return tl.where(x < LOW, LOW, x)


@triton.jit(do_not_specialize=("T", "S"))
def _sweep(
    blanks, moves, frames, labels, alpha, beta, totals, losses, T, S, STATES: tl.constexpr
):  # fmt: skip
    """A program takes an utterance one way; its diagonal, label states along, is in registers.

    A step needs the last diagonal shifted by a state. `tl.gather` moves it between threads with
    the barriers that this takes, by shuffles or through shared memory, so that no thread reads
    what another has yet to write; `alpha` and `beta` themselves are only written here.
    """
    b = tl.program_id(0)
    time, count = tl.load(frames + b), tl.load(labels + b)
    base = b.to(tl.int64) * (T + S - 1) * S
    if tl.program_id(1) == 0:
        total = _forward(blanks, moves, alpha, base, time, count, S, STATES)
        loss = tl.where(total < IMPOSSIBLE, float("inf"), -total)
        tl.store(totals + b, total)
        tl.store(losses + b, tl.where(time > 0, loss, 0.0).to(tl.float32))
    else:
        _backward(blanks, moves, beta, base, time, count, S, STATES)


@triton.jit
def _forward(blanks, moves, alpha, base, time, count, S, STATES: tl.constexpr):
    """Alpha, and the logarithm of the probability of all paths.

    The arcs of the next diagonal are asked for before this one is worked on: memory takes longer
    than the arithmetic. What lies outside of the lattice stays `LOW` or less.
    """
    u = tl.arange(0, STATES)
    reached = tl.where(u == 0, 0.0, LOW).to(tl.float64)
    next_stay, next_move = _arcs(blanks, moves, base, 0, u, time, count, S)
    for n in range(time + count):
        stay, move = reached + next_stay, reached + next_move
        next_stay, next_move = _arcs(blanks, moves, base, n + 1, u, time, count, S)
        tl.store(alpha + base + n * S + u, reached, _on(n, u, time, count))
        entered = tl.gather(move, tl.maximum(u - 1, 0), 0)
        reached = _either(stay, tl.where(u == 0, LOW, entered))
    return tl.sum(tl.where(u == count, reached, 0.0), 0)


@triton.jit
def _backward(blanks, moves, beta, base, time, count, S, STATES: tl.constexpr):
    """Beta, from the node (T, U) behind the last blank, which alone ends a path."""
    u = tl.arange(0, STATES)
    following = tl.where(u == count, 0.0, LOW).to(tl.float64)
    next_stay, next_move = _arcs(blanks, moves, base, time + count - 1, u, time, count, S)
    for k in range(time + count):
        n = time + count - 1 - k
        stay, move = next_stay, next_move
        next_stay, next_move = _arcs(blanks, moves, base, n - 1, u, time, count, S)
        ahead = tl.gather(following, tl.minimum(u + 1, STATES - 1), 0)
        following = _either(following + stay, ahead + move)
        tl.store(beta + base + n * S + u, following, _on(n, u, time, count))


@triton.jit
def _on(n, u, time, count):
    """Whether a node of diagonal `n` is one."""
    return (n >= u) & (n - u < time) & (u <= count)


@triton.jit
def _arcs(blanks, moves, base, n, u, time, count, S):
    there, place = _on(n, u, time, count), base + n * S + u
    stay = tl.load(blanks + place, there, LOW).to(tl.float64)
    return stay, tl.load(moves + place, there, LOW).to(tl.float64)


@triton.jit
def _either(a, b):
    """The logarithm of `e^a + e^b`; NaN stays."""
    gap = tl.abs(a - b).to(tl.float32)
    return tl.maximum(a, b) + tl.log(1 + tl.exp(-gap)).to(tl.float64)


@triton.jit(do_not_specialize=("N", "T", "S"))
def _gradient(
    logits, targets, frames, labels, norms, blanks, moves, alpha, beta, totals, weights, out,
    N, T, S, V, blank, faster, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A program writes the gradient of `ROWS` cells, zero in padding.

    In place of the scores this is safe: a tile has no fewer numbers than the program has threads,
    so each score is read once, and what is written over it depends on it.
    """
    cell, b, t, u, time, count, inside = _cells(frames, labels, N, T, S, ROWS)
    place = (b * (T + S - 1) + t + u) * S + u
    total = tl.load(totals + b, inside, LOW)
    possible = inside & ~(total < IMPOSSIBLE)
    last, later = u == count, t + 1 < time
    stay, move = _occupancies(blanks, moves, alpha, beta, place, total, possible, last, later, S)
    weight = tl.load(weights + b, inside, 0.0)
    stay, move = stay * weight, move * weight * faster
    norm = tl.load(norms + place, inside, 0.0)
    label = tl.load(targets + b * (S - 1) + u, inside & (u < count), -1)
    for first in range(0, V, BLOCK):
        v = first + tl.arange(0, BLOCK)
        score = cell[:, None] * V + v[None, :]
        there = inside[:, None] & (v < V)[None, :]
        x = tl.load(logits + score, there, float("-inf")).to(tl.float32)
        y = tl.exp(x - norm[:, None]) * (stay + move)[:, None]
        y -= tl.where((v == blank)[None, :], stay[:, None], 0.0)
        y -= tl.where(v[None, :] == label[:, None], move[:, None], 0.0)
        known = (cell < N)[:, None] & (v < V)[None, :]
        tl.store(out + score, y.to(out.dtype.element_ty), known)


@triton.jit
def _occupancies(blanks, moves, alpha, beta, place, total, possible, last, later, S):
    """The posterior probabilities of the blank and the label arcs of cells.

    `last` is said of the label state, `later` of a cell with another frame behind it.
    """
    so_far = tl.load(alpha + place, possible, LOW) - total
    below = tl.load(beta + place + S, possible & later, LOW)
    below = tl.where(last & ~later, 0.0, below)
    ahead = tl.load(beta + place + S + 1, possible & ~last, LOW)
    stay = so_far + tl.load(blanks + place, possible, LOW) + below
    move = so_far + tl.load(moves + place, possible, LOW) + ahead
    stay, move = tl.exp(stay.to(tl.float32)), tl.exp(move.to(tl.float32))
    return tl.where(possible, stay, 0.0), tl.where(possible, move, 0.0)
