"""Integer operators on single codes and on rows of them.

What they compute is `nna/kernels.py`, to the last bit: sums at a common scale, products, changes of
scale, tables, means, and the softmax of `nna/softmax.py`. Fixed-point numbers are int64 in
registers, and are rounded twice, as `nna/fixed.py` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...nna.fixed import Rescale
from .cost import Cost, nbytes

AXES = 4
"""Axes of codes, as of an accelerator."""
MOST = 1 << 30
"""Codes of a result: their places are int32."""
WIDEST = 1 << 12
"""Codes of a row of softmax: the sum of so many exponentials has 12 integer bits."""
BLOCK = 1024
"""Codes of a program."""
NONE = Rescale(0, 0)


@dataclass(frozen=True, slots=True)
class Codes:
    """What a result is stored as: int8 or int16, which saturate, and the code of zero."""

    dtype: torch.dtype
    zero: int = 0


@dataclass(frozen=True, slots=True)
class Single:
    """An operator on single codes `a` and `b`, their zeros taken off.

    kind   add, sub: `out(first(a << left) + second(b << left))`, or the difference
           mul: `out(a * b)`; requantise: `out(a)`
           table: the entry at `a + 128`; maximum, minimum: of codes as they are
    by     first, second, out
    table  int8 `[256]`
    """

    kind: str
    out: Codes
    zeros: tuple[int, int] = (0, 0)
    left: int = 0
    by: tuple[Rescale, Rescale, Rescale] = (NONE, NONE, NONE)
    table: Tensor | None = None


def single(op: Single, a: Tensor, b: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Codes of operands that broadcast, wherever they lie, one program a block of them.

    Raises ValueError for more than `AXES` axes or `MOST` codes, and for a table of other codes
    than int8.
    """
    if op.kind == "table" and a.dtype != torch.int8:
        raise ValueError(f"a table has an entry for each code of int8, not of {a.dtype}")
    second = a if b is None else b
    shape = torch.broadcast_shapes(a.shape, second.shape)
    y = torch.empty(shape, dtype=op.out.dtype, device=a.device) if out is None else out
    if y.numel() == 0:
        return y
    if y.numel() > MOST:
        raise ValueError(f"{y.numel()} codes: at most {MOST} at once")
    sizes, strides = _laid(shape, (a, second))
    factors = [number for by in op.by for number in (by.multiplier, by.shift)]
    _single[(triton.cdiv(y.numel(), BLOCK),)](
        a, second, a if op.table is None else op.table, y, y.numel(), *sizes[1:], *strides,
        *op.zeros, op.left, *factors, op.out.zero, KIND=op.kind, BLOCK=BLOCK,
    )  # fmt: skip
    return y


def mean(x: Tensor, zero: int, by: Rescale, to: Codes, out: Tensor | None = None) -> Tensor:
    """`[R]` of codes `[R, K]`: `by` their sum, of which `zero` has been taken off K times."""
    rows = x.contiguous()
    y = torch.empty(len(x), dtype=to.dtype, device=x.device) if out is None else out
    if y.numel():
        tile = _tile(rows)
        _mean[(triton.cdiv(len(x), tile["ROWS"]),)](
            rows, y, *rows.shape, zero, by.multiplier, by.shift, to.zero, **tile
        )
    return y


def softmax(x: Tensor, by: Rescale, least: int, out: Tensor | None = None) -> Tensor:
    """Probabilities of int8 codes over the last axis, of scale 1/256 and zero -128.

    Raises ValueError for rows of more than `WIDEST` codes.
    """
    if x.shape[-1] > WIDEST:
        raise ValueError(f"rows of {x.shape[-1]} codes: a sum holds {WIDEST} exponentials")
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    y = torch.empty(x.shape, dtype=torch.int8, device=x.device) if out is None else out
    if y.numel():
        floor = -(1 << min(31 - by.shift, 9)) + 1
        tile = _tile(rows, WIDEST)
        _softmax[(triton.cdiv(len(rows), tile["ROWS"]),)](
            rows, y, *rows.shape, by.multiplier, by.shift, least, floor, **tile
        )
    return y


def cost(operands: Sequence[Tensor], out: Codes) -> Cost:
    """Of an operator on single codes, or on rows; integer operations, one a code."""
    numbers = torch.broadcast_shapes(*(x.shape for x in operands)).numel()
    return Cost(nbytes(*operands) + numbers * out.dtype.itemsize, float(numbers))


def _tile(rows: Tensor, most: int = BLOCK) -> dict[str, int]:
    """How many rows a program has, and how much of each at once."""
    width = min(triton.next_power_of_2(rows.shape[1]), most)
    return {"ROWS": max(1, BLOCK // width), "WIDTH": width}


def _laid(shape: Sequence[int], operands: Sequence[Tensor]) -> tuple[list[int], list[int]]:
    """Sizes of exactly `AXES` axes, and strides of the operands, one after the other."""
    lack = AXES - len(shape)
    if lack < 0:
        raise ValueError(f"{len(shape)} axes: codes have at most {AXES}")
    strides = [([0] * lack + list(x.expand(shape).stride())) for x in operands]
    return [1] * lack + list(shape), [step for own in strides for step in own]


# --- fixed point ---


@triton.jit
def divided(x, exponent):
    """x / 2**exponent, rounded, halves away from zero; both int64."""
    mask = (1 << exponent) - 1
    up = (x & mask) > (mask >> 1) + (x < 0).to(tl.int64)
    return (x >> exponent) + up.to(tl.int64)


@triton.jit
def doubling_high(x, multiplier):
    """The upper half of 2 * x * multiplier, rounded, halves up."""
    return (x * multiplier + (1 << 30)) >> 31


@triton.jit
def rescaled(x, multiplier, shift):
    """int64 x times about `multiplier / 2**31 * 2**shift`, rounded twice."""
    shift = shift.to(tl.int64)
    high = doubling_high(x << tl.maximum(shift, 0), multiplier.to(tl.int64))
    return divided(high, tl.maximum(-shift, 0))


@triton.jit
def saturated(x, zero, dtype: tl.constexpr):
    """Codes of a type, of accumulators at their scale."""
    half: tl.constexpr = 1 << (dtype.primitive_bitwidth - 1)
    return tl.minimum(tl.maximum(x + zero, -half), half - 1).to(dtype)


# --- single codes ---


@triton.jit
def _changed(
    a, b, table, inside, zero_a, zero_b, left, m0, s0, m1, s1, m2, s2, KIND: tl.constexpr
):  # fmt: skip
    """The accumulator at the scale of the result, or its code where nothing is scaled."""
    first, second = a.to(tl.int64) - zero_a, b.to(tl.int64) - zero_b
    if KIND == "add":
        one, other = rescaled(first << left, m0, s0), rescaled(second << left, m1, s1)
        found = rescaled(one + other, m2, s2)
    elif KIND == "sub":
        one, other = rescaled(first << left, m0, s0), rescaled(second << left, m1, s1)
        found = rescaled(one - other, m2, s2)
    elif KIND == "mul":
        found = rescaled(first * second, m2, s2)
    elif KIND == "requantise":
        found = rescaled(first, m2, s2)
    elif KIND == "table":
        found = tl.load(table + a.to(tl.int32) + 128, inside, 0).to(tl.int64)
    elif KIND == "maximum":
        found = tl.maximum(a, b).to(tl.int64)
    else:
        tl.static_assert(KIND == "minimum")
        found = tl.minimum(a, b).to(tl.int64)
    return found


_NUMBERS = "N n1 n2 n3 a0 a1 a2 a3 b0 b1 b2 b3 zero_a zero_b left m0 s0 m1 s1 m2 s2 zero".split()
"""A program has hundreds of operators: none of them is compiled for its own numbers."""


@triton.jit(do_not_specialize=_NUMBERS)
def _single(
    a, b, table, y, N, n1, n2, n3, a0, a1, a2, a3, b0, b1, b2, b3,
    zero_a, zero_b, left, m0, s0, m1, s1, m2, s2, zero,
    KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, m, rest = at < N, at % n3, at // n3
    k, rest = rest % n2, rest // n2
    j, i = rest % n1, (rest // n1).to(tl.int64)
    one = tl.load(a + i * a0 + j * a1 + k * a2 + m * a3, inside, 0)
    other = one
    if (KIND != "table") & (KIND != "requantise"):
        other = tl.load(b + i * b0 + j * b1 + k * b2 + m * b3, inside, 0)
    found = _changed(
        one, other, table, inside, zero_a, zero_b, left, m0, s0, m1, s1, m2, s2, KIND
    )  # fmt: skip
    tl.store(y + at, saturated(found, zero, y.dtype.element_ty), inside)


# --- rows ---


@triton.jit(do_not_specialize=("M", "N", "zero_x", "multiplier", "shift", "zero"))
def _mean(
    x, y, M, N, zero_x, multiplier, shift, zero, ROWS: tl.constexpr, WIDTH: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    sums = tl.zeros((ROWS, WIDTH), tl.int64)
    for first in range(0, N, WIDTH):
        n = first + tl.arange(0, WIDTH)
        there = (row < M)[:, None] & (n < N)[None, :]
        codes = tl.load(x + row[:, None] * N + n[None, :], there, 0).to(tl.int64)
        sums += tl.where(there, codes - zero_x, 0)
    found = rescaled(tl.sum(sums, 1), multiplier, shift)
    tl.store(y + row, saturated(found, zero, y.dtype.element_ty), row < M)


@triton.jit
def _up(x, BITS: tl.constexpr):
    """x * 2**BITS within 32 bits."""
    most: tl.constexpr = (1 << 31) - 1
    return tl.minimum(tl.maximum(x << BITS, -most - 1), most)


@triton.jit
def _down(x, BITS: tl.constexpr):
    return divided(x, tl.full((), BITS, tl.int64))


@triton.jit
def _without(found, remainder, BIT: tl.constexpr, MULTIPLIER: tl.constexpr):
    """One power of two less in the exponent, where the remainder has it."""
    return tl.where((remainder >> BIT) & 1 == 1, doubling_high(found, MULTIPLIER), found)


_EIGHTH = tl.constexpr(1895147668)
"""exp(-1/8) in 31 bits behind the point."""


@triton.jit
def _exponential(x):
    """exp(x) in 31 bits behind the point, of x <= 0 with 26 of them."""
    part = (x & ((1 << 24) - 1)) - (1 << 24)
    a = _up(part, 5) + (1 << 28)
    a2 = doubling_high(a, a)
    a3, a4 = doubling_high(a2, a), doubling_high(a2, a2)
    last = _down(doubling_high(_down(a4, 2) + a3, 715827882) + a2, 1)
    found = _EIGHTH + doubling_high(a + last, _EIGHTH)
    remainder = part - x
    found = _without(found, remainder, 24, 1672461947)
    found = _without(found, remainder, 25, 1302514674)
    found = _without(found, remainder, 26, 790015084)
    found = _without(found, remainder, 27, 290630308)
    found = _without(found, remainder, 28, 39332535)
    found = _without(found, remainder, 29, 720401)
    found = _without(found, remainder, 30, 242)
    return tl.where(x == 0, (1 << 31) - 1, found)


@triton.jit
def _half_reciprocal(a):
    """1 / (1 + a) of a in [0, 1), both in 31 bits behind the point."""
    half = (a + (1 << 31)) >> 1
    x = 1515870810 + doubling_high(half, -1010580540)
    for _ in tl.static_range(3):
        rest = (1 << 29) - doubling_high(half, x)
        x = x + _up(doubling_high(x, rest), 2)
    return _up(x, 1)


@triton.jit
def _zeros_in_front(x):
    """Of a positive number of 32 bits."""
    zeros = tl.zeros_like(x) + 31
    for n in tl.static_range(5):
        high = x >> (16 >> n)
        zeros = tl.where(high > 0, zeros - (16 >> n), zeros)
        x = tl.where(high > 0, high, x)
    return zeros


@triton.jit(do_not_specialize=("M", "N", "multiplier", "shift", "least", "floor"))
def _softmax(
    x, y, M, N, multiplier, shift, least, floor, ROWS: tl.constexpr, WIDTH: tl.constexpr
):  # fmt: skip
    row, n = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    inside, at = (row < M)[:, None] & (n < N)[None, :], row[:, None] * N + n[None, :]
    codes = tl.load(x + at, inside, -128).to(tl.int64)
    difference = codes - tl.max(codes, 1)[:, None]
    counts = (n < N)[None, :] & (difference >= least)
    wide = rescaled(tl.maximum(difference, floor), multiplier, shift)
    powers = tl.where(counts, _exponential(wide), 0)
    total = tl.sum(_down(powers, 12), 1)
    over = _zeros_in_front(total)
    reciprocal = _half_reciprocal((total << over) - (1 << 31))
    product = doubling_high(reciprocal[:, None], powers)
    found = divided(product, (35 - over)[:, None]) - 128
    found = tl.where(counts, tl.minimum(tl.maximum(found, -128), 127), -128)
    tl.store(y + at, found.to(y.dtype.element_ty), inside)
