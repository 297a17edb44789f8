"""Softmax in operators of TOSA, bit for bit that of `softmax.py`.

An exponential is one of 256 numbers of 31 bits. A table of TOSA has steps of 16 bits, so three
tables give its pieces. The reciprocal of their sum is computed as it is there: MUL with a shift of
31 is the doubling high multiplication, and of what is not negative ARITHMETIC_RIGHT_SHIFT, rounded,
is the division by a power of two.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from .kernels import Site
from .program import Array
from .recipes import Softmax
from .softmax import SUM_BITS, exponential, scaled_differences
from .tosa_writer import Value, Writer

PIECES = (16, 8, 0)
"""Where in an exponential the pieces begin that tables give: 15, 8 and 8 bits."""

LONGEST = 511
"""Of a longer row the last division might be by more than 2**31."""

_MOST = (1 << 31) - 1


def softmax(write: Writer, site: Site, ins: list[Value]) -> Value:
    """Over the last axis. Raises ValueError where that is longer than LONGEST."""
    if ins[0].shape[-1] > LONGEST:
        raise ValueError(f"`{site.output.name}`: in TOSA a row of softmax has at most {LONGEST}")
    powers = _exponentials(write, ins[0], cast("Softmax", site.recipe))
    parts = _right(write, powers, SUM_BITS)
    total = _over_row(write, "reduce_sum", parts)
    over = write.call("clz", [total], total.shape, "int32")
    product = _times(write, powers, _reciprocal(write, total, over))
    exponent = _with(write, "sub", 31 - 8 + SUM_BITS, over)
    codes = _divided(write, product, exponent)
    return write.held(codes, "int8", -128)


def exponentials(recipe: Softmax) -> Array:
    """Of differences -256 to 256 to the largest code; there are none above 0."""
    difference = np.minimum(np.arange(-256, 257), 0)
    found = exponential(scaled_differences(difference, recipe.by))
    return np.where(difference >= recipe.least, found, 0)


def _exponentials(write: Writer, x: Value, recipe: Softmax) -> Value:
    every, place = exponentials(recipe), _places(write, x)
    high, middle, low = (
        _piece(write, place, every, first, end)
        for first, end in zip(PIECES, (31, *PIECES[:-1]), strict=True)
    )
    upper = write.call("add", [high, middle], x.shape, "int32")
    return write.call("add", [upper, low], x.shape, "int32")


def _piece(write: Writer, place: Value, every: Array, first: int, end: int) -> Value:
    """The bits from `first` on before `end` of one of the numbers, at their place."""
    table = write.constant((every >> first & (1 << end - first) - 1).astype(np.int16))
    found = write.call("table", [place, table], place.shape, "int32")
    return _left(write, _right(write, found, 7), first)


def _places(write: Writer, x: Value) -> Value:
    """Where differences to the largest code are in a table: 7 bits of 16 are behind the point."""
    most = _over_row(write, "reduce_max", x)
    wide = [write.held(v, "int32") for v in (x, most)]
    difference = write.call("sub", wide, x.shape, "int32")
    return write.held(_left(write, difference, 7), "int16")


def _reciprocal(write: Writer, total: Value, over: Value) -> Value:
    """`softmax.half_reciprocal` of a sum moved up until its first bit is the highest of 32.

    That is at least by 4 bits, so that half of it is whole. The steps are far from saturated.
    """
    up = write.call("logical_left_shift", [total, over], total.shape, "int32")
    part = _with(write, "bitwise_and", _MOST, up)
    half = _with(write, "add", 1 << 30, _right(write, part, 1))
    x = _with(write, "add", 1515870810, _times(write, half, write.number(-1010580540, half)))
    for _ in range(3):
        rest = _with(write, "sub", 1 << 29, _times(write, half, x))
        step = _left(write, _times(write, x, rest), 2)
        x = write.call("add", [x, step], x.shape, "int32")
    return _doubled(write, x)


def _doubled(write: Writer, x: Value) -> Value:
    """2 * x of positive x, at most 2**31 - 1."""
    limits = ((1 << 30) - 1, 1 << 30)
    parts = [_with(write, "minimum", limit, x) for limit in limits]
    return write.call("add", parts, x.shape, "int32")


def _over_row(write: Writer, op: str, x: Value) -> Value:
    axis = len(x.shape) - 1
    return write.call(op, [x], (*x.shape[:-1], 1), x.dtype, f" {{axis = {axis} : i32}}")


def _times(write: Writer, x: Value, y: Value) -> Value:
    """The doubling high multiplication; x is the larger one."""
    shift = write.constant(np.full(1, 31, np.int8))
    return write.call("mul", [x, y, shift], x.shape, "int32")


def _with(write: Writer, op: str, number: int, x: Value) -> Value:
    return write.call(op, [write.number(number, x), x], x.shape, "int32")


def _left(write: Writer, x: Value, bits: int) -> Value:
    return write.call("logical_left_shift", [x, write.number(bits, x)], x.shape, "int32")


def _right(write: Writer, x: Value, bits: int) -> Value:
    return _divided(write, x, write.number(bits, x))


def _divided(write: Writer, x: Value, bits: Value) -> Value:
    """By powers of two, rounded, halves up."""
    return write.call("arithmetic_right_shift", [x, bits], x.shape, "int32", " {round = true}")
