"""Sums of products of int8 codes, in int32, and the codes that they become.

Of rows with constant weights, of windows channel by channel, and of two activations. What they
compute is `nna/kernels.py`, to the last bit: sums are exact, rounded twice at each channel's own
scale, and saturated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...nna.fixed import Rescale
from ..tuning import TUNER, Config, about
from .codes import DEEPEST
from .cost import Cost, nbytes
from .integers import AXES, Codes, rescaled, saturated

FEW = 8
"""Rows up to which a product is not worth the fill of a tensor core."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Output channels: weights, and what turns their sums into codes.

    weight      int8 `[N, K]`, or `[h * w, N]` of a depthwise filter
    bias        int64 `[N]`, `zero * sum(weight)` of the input's zero taken off
    multiplier  int32 `[N]`, as shift: `nna.fixed.Rescale`
    """

    weight: Tensor
    bias: Tensor
    multiplier: Tensor
    shift: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes that one product has to read of them."""
        return nbytes(self.weight, self.bias, self.multiplier, self.shift)


@dataclass(frozen=True, slots=True)
class Windows:
    """Height and width of a filter, and steps along both from window to window, tap to tap."""

    size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)

    def places(self, shape: Sequence[int]) -> tuple[int, int]:
        """Windows along both axes of `[B, H, W, C]`, without padding."""
        ends = [d * (n - 1) + 1 for n, d in zip(self.size, self.dilation, strict=True)]
        sizes = zip(shape[1:3], ends, self.stride, strict=True)
        down, across = ((n - end) // step + 1 for n, end, step in sizes)
        return down, across

    def of(self, x: Tensor) -> Tensor:
        """`[B, H', W', h * w * C]` of `[B, H, W, C]`; a view where there is one."""
        (row, column), (h, w) = self.dilation, self.size
        x = x.unfold(1, row * (h - 1) + 1, self.stride[0])
        x = x.unfold(2, column * (w - 1) + 1, self.stride[1])
        return x[..., ::row, ::column].permute(0, 1, 2, 4, 5, 3).flatten(3)


@dataclass(frozen=True, slots=True)
class Scores:
    """Products of two activations: their zeros, the factor of sums, whether b lies turned."""

    zeros: tuple[int, int]
    by: Rescale
    out: Codes
    turned: bool = False


def product(x: Tensor, channels: Channels, to: Codes, out: Tensor | None = None) -> Tensor:
    """Codes `[..., N]` of int8 `[..., K]`: `by(x W^T + bias)`, each channel at its scale.

    Raises ValueError where the widths differ, and for sums that int32 may not hold.
    """
    n, k = channels.weight.shape
    if x.shape[-1] != k:
        raise ValueError(f"rows of {x.shape[-1]} codes, and weights for {k}")
    _check(k)
    rows = x.reshape(-1, k)
    rows = rows if rows.stride(1) == 1 else rows.contiguous()
    y = torch.empty(len(rows), n, dtype=to.dtype, device=x.device) if out is None else out
    if y.numel():
        _product(rows, channels, y, to)
    return y.view(*x.shape[:-1], n)


def depthwise(
    x: Tensor, channels: Channels, windows: Windows, to: Codes, out: Tensor | None = None
) -> Tensor:
    """Codes `[B, H', W', C]` of int8 `[B, H, W, C]` and a filter `[h * w, C]`.

    Raises ValueError where the channels differ, and for sums that int32 may not hold.
    """
    taps, c = channels.weight.shape
    if x.shape[-1] != c or taps != windows.size[0] * windows.size[1]:
        raise ValueError(f"{x.shape[-1]} channels, and a filter [{taps}, {c}]")
    _check(taps)
    shape = (len(x), *windows.places(x.shape), c)
    y = torch.empty(shape, dtype=to.dtype, device=x.device) if out is None else out
    if y.numel():
        _depthwise(x, channels, windows, y, to)
    return y


def matmul(a: Tensor, b: Tensor, op: Scores, out: Tensor | None = None) -> Tensor:
    """Codes `[..., n, m]` of int8 `[..., n, k]` and `[..., k, m]`, or `[..., m, k]` where turned.

    Axes in front broadcast. Raises ValueError where the depths differ, for more than four axes and
    for sums that int32 may not hold.
    """
    b = b.transpose(-1, -2) if op.turned else b
    (n, k), (depth, m) = a.shape[-2:], b.shape[-2:]
    if k != depth:
        raise ValueError(f"rows of {k} codes, and columns of {depth}")
    _check(k)
    before = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if len(before) + 2 > AXES:
        raise ValueError(f"{len(before) + 2} axes: codes have at most {AXES}")
    y = torch.empty(*before, n, m, dtype=op.out.dtype, device=a.device) if out is None else out
    if y.numel():
        outer = (1,) * (AXES - 2 - len(before)) + (*before,)
        _scores(a.expand(*outer, n, k), b.expand(*outer, k, m), op, y)
    return y


def cost(rows: int, channels: Channels, to: Codes) -> Cost:
    """Of a product of so many rows; integer operations."""
    n, k = channels.weight.shape
    moved = channels.nbytes + rows * (k + n * to.dtype.itemsize)
    return Cost(moved, 2.0 * rows * n * k)


def _check(depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError(f"sums of {depth} products: int32 holds {DEEPEST}")


# --- launches ---

_FEW = tuple(
    Config({"BLOCK_N": n, "BLOCK_K": k}, warps)
    for n, k, warps in ((16, 64, 4), (8, 128, 4), (4, 128, 2), (8, 64, 2), (4, 256, 4), (32, 32, 4))
)
_MANY = tuple(
    Config({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k}, warps, stages)
    for m, n, k, warps, stages in (
        *((16, 64, 128, 4, 3), (32, 64, 64, 4, 3), (64, 64, 64, 4, 3)),
        *((64, 128, 64, 8, 3), (128, 128, 64, 8, 3), (16, 32, 256, 4, 2)),
    )
)
_FILTERS = tuple(
    Config({"BLOCK_M": m, "BLOCK_N": n}, warps)
    for m, n, warps in ((4, 64, 2), (1, 256, 4), (16, 64, 4))
)


def _product(x: Tensor, channels: Channels, y: Tensor, to: Codes) -> None:
    (m, k), n, few = x.shape, len(channels.weight), len(x) <= FEW
    weight, *numbers = channels.weight, channels.bias, channels.multiplier, channels.shift

    def run(config: Config) -> None:
        parts = triton.cdiv(n, config.sizes["BLOCK_N"])
        grid = (parts,) if few else (triton.cdiv(m, config.sizes["BLOCK_M"]), parts)
        rows = {"ROWS": triton.next_power_of_2(m)} if few else {}
        (_few_rows if few else _many_rows)[grid](
            x, weight, *numbers, y, m, n, k, x.stride(0), to.zero, **rows, **config.options()
        )

    name = "integer_products.few" if few else "integer_products.many"
    run(TUNER.best(name, (about(m), n, k), _FEW if few else _MANY, run, x.device))


def _depthwise(x: Tensor, channels: Channels, windows: Windows, y: Tensor, to: Codes) -> None:
    (batch, high, wide, channel), (taps, c) = x.stride(), channels.weight.shape
    (down, across), (row, column) = windows.stride, windows.dilation
    places, numbers = y.numel() // c, (channels.bias, channels.multiplier, channels.shift)
    steps = (batch, down * high, across * wide, row * high, column * wide, channel)

    def run(config: Config) -> None:
        sizes = config.sizes
        grid = triton.cdiv(places, sizes["BLOCK_M"]), triton.cdiv(c, sizes["BLOCK_N"])
        _filters[grid](
            x, channels.weight, *numbers, y, places, c, taps, *y.shape[1:3], windows.size[1],
            *steps, to.zero, **config.options(),
        )  # fmt: skip

    shape = (about(places), c, taps)
    run(TUNER.best("integer_products.filters", shape, _FILTERS, run, x.device))


def _scores(a: Tensor, b: Tensor, op: Scores, y: Tensor) -> None:
    (batch, heads, n, k), m = a.shape, b.shape[-1]
    size = 64 if m > 32 else 32
    grid = batch * heads, triton.cdiv(n, 16), triton.cdiv(m, size)
    _pairs[grid](
        a, b, y, heads, n, m, k, *a.stride(), *b.stride(), *op.zeros,
        op.by.multiplier, op.by.shift, op.out.zero, BLOCK_M=16, BLOCK_N=size, BLOCK_K=32,
    )  # fmt: skip


# --- kernels ---


@triton.jit
def _finished(acc, n, rows, bias, multiplier, shift, y, M, N, zero):
    """Stores codes `[rows, n]` of int32 sums."""
    known, inside = n < N, (rows < M)[:, None] & (n < N)[None, :]
    total = acc.to(tl.int64) + tl.load(bias + n, known, 0)[None, :]
    by, up = tl.load(multiplier + n, known, 0), tl.load(shift + n, known, 0)
    found = rescaled(total, by[None, :], up[None, :])
    place = rows[:, None].to(tl.int64) * N + n[None, :]
    tl.store(y + place, saturated(found, zero, y.dtype.element_ty), inside)


@triton.jit(do_not_specialize=("M", "zero"))
def _few_rows(
    x, weight, bias, multiplier, shift, y, M, N, K, stride, zero,
    ROWS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """A program makes `BLOCK_N` channels of all rows."""
    n, rows = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N), tl.arange(0, ROWS)
    acc = tl.zeros((ROWS, BLOCK_N, BLOCK_K), tl.int32)
    for first in range(0, K, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        there = (rows < M)[:, None] & (k < K)[None, :]
        row = tl.load(x + rows[:, None].to(tl.int64) * stride + k[None, :], there, 0)
        known = (n < N)[:, None] & (k < K)[None, :]
        value = tl.load(weight + n[:, None].to(tl.int64) * K + k[None, :], known, 0)
        acc += row.to(tl.int32)[:, None, :] * value.to(tl.int32)[None, :, :]
    _finished(tl.sum(acc, 2), n, rows, bias, multiplier, shift, y, M, N, zero)


@triton.jit(do_not_specialize=("M", "zero"))
def _many_rows(
    x, weight, bias, multiplier, shift, y, M, N, K, stride, zero,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """A program makes a tile `[BLOCK_M, BLOCK_N]`."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
    for first in range(0, K, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        there = (rows < M)[:, None] & (k < K)[None, :]
        row = tl.load(x + rows[:, None].to(tl.int64) * stride + k[None, :], there, 0)
        known = (k < K)[:, None] & (n < N)[None, :]
        value = tl.load(weight + n[None, :].to(tl.int64) * K + k[:, None], known, 0)
        acc = tl.dot(row, value, acc, out_dtype=tl.int32)
    _finished(acc, n, rows, bias, multiplier, shift, y, M, N, zero)


@triton.jit(do_not_specialize=("M", "high", "wide", "zero"))
def _filters(
    x, weight, bias, multiplier, shift, y, M, N, taps, high, wide, across,
    of_batch, of_row, of_column, of_tap_row, of_tap_column, of_channel, zero,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """A program makes `BLOCK_N` channels at `BLOCK_M` places."""
    place = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    there = (place < M)[:, None] & (n < N)[None, :]
    column, row = place % wide, place // wide % high
    batch = (place // wide // high).to(tl.int64)
    start = x + (batch * of_batch + row * of_row + column * of_column)[:, None]
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
    for tap in range(taps):
        step = tap // across * of_tap_row + tap % across * of_tap_column
        code = tl.load(start + step + n[None, :] * of_channel, there, 0).to(tl.int32)
        value = tl.load(weight + tap * N + n, n < N, 0).to(tl.int32)
        acc += code * value[None, :]
    _finished(acc, n, place, bias, multiplier, shift, y, M, N, zero)


_NUMBERS = "heads n m k a0 a1 a2 b0 b1 zero_a zero_b multiplier shift zero".split()


@triton.jit(do_not_specialize=_NUMBERS)
def _pairs(
    a, b, y, heads, n, m, k, a0, a1, a2, a3, b0, b1, b2, b3, zero_a, zero_b,
    multiplier, shift, zero,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """A tile of one product of a batch. Zeros come off sums of codes, not off codes."""
    which = tl.program_id(0).to(tl.int64)
    one, other = which // heads, which % heads
    rows = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(2) * BLOCK_N + tl.arange(0, BLOCK_N)
    a += one * a0 + other * a1
    b += one * b0 + other * b1
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
    of_a, of_b = tl.zeros((BLOCK_M,), tl.int32), tl.zeros((BLOCK_N,), tl.int32)
    for first in range(0, k, BLOCK_K):
        i = first + tl.arange(0, BLOCK_K)
        there = (rows < n)[:, None] & (i < k)[None, :]
        row = tl.load(a + rows[:, None] * a2 + i[None, :] * a3, there, 0)
        known = (i < k)[:, None] & (columns < m)[None, :]
        column = tl.load(b + i[:, None] * b2 + columns[None, :] * b3, known, 0)
        acc = tl.dot(row, column, acc, out_dtype=tl.int32)
        of_a += tl.sum(row.to(tl.int32), 1)
        of_b += tl.sum(column.to(tl.int32), 0)
    total = acc.to(tl.int64) + k * zero_a * zero_b
    total -= (of_a * zero_b).to(tl.int64)[:, None] + (of_b * zero_a).to(tl.int64)[None, :]
    found = saturated(rescaled(total, multiplier, shift), zero, y.dtype.element_ty)
    place = which * n * m + rows[:, None] * m + columns[None, :]
    tl.store(y + place, found, (rows < n)[:, None] & (columns < m)[None, :])
