"""A feed-forward on those rows alone that a gate lets through, `x + scale * (act(x U + b) D + c)`.

Which rows they are is listed on the device, and the host never reads how many: a launch has
programs for all rows, and those behind the last active one multiply nothing and read no weight.
The list has the other rows behind the active ones, so that the launch which scatters the results
writes every row once: there is no copy of x before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import TypeAlias

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..packed import Weight, bytes_of, shape_of
from ..tuning import TUNER, Config, about
from . import linear as product
from . import norm as norms
from .activations import activate
from .codes import in_ptx, kind_of, parts_of, values
from .cost import Cost
from .linear import Epilogue, dotted
from .norm import normed

LONGEST = 1 << 12
"""Rows that a program lists."""

Listed: TypeAlias = tuple[Tensor, Tensor]
"""What `compact` makes."""


@dataclass(frozen=True, slots=True)
class Norm:
    """Of rows before the products: layer norm, or without a bias RMS norm."""

    weight: Tensor
    bias: Tensor | None = None
    eps: float = 1e-5


@dataclass(frozen=True, slots=True)
class Around:
    """What is around the two products.

    up, down  biases `[H]` and `[D]`
    residual  active rows are added to x, others are x; without it those are zero
    """

    up: Tensor | None = None
    down: Tensor | None = None
    activation: str = "swish"
    scale: float = 1.0
    norm: Norm | None = None
    residual: bool = True


BARE = Around()


def compact(gate: Tensor) -> Listed:
    """int32 `[R]` and `[1]`: the rows that a gate, bool `[R]`, lets through, and how many.

    They come first, in rising order; behind them are the others, row r as `-1 - r`, rising too.
    """
    gate, rows = gate.reshape(-1).contiguous(), gate.numel()
    if rows == 0:
        empty = torch.zeros(1, dtype=torch.int32, device=gate.device)
        return empty[:0], empty
    index, count = (gate.new_empty(n, dtype=torch.int32) for n in (rows, 1))
    block = min(LONGEST, triton.next_power_of_2(rows))
    blocks, warps = triton.cdiv(rows, block), max(1, block // 512)
    counts = count
    if blocks > 1:
        counts = gate.new_empty(blocks, dtype=torch.int32)
        _counts[(blocks,)](gate, counts, rows, BLOCK=block, num_warps=warps)
    _list[(blocks,)](
        gate, counts, index, count, rows, blocks, BLOCK=block, MANY=blocks > 1, num_warps=warps
    )
    return index, count


def feed_forward(
    x: Tensor,
    gate: Tensor,
    up: Weight,
    down: Weight,
    around: Around = BARE,
    listed: Listed | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`[..., D]` of x, a gate `[...]` (bool) and weights `[H, D]` and `[D, H]`, in x's dtype.

    listed  `compact(gate)`, where it is there already
    out     not x: its rows are read while others are written

    Raises ValueError where shapes differ: a kernel would read what is behind.
    """
    _check(x, gate, up, down)
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    y = torch.empty_like(rows) if out is None else out.view(rows.shape)
    if prod(y.shape) == 0:
        return y.view(x.shape)
    listed = compact(gate) if listed is None else listed
    source = rows if around.norm is None else _normed(rows, around.norm, listed)
    hidden = rows.new_empty(len(rows), shape_of(up)[0])
    first = {"GATHER": around.norm is None, "SCATTER": False}
    _product(source, up, around.up, Epilogue(around.activation), listed, hidden, first)
    then = Epilogue("none", around.scale, rows if around.residual else None)
    _product(hidden, down, around.down, then, listed, y, {"GATHER": False, "SCATTER": True})
    return y.view(x.shape)


def reference(x: Tensor, gate: Tensor, up: Weight, down: Weight, around: Around = BARE) -> Tensor:
    """The same in PyTorch, float32, of all rows."""
    row = found = x.float()
    if (norm := around.norm) is not None:
        bias = None if norm.bias is None else norm.bias.float()
        found = norms.reference(row, norm.weight.float(), bias, norm.eps)[0]
    hidden = product.reference(found, up, around.up, Epilogue(around.activation))
    found = product.reference(hidden, down, around.down, Epilogue("none", around.scale))
    other = row if around.residual else torch.zeros_like(row)
    return torch.where(gate[..., None], other + found, other)


def cost(
    active: int, rows: int, up: Weight, down: Weight, element: int = 4, *, residual: bool = True
) -> Cost:
    """Of so many rows, `active` among them, whose numbers have `element` bytes: with a residual
    every row is read, and every row is written."""
    hidden, width = shape_of(up)
    weights = (bytes_of(up) + bytes_of(down)) * (active > 0)
    read = rows if residual else active
    return Cost(weights + rows + (read + rows) * width * element, 4.0 * active * width * hidden)


def _check(x: Tensor, gate: Tensor, up: Weight, down: Weight) -> None:
    (hidden, width), shape = shape_of(up), x.shape
    if shape[-1] != width or shape_of(down) != (width, hidden) or gate.shape != shape[:-1]:
        sizes = f"{shape_of(up)} and {shape_of(down)}"
        raise ValueError(f"x {list(shape)}, a gate {list(gate.shape)} and weights {sizes}")


# --- launches ---

_FLOAT = tuple(
    Config({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k}, warps, stages)
    for m, n, k, warps, stages in (
        *((64, 64, 32, 4, 3), (16, 64, 64, 4, 3), (32, 64, 64, 4, 3), (64, 128, 32, 8, 3)),
        *((128, 128, 32, 8, 3), (128, 128, 64, 8, 3)),
    )
)
_PACKED = tuple(
    Config({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k}, warps)
    for m, n, k, warps in (
        *((16, 64, 64, 4), (32, 64, 64, 4), (64, 64, 64, 4), (64, 128, 64, 8), (128, 128, 64, 8)),
    )
)


def _product(
    x: Tensor,
    weight: Weight,
    bias: Tensor | None,
    then: Epilogue,
    listed: Listed,
    y: Tensor,
    kind: Mapping[str, bool],
) -> None:
    """Reads the rows of x by the list, or writes those of y; what it does not is compact."""
    (n, k), m = shape_of(weight), len(x)
    (parts, quads, bits), products = parts_of(weight), kind_of(x, weight)
    residual = x if then.residual is None else then.residual

    def run(config: Config, listed: Listed) -> None:
        grid = triton.cdiv(m, config.sizes["BLOCK_M"]), triton.cdiv(n, config.sizes["BLOCK_N"])
        _tile[grid](
            x, *parts, x if bias is None else bias, *listed, residual, y, m, n, k, quads,
            then.factor, BITS=bits, ACT=then.activation, BIAS=bias is not None,
            RESIDUAL=then.residual is not None, PTX=in_ptx(x), KIND=products,
            **kind, **config.options(),
        )  # fmt: skip

    shape = (about(m), n, k, bits, kind["SCATTER"], x.dtype, products)
    half = cache(lambda: _half(m, x.device))
    tiles = _PACKED if bits else _FLOAT
    best = TUNER.best("active", shape, tiles, lambda one: run(one, half()), x.device)
    run(best, listed)


def _half(rows: int, device: torch.device) -> Listed:
    """The first half of the rows is active: tiles are measured so, whatever a gate says then."""
    every, active = torch.arange(rows, dtype=torch.int32, device=device), (rows + 1) // 2
    index = torch.where(every < active, every, -1 - every)
    return index, torch.full((1,), active, dtype=torch.int32, device=device)


def _normed(rows: Tensor, norm: Norm, listed: Listed) -> Tensor:
    """The active rows, compact; what is behind them was not written."""
    (m, width), y = rows.shape, rows.new_empty(rows.shape)
    if width > norms.WIDEST:
        raise ValueError(f"rows of {width} numbers: at most {norms.WIDEST} fit into registers")
    bias = norm.weight if norm.bias is None else norm.bias
    wide = triton.next_power_of_2(width)
    _norm[(m,)](
        rows, norm.weight, bias, *listed, y, width, norm.eps, WIDTH=wide,
        CENTRED=norm.bias is not None, num_warps=min(16, max(1, wide // 256)),
    )  # fmt: skip
    return y


# --- kernels ---


@triton.jit
def _gates(gate, r, R):
    """1 for a row that is let through."""
    return (tl.load(gate + r, r < R, 0) != 0).to(tl.int32)


@triton.jit(do_not_specialize=("R",))
def _counts(gate, counts, R, BLOCK: tl.constexpr):
    block = tl.program_id(0)
    r = block * BLOCK + tl.arange(0, BLOCK)
    tl.store(counts + block, tl.sum(_gates(gate, r, R), 0))


@triton.jit
def _sums(counts, block, blocks, BLOCK: tl.constexpr):
    """Active rows in the blocks before this one, and in all."""
    before, total = 0, 0
    for first in range(0, blocks, BLOCK):
        b = first + tl.arange(0, BLOCK)
        some = tl.load(counts + b, b < blocks, 0)
        before += tl.sum(tl.where(b < block, some, 0), 0)
        total += tl.sum(some, 0)
    return before, total


@triton.jit(do_not_specialize=("R", "blocks"))
def _list(
    gate, counts, index, count, R, blocks, BLOCK: tl.constexpr, MANY: tl.constexpr
):  # fmt: skip
    """A program finds the places of `BLOCK` rows, each of which is written once."""
    block = tl.program_id(0)
    r = block * BLOCK + tl.arange(0, BLOCK)
    up = _gates(gate, r, R)
    if MANY:
        before, total = _sums(counts, block, blocks, 256)
    else:
        before, total = 0, tl.sum(up, 0)
    rank = before + tl.cumsum(up, 0) - up
    place = tl.where(up > 0, rank, total + r - rank)
    tl.store(index + place, tl.where(up > 0, r, -1 - r), r < R)
    tl.store(count, total, block == 0)


@triton.jit
def _norm(
    x, weight, bias, index, count, y, N, eps, WIDTH: tl.constexpr, CENTRED: tl.constexpr
):  # fmt: skip
    """A program makes one active row, as `norm.py` does."""
    m, n = tl.program_id(0), tl.arange(0, WIDTH)
    if m >= tl.load(count):
        return
    inside = n < N
    row = tl.load(x + tl.load(index + m).to(tl.int64) * N + n, inside, 0.0).to(tl.float32)
    found = normed(row, weight, bias, n, N, eps, CENTRED)
    tl.store(y + m.to(tl.int64) * N + n, found.to(y.dtype.element_ty), inside)


@triton.jit
def _products(
    x, there, weight, book, scale, n, N, K, quads,
    BITS: tl.constexpr, PTX: tl.constexpr, KIND: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """float32 `[BLOCK_M, BLOCK_N]` of the outputs n, from the pointers to each row."""
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(0, K, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        row = tl.load(x[:, None] + k[None, :], there[:, None] & (k < K)[None, :], 0.0)
        value = values(
            weight, book, n.to(tl.int64), n < N, first, K, quads, BITS, BLOCK_K, PTX, KIND
        )
        acc = dotted(row, tl.trans(value), acc, KIND)
    if BITS > 0:
        acc *= tl.load(scale + n, n < N, 0.0)[None, :]
    return acc


@triton.jit(do_not_specialize=("M",))
def _tile(
    x, weight, book, scale, bias, index, count, residual, y, M, N, K, quads, factor,
    BITS: tl.constexpr, ACT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
    PTX: tl.constexpr, KIND: tl.constexpr, GATHER: tl.constexpr, SCATTER: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """A program makes a tile `[BLOCK_M, BLOCK_N]` of listed rows.

    One without active rows is through at once; if it scatters, it writes the other rows first.
    """
    first = tl.program_id(0) * BLOCK_M
    m, n = first + tl.arange(0, BLOCK_M), tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = tl.load(index + m, m < M, -1)
    target = tl.where(row < 0, -1 - row, row) if SCATTER else m
    place = target.to(tl.int64)[:, None] * N + n[None, :]
    if SCATTER:
        _left(residual, y, place, (m < M) & (row < 0), n < N, RESIDUAL)
    if first >= tl.load(count):
        return
    source = x + (row if GATHER else m).to(tl.int64) * K
    acc = _products(
        source, row >= 0, weight, book, scale, n, N, K, quads, BITS, PTX, KIND,
        BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    if BIAS:
        acc += tl.load(bias + n, n < N, 0.0).to(tl.float32)[None, :]
    acc = factor * activate(acc, ACT)
    inside = (row >= 0)[:, None] & (n < N)[None, :]
    if RESIDUAL:
        acc += tl.load(residual + place, inside, 0.0).to(tl.float32)
    tl.store(y + place, acc.to(y.dtype.element_ty), inside)


@triton.jit
def _left(residual, y, place, other, known, RESIDUAL: tl.constexpr):
    """Rows that are not active are as they were, or zero."""
    inside = other[:, None] & known[None, :]
    if RESIDUAL:
        tl.store(y + place, tl.load(residual + place, inside, 0.0), inside)
    else:
        tl.store(y + place, tl.zeros_like(place).to(y.dtype.element_ty), inside)
