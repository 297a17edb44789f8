"""LSTMs (Hochreiter and Schmidhuber 1997): a step of many streams, and sequences in one launch.

A step multiplies `[x, h]` with the weight and applies the gates in one kernel, so that no gate goes
to memory; the weight may be packed in 1 to 8 bits. States are given and made, or those of streams
in slots: a batch names the slot of each of its streams, which join and leave without anything being
moved.

A sequence makes the products with its inputs at once. Then the programs, one for some cells each,
turn together: each keeps to its own rows of the recurrent weight, which stay in the cache near it,
and waits after a step until all have written their part of h (Appleyard et al. 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..packed import Packed, Weight, bytes_of, dense_of, shape_of
from ..tuning import TUNER, Config, about
from .activations import tanh
from .codes import DEEPEST, in_ptx, kind_of, parts_of, values
from .cost import Cost
from .linear import dotted, linear
from .one_row import held, row_sums
from .overlap import early, expect, follow

GATES = (0, 1, 2, 3)
"""Which quarter of the weight's rows is the input, forget, cell and output gate."""


@dataclass(frozen=True, slots=True)
class States:
    """h `[slots, R]` and c `[slots, H]` of all streams, contiguous, and `[B]` (int64) which a batch
    has."""

    h: Tensor
    c: Tensor
    slots: Tensor


def lstm_cell(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weight: Weight,
    bias: Tensor | None,
    gates: tuple[int, int, int, int] = GATES,
) -> tuple[Tensor, Tensor]:
    """`[B, H]` of `[B, D]` and the cells behind it, of h `[B, R]` and c `[B, H]`, in one launch.

    The weight is `[4 H, D + R]`. Raises ValueError where the widths do not fit.
    """
    cells = torch.empty_like(c, memory_format=torch.contiguous_format)
    return _step_of(x, h.contiguous(), c.contiguous(), None, weight, bias, gates, cells), cells


def lstm_step(
    x: Tensor,
    states: States,
    weight: Weight,
    bias: Tensor | None,
    gates: tuple[int, int, int, int] = GATES,
) -> Tensor:
    """`[B, H]` of `[B, D]`, by `lstm_cell`; the states of these streams are those after it.

    Every stream is in a batch once. Raises ValueError where the widths do not fit.
    """
    y = _step_of(x, states.h, states.c, states.slots, weight, bias, gates, states.c)
    states.h[states.slots] = y.to(states.h.dtype)
    return y


def _step_of(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    slots: Tensor | None,
    weight: Weight,
    bias: Tensor | None,
    gates: tuple[int, int, int, int],
    cells: Tensor,
) -> Tensor:
    """What comes out; `cells`, which may be c, are those after it."""
    if x.shape[1] + h.shape[1] != shape_of(weight)[1]:
        raise ValueError(f"a weight of {shape_of(weight)} for {x.shape[1]} inputs")
    y = x.new_empty(len(x), c.shape[1])
    if y.numel():
        _launch_step(x.contiguous(), (h, c, slots), weight, bias, gates, (y, cells))
    return y


def lstm(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weight: Weight,
    bias: Tensor | None,
    gates: tuple[int, int, int, int] = GATES,
) -> tuple[Tensor, Tensor, Tensor]:
    """`[B, T, H]` of `[B, T, D]`, then the last h and c, `[B, H]`, which it also begins with."""
    batch, frames, width = x.shape
    if batch * frames == 0:
        return x.new_zeros(batch, frames, c.shape[1]), h, c
    own = weight.dense().to(weight.products) if isinstance(weight, Packed) else weight
    given = linear(x, own[:, :width].contiguous(), bias)
    y, last = x.new_empty(batch, frames, c.shape[1]), c.clone()
    _launch_sequence(given, h.contiguous(), last, own[:, width:].contiguous(), gates, y)
    return y, y[:, -1], last


def reference(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weight: Weight,
    bias: Tensor | None,
    gates: tuple[int, int, int, int] = GATES,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in PyTorch, float32, frame by frame."""
    dense = dense_of(weight).float()
    made, h, c = [], h.float(), c.float()
    for frame in x.float().unbind(1):
        rows = torch.nn.functional.linear(
            torch.cat([frame, h], -1), dense, None if bias is None else bias.float()
        )
        i, f, g, o = (rows.chunk(4, -1)[gate] for gate in gates)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        made.append(h)
    return torch.stack(made, 1), h, c


def cost(batch: int, frames: int, weight: Weight, cells: int, element: int = 4) -> Cost:
    """Of a sequence, or with one frame of a step; the weight is read once."""
    _, columns = shape_of(weight)
    moved = batch * frames * columns + 4 * batch * cells
    return Cost(bytes_of(weight) + moved * element, 8.0 * batch * frames * cells * columns)


# --- launches ---

_STEP = tuple(
    Config({"ROWS": rows, "BLOCK": block, "BLOCK_K": k}, warps)
    for rows, block, k, warps in (
        *((16, 16, 64, 4), (16, 32, 64, 4), (16, 16, 128, 4), (16, 8, 128, 4), (16, 8, 64, 2)),
        *((32, 16, 64, 4), (64, 16, 64, 4), (64, 8, 64, 4)),
    )
)
"""More rows of a program: it reads more of them, and fewer programs read its part of the weight."""
_STEP_OF_ONE = tuple(
    Config({"BLOCK": block, "BLOCK_K": k}, warps)
    for block, k, warps in (
        *((4, 1024, 4), (2, 1024, 4), (4, 512, 4), (2, 2048, 4), (4, 2048, 4), (8, 512, 8)),
        *((2, 512, 2), (1, 1024, 2)),
    )
)
_STEP_ON_CORES = tuple(
    Config({"BLOCK": block, "BLOCK_K": k, "CORES": True}, warps)
    for block, k, warps in ((16, 256, 4), (32, 128, 4), (8, 256, 2), (4, 256, 1))
)
"""Of packed weights (`one_row.py`)."""
_SEQUENCE = tuple(
    Config({"BLOCK": block, "BLOCK_K": 64}, warps) for block in (64, 32, 16) for warps in (4, 8)
)
"""Fewer cells a program: less to read for each after every step, and more that wait."""


def _launch_step(
    x: Tensor,
    states: tuple[Tensor, Tensor, Tensor | None],
    weight: Weight,
    bias: Tensor | None,
    gates: tuple[int, int, int, int],
    out: tuple[Tensor, Tensor],
) -> None:
    (batch, width), (h, c, slots), (y, cells) = x.shape, states, out
    (words, book, scale), quads, bits = parts_of(weight)
    one, kind = batch == 1 and width + h.shape[1] <= DEEPEST, kind_of(x, weight)

    def run(config: Config, cells: Tensor) -> None:
        sizes = {"ROWS": 1, **config.sizes}
        grid = triton.cdiv(c.shape[1], sizes["BLOCK"]), triton.cdiv(batch, sizes["ROWS"])
        _step[grid](
            x, h, c, x if slots is None else slots, words, book, scale,
            x if bias is None else bias, y, cells, batch, width, h.shape[1], c.shape[1], quads,
            GI=gates[0], GF=gates[1], GG=gates[2], GO=gates[3], BITS=bits,
            BIAS=bias is not None, SLOTS=slots is not None, PTX=in_ptx(x), KIND=kind,
            **config.options(), **early(x),
        )  # fmt: skip

    shape = (about(batch, 64), width + h.shape[1], c.shape[1], bits, x.dtype, kind)

    def measured(config: Config) -> None:
        run(config, torch.empty_like(cells))  # states stay as they are

    single = _STEP_OF_ONE + (_STEP_ON_CORES if bits else ())
    name, tiles = ("lstm.one", single) if one else ("lstm.step", _STEP)
    run(TUNER.best(name, shape, tiles, measured, x.device), cells)


def _launch_sequence(
    given: Tensor,
    h: Tensor,
    c: Tensor,
    weight: Tensor,
    gates: tuple[int, int, int, int],
    y: Tensor,
) -> None:
    """One launch; of each frame one where programs that wait for each other could not all run."""
    cells = y.shape[2]
    candidates = _together(cells, y.device)

    def run(config: Config, c: Tensor) -> None:
        _launch_frames(given, h, c, weight, gates, y, config)

    def measured(config: Config) -> None:
        run(config, c.clone())  # cells are written where they lie

    if candidates:
        shape = (about(len(y), 64), about(y.shape[1]), cells, y.dtype, weight.dtype)
        run(TUNER.best("lstm.sequence", shape, candidates, measured, y.device), c)
        return
    for t, frame in enumerate(given.split(1, 1)):
        made = y.new_empty(len(y), 1, cells)
        _launch_frames(frame.contiguous(), h, c, weight, gates, made, _SEQUENCE[0])
        y[:, t], h = made[:, 0], made[:, 0]


def _together(cells: int, device: torch.device) -> tuple[Config, ...]:
    """Those with which all programs of a group can run at once."""
    if device.type != "cuda":  # one does it all
        return (Config({"BLOCK": max(16, triton.next_power_of_2(cells)), "BLOCK_K": 64}),)
    most = _processors(device)
    return tuple(c for c in _SEQUENCE if triton.cdiv(cells, c.sizes["BLOCK"]) <= most)


def _launch_frames(
    given: Tensor,
    h: Tensor,
    c: Tensor,
    weight: Tensor,
    gates: tuple[int, int, int, int],
    y: Tensor,
    config: Config,
) -> None:
    (batch, frames, cells), groups = y.shape, triton.cdiv(len(y), 16)
    parts = triton.cdiv(cells, config.sizes["BLOCK"])
    arrived = torch.zeros(1 + groups * frames, dtype=torch.int32, device=y.device)
    _sequence[(parts, groups)](
        given, h, c, weight, y, arrived, batch, frames, cells, parts,
        GI=gates[0], GF=gates[1], GG=gates[2], GO=gates[3],
        KIND=kind_of(y, weight), BARRIER=parts > 1 and frames > 1, **config.options(),
    )  # fmt: skip


def _processors(device: torch.device) -> int:
    """Programs that run at once, at least."""
    return torch.cuda.get_device_properties(device).multi_processor_count


# --- kernels ---


@triton.jit
def _gated(i, f, g, o, c):
    """h and c, from the sums of the gates."""
    c = tl.sigmoid(f) * c + tl.sigmoid(i) * tanh(g)
    return tl.sigmoid(o) * tanh(c), c


@triton.jit
def _row(x, h, rows, slots, k, B, D, R):
    """`[ROWS, K]` of `[x, h]`."""
    there = (rows < B)[:, None]
    first = there & (k < D)[None, :]
    left = tl.load(x + rows[:, None] * D + k[None, :], first, 0.0)
    second = there & ((k >= D) & (k < D + R))[None, :]
    right = tl.load(h + slots[:, None] * R + (k - D)[None, :], second, 0.0)
    return tl.where(first, left, right.to(left.dtype))


@triton.jit
def _apart(sums, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """`[ROWS, BLOCK]` for each gate, of sums that have them side by side for every cell."""
    even, odd = tl.split(tl.reshape(sums, (ROWS, BLOCK, 2, 2)))
    i, g = tl.split(even)
    f, o = tl.split(odd)
    return i, f, g, o


@triton.jit
def _rows_of(
    first, H, GI: tl.constexpr, GF: tl.constexpr, GG: tl.constexpr, GO: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Rows of the weight from cell `first` on, the four of a cell side by side, and which there
    are."""
    n = tl.arange(0, 4 * BLOCK)
    unit, gate = first + n // 4, n % 4
    quarter = tl.where(gate == 0, GI, tl.where(gate == 1, GF, tl.where(gate == 2, GG, GO)))
    return (quarter * H + unit).to(tl.int64), unit < H


@triton.jit
def _step(
    x, h, c, slots, weight, book, scale, bias, y, cells, B, D, R, H, quads,
    GI: tl.constexpr, GF: tl.constexpr, GG: tl.constexpr, GO: tl.constexpr,
    BITS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr,
    BIAS: tl.constexpr, SLOTS: tl.constexpr, PTX: tl.constexpr, KIND: tl.constexpr,
    ROWS: tl.constexpr = 1, CORES: tl.constexpr = False,
):  # fmt: skip
    """A program makes `BLOCK` cells of `ROWS` streams, or of the only one there is; no other reads
    what it writes, were `cells` c itself."""
    first = tl.program_id(0) * BLOCK
    n, rows = first + tl.arange(0, BLOCK), tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    inside = n < H
    row_of, known = _rows_of(first, H, GI, GF, GG, GO, BLOCK)
    if ROWS == 1:
        weights = held(weight, book, scale, bias, row_of, known, D + R, quads, BITS, BIAS, BLOCK_K)
    if tl.program_id(1) == 0 and (ROWS > 1 or D + R > BLOCK_K):
        expect(weight, first, BLOCK, H, D + R, quads, 4, BITS)
    follow()
    at = tl.load(slots + rows, rows < B, 0) if SLOTS else rows.to(tl.int64)
    there, own = (rows < B)[:, None] & inside[None, :], at[:, None] * H + n[None, :]
    before = tl.load(c + own, there, 0.0).to(tl.float32)  # by all threads, before one writes there
    if ROWS == 1:
        acc = row_sums(
            x, h + tl.min(at, 0) * R, D, D + R, weight, book, weights, row_of, known, quads,
            (), True, "none", "none", BITS, BLOCK_K, PTX, CORES,
        )[None, :]  # fmt: skip
    else:
        acc = tl.zeros((ROWS, 4 * BLOCK), tl.float32)
        for k in range(0, D + R, BLOCK_K):
            row = _row(x, h, rows, at, k + tl.arange(0, BLOCK_K), B, D, R)
            w = values(weight, book, row_of, known, k, D + R, quads, BITS, BLOCK_K, PTX, KIND)
            acc = dotted(row, tl.trans(w), acc, KIND)
        if BITS > 0:
            acc *= tl.load(scale + row_of, known, 0.0)[None, :]
        if BIAS:
            acc += tl.load(bias + row_of, known, 0.0).to(tl.float32)[None, :]
    i, f, g, o = _apart(acc, ROWS, BLOCK)
    made, after = _gated(i, f, g, o, before)
    tl.store(y + rows[:, None] * H + n[None, :], made.to(y.dtype.element_ty), there)
    tl.store(cells + own, after.to(cells.dtype.element_ty), there)


@triton.jit
def _gate(row, weight, n, k, inside, K, acc, KIND: tl.constexpr):
    known = inside[:, None] & (k < K)[None, :]
    value = tl.load(weight + n[:, None].to(tl.int64) * K + k[None, :], known, 0.0)
    return dotted(row, tl.trans(value), acc, KIND)


@triton.jit
def _sums(given, rows, n, t, gate, B, T, H, inside):
    """The products of an input with one gate's rows."""
    at = given + (rows[:, None].to(tl.int64) * T + t) * 4 * H + gate * H + n[None, :]
    return tl.load(at, (rows < B)[:, None] & inside[None, :], 0.0).to(tl.float32)


@triton.jit(do_not_specialize=("B", "T"))
def _sequence(
    given, h, c, weight, y, arrived, B, T, H, parts,
    GI: tl.constexpr, GF: tl.constexpr, GG: tl.constexpr, GO: tl.constexpr,
    KIND: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr, BARRIER: tl.constexpr,
):  # fmt: skip
    """A program makes `BLOCK` cells of 16 sequences, frame after frame."""
    part, group = tl.program_id(0), tl.program_id(1)
    if BARRIER:
        # In the order in which they begin, so that those which wait for each other run at once.
        ticket = tl.atomic_add(arrived, 1, sem="relaxed")
        part, group = ticket % parts, ticket // parts
    n = part * BLOCK + tl.arange(0, BLOCK)
    rows = group * 16 + tl.arange(0, 16)
    inside, mine = n < H, (rows < B)
    place = rows[:, None] * H + n[None, :]
    cell = tl.load(c + place, mine[:, None] & inside[None, :], 0.0).to(tl.float32)
    for t in range(T):
        i = _sums(given, rows, n, t, GI, B, T, H, inside)
        f = _sums(given, rows, n, t, GF, B, T, H, inside)
        g = _sums(given, rows, n, t, GG, B, T, H, inside)
        o = _sums(given, rows, n, t, GO, B, T, H, inside)
        for first in range(0, H, BLOCK_K):
            k = first + tl.arange(0, BLOCK_K)
            known = mine[:, None] & (k < H)[None, :]
            before = y + (rows[:, None].to(tl.int64) * T + t - 1) * H + k[None, :]
            before = before if t > 0 else h + rows[:, None].to(tl.int64) * H + k[None, :]
            # Others wrote it: not what a cache of this processor may hold of it.
            row = tl.load(before, known, 0.0, cache_modifier=".cg")
            i = _gate(row, weight, n + GI * H, k, inside, H, i, KIND)
            f = _gate(row, weight, n + GF * H, k, inside, H, f, KIND)
            g = _gate(row, weight, n + GG * H, k, inside, H, g, KIND)
            o = _gate(row, weight, n + GO * H, k, inside, H, o, KIND)
        made, cell = _gated(i, f, g, o, cell)
        at = y + (rows[:, None].to(tl.int64) * T + t) * H + n[None, :]
        tl.store(at, made.to(y.dtype.element_ty), mine[:, None] & inside[None, :])
        if BARRIER:
            _meet(arrived + 1 + group * T + t, parts)
        else:
            tl.debug_barrier()  # what one thread has written others read
    tl.store(c + place, cell.to(c.dtype.element_ty), mine[:, None] & inside[None, :])


@triton.jit
def _meet(counter, parts):
    """Until all programs of a group are here: no more than there are processors, all have begun."""
    tl.debug_barrier()
    tl.atomic_add(counter, 1, sem="release")
    while tl.atomic_add(counter, 0, sem="acquire") < parts:
        pass
    tl.debug_barrier()
