"""What instructions on registers make of numbers, on arrays (PTX ISA, chapter 9.7).

Registers hold bits: arrays of uint16, uint32 or uint64, and of bool for predicates. An operation is
found by its name with types, `setp.lt.s32`, and says as what it reads its operands and what it
writes. Sums and products that a GPU rounds once are made in float64 and rounded to float32; what it
approximates (`ex2.approx`) is exact here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Function = Callable[..., Any]
TYPE = re.compile(r"(?:[suf](?:8|16|32|64)|b(?:8|16|32|64)|pred|f16x2|bf16x2|bf16)")
UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


@dataclass(frozen=True)
class Operation:
    """`types` are those of the operands, the result's first."""

    function: Function
    types: tuple[str, ...]


# --- numbers and bits -------------------------------------------------------------------------


@cache
def size_of(kind: str) -> int:
    """Bytes; none for a predicate."""
    if kind == "pred":
        return 0
    return 4 if kind.endswith("x2") else int(re.sub(r"^\D+", "", kind)) // 8


@cache
def dtype_of(kind: str) -> np.dtype[Any]:
    """Of numbers of a type that NumPy has."""
    return np.dtype({"s": "i", "u": "u", "b": "u", "f": "f"}[kind[0]] + str(size_of(kind)))


def numbers(bits: Array, kind: str) -> Array:
    """Registers read as a type: their lowest bits, where they have more."""
    if kind == "pred":
        return bits
    size = size_of(kind)
    if bits.itemsize > size:
        bits = bits.astype(UNSIGNED[size])
    if kind in ("bf16", "f16"):
        return wide(bits, kind)
    dtype = dtype_of(kind)
    return bits if bits.dtype is dtype else bits.view(dtype)


def wide(bits: Array, kind: str) -> Array:
    """A half type as float32."""
    if kind == "f16":
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def narrow(values: Array, kind: str) -> Array:
    """Bits of a half type, rounded to the nearest, ties to even."""
    if kind == "f16":
        return values.astype(np.float16).view(np.uint16)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    even = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    rounded = (even >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FFF), rounded)


def bits_of(values: Array, kind: str, width: int) -> Array:
    """What a register of so many bytes holds of a result."""
    if kind == "pred":
        return np.asarray(values, bool)
    if kind in ("bf16", "f16"):
        values = narrow(np.asarray(values), kind)
    else:
        values = np.asarray(values).astype(dtype_of(kind), copy=False)
    if values.itemsize != width:
        values = values.astype(("i" if kind[0] == "s" else "u") + str(width))
    return values.view(UNSIGNED[width])


# --- functions --------------------------------------------------------------------------------


def _shifted_left(x: Array, by: Array) -> Array:
    most = x.itemsize * 8
    return np.where(by < most, x << np.minimum(by, most - 1).astype(x.dtype), x.dtype.type(0))


def _shifted_right(x: Array, by: Array) -> Array:
    """Signs come in from above, where there are some."""
    most = x.itemsize * 8
    signed = np.issubdtype(x.dtype, np.signedinteger)
    moved = x >> np.minimum(by, most - 1).astype(x.dtype)
    return moved if signed else np.where(by < most, moved, x.dtype.type(0))


def _field(x: Array, at: Array, length: Array) -> Array:
    """`bfe`: of a signed type, the field's highest bit fills what is above."""
    most, bits = x.itemsize * 8, x.view(UNSIGNED[x.itemsize])
    at = (at & 255).astype(np.int64)
    length = np.clip((length & 255).astype(np.int64), 0, np.maximum(most - at, 0))
    above = _shifted_left(np.full_like(bits, ~bits.dtype.type(0)), length)
    low = _shifted_right(bits, at)
    kept = low & ~above
    if not np.issubdtype(x.dtype, np.signedinteger):
        return kept
    top = _shifted_right(low, np.maximum(length - 1, 0)) & bits.dtype.type(1)
    filled = np.where((top == 1) & (length > 0), kept | above, kept)
    return filled.astype(bits.dtype).view(x.dtype)


def _divided(a: Array, b: Array) -> Array:
    """Towards zero."""
    if not np.issubdtype(a.dtype, np.signedinteger):
        return a // np.where(b == 0, 1, b).astype(a.dtype)
    safe = np.where(b == 0, 1, b).astype(b.dtype)
    with np.errstate(over="ignore"):  # the smallest by -1 is itself
        found = a // safe
    return found + ((found * safe != a) & ((a < 0) != (safe < 0)))


def _remainder(a: Array, b: Array) -> Array:
    return a - _divided(a, b) * b


def _twice(kind: str) -> str:
    return kind[0] + str(2 * size_of(kind) * 8)


def _fused(a: Array, b: Array, c: Array) -> Array:
    if a.dtype == np.float32:
        return (a.astype(np.float64) * b + c).astype(np.float32)
    return a * b + c


def _wide_product(a: Array, b: Array) -> Array:
    double = np.dtype(f"{a.dtype.kind}{2 * a.itemsize}")
    return a.astype(double) * b.astype(double)


def _high_product(a: Array, b: Array) -> Array:
    return (_wide_product(a, b) >> (a.itemsize * 8)).astype(a.dtype)


def _permuted(a: Array, b: Array, selectors: Array) -> Array:
    """`prmt`, default mode: each nibble chooses one of 8 bytes, or its sign in every bit."""
    both, found = a.astype(np.uint64) | b.astype(np.uint64) << np.uint64(32), 0
    for n in range(4):
        nibble = selectors >> np.uint32(4 * n) & np.uint32(15)
        byte = both >> (np.uint64(8) * (nibble & np.uint32(7)).astype(np.uint64)) & np.uint64(255)
        sign = np.where(byte & np.uint64(128), np.uint64(255), np.uint64(0))
        chosen = np.where(nibble & np.uint32(8), sign, byte)
        found = found | chosen << np.uint64(8 * n)
    return np.asarray(found).astype(np.uint32)


def _by_table(a: Array, b: Array, c: Array, table: Array) -> Array:
    """`lop3`: any function of three bits, as a table of its 8 results."""
    found = np.zeros_like(a | b | c)
    for row in range(8):
        if int(table.flat[0]) >> row & 1:
            terms = [x if row & bit else ~x for x, bit in ((a, 4), (b, 2), (c, 1))]
            found = found | terms[0] & terms[1] & terms[2]
    return found


def _four_products(a: Array, b: Array, c: Array) -> Array:
    """`dp4a`: of four bytes with signs each, and a sum."""
    total = c
    for n in range(4):
        first, second = ((x >> np.uint32(8 * n)).astype(np.uint8).view(np.int8) for x in (a, b))
        total = total + first.astype(np.int32) * second.astype(np.int32)
    return total


def _ones(x: Array) -> Array:
    return np.bitwise_count(x).astype(np.uint32)


def _chosen(a: Array, b: Array, which: Array) -> Array:
    return np.where(which, a, b)


def _with_nan(test: Function) -> Function:
    return lambda a, b: test(a, b) | np.isnan(a) | np.isnan(b)


def _without_nan(test: Function) -> Function:
    """Comparisons are false with NaN; `!=` of NumPy is not."""
    return lambda a, b: test(a, b) & (a == a) & (b == b)


_ORDERED: dict[str, Function] = {
    "eq": np.equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "ne": _without_nan(np.not_equal),
    "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
    "num": lambda a, b: (a == a) & (b == b), "nan": lambda a, b: (a != a) | (b != b),
}  # fmt: skip
COMPARISONS = {
    **_ORDERED,
    **{f"{name}u": _with_nan(_ORDERED[name]) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
}

_SAME: dict[str, Function] = {
    "add": np.add, "sub": np.subtract, "mul.lo": np.multiply, "mul": np.multiply,
    "mad.lo": lambda a, b, c: a * b + c, "fma": _fused, "div": _divided, "rem": _remainder,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "neg": np.negative,
    "min": np.minimum, "max": np.maximum, "abs": np.abs, "mul.hi": _high_product,
    "rcp": np.reciprocal, "sqrt": np.sqrt, "rsqrt": lambda x: (1 / np.sqrt(x)).astype(x.dtype),
    "copysign": lambda sign, x: np.copysign(x, sign),
    "ex2": np.exp2, "lg2": np.log2, "sin": np.sin, "cos": np.cos, "tanh": np.tanh,
}  # fmt: skip
"""Of one type throughout."""


def _not(x: Array) -> Array:
    return ~x


# --- finding them -----------------------------------------------------------------------------


@cache
def operation(name: str) -> Operation | None:
    """By its whole name, `mul.wide.s32`; None if this does not know it."""
    parts = name.split(".")
    kinds = [x for x in parts if TYPE.fullmatch(x)]
    if not kinds:
        return None
    kind, how = kinds[-1], [x for x in parts[1:] if not TYPE.fullmatch(x)]
    found = _special(parts[0], how, kinds)
    if found is None and (function := _same(parts[0], how, kind)) is not None:
        count = 3 if parts[0] in ("mad", "fma") else 2
        count = 1 if parts[0] in _UNARY else count
        return Operation(function, (kind, *[kind] * count))
    return found


_UNARY = {"neg", "abs", "rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh"}


def _same(stem: str, how: Sequence[str], kind: str) -> Function | None:
    if kind[0] in "fb" and stem in ("min", "max") and "b" not in kind[:1]:
        keeps = "NaN" in how
        names = (np.minimum, np.maximum) if keeps else (np.fmin, np.fmax)
        return names[stem == "max"]
    if kind[0] == "f" and stem == "div":
        return np.divide
    low = next((x for x in how if x in ("lo", "hi")), None)
    return _SAME.get(f"{stem}.{low}" if low else stem)


def _special(stem: str, how: Sequence[str], kinds: Sequence[str]) -> Operation | None:
    """Those of several types."""
    kind = kinds[-1]
    if kind in ("f16x2", "bf16x2") and stem == "abs":
        return Operation(lambda x: x & np.uint32(0x7FFF7FFF), ("b32", "b32"))
    if stem == "setp" and how and how[0] in COMPARISONS and not kind.endswith("x2"):
        return Operation(COMPARISONS[how[0]], ("pred", kind, kind))
    if stem in ("mul", "mad") and "wide" in how:
        return _widening(stem, kind)
    if stem == "cvt":
        return _conversion(how, kinds)
    unsigned = kind if kind == "pred" else f"b{size_of(kind) * 8}"
    return {
        "mov": Operation(lambda x: x, (unsigned, unsigned)),
        "not": Operation(_not, (kind, kind)),
        "shl": Operation(_shifted_left, (kind, kind, "u32")),
        "shr": Operation(_shifted_right, (kind, kind, "u32")),
        "bfe": Operation(_field, (kind, kind, "u32", "u32")),
        "selp": Operation(_chosen, (unsigned, unsigned, unsigned, "pred")),
        "popc": Operation(_ones, ("u32", kind)),
        "prmt": Operation(_permuted, ("b32", "b32", "b32", "b32")),
        "lop3": Operation(_by_table, ("b32", "b32", "b32", "b32", "b32")),
        "dp4a": Operation(_four_products, ("s32", "b32", "b32", "s32")),
    }.get(stem)


def _widening(stem: str, kind: str) -> Operation:
    double = _twice(kind)
    if stem == "mul":
        return Operation(_wide_product, (double, kind, kind))
    return Operation(lambda a, b, c: _wide_product(a, b) + c, (double, kind, kind, double))


def _conversion(how: Sequence[str], kinds: Sequence[str]) -> Operation:
    """`cvt`: to the first type, from the second; to two of a half type, from two."""
    to, origin = kinds
    if to.endswith("x2"):
        half = to.removesuffix("x2")

        def pair(high: Array, low: Array) -> Array:
            first = narrow(low, half).astype(np.uint32)
            return first | narrow(high, half).astype(np.uint32) << np.uint32(16)

        return Operation(pair, ("b32", origin, origin))
    if to[0] in "su" and origin[0] in "fb" and "f" in origin:
        rounding = next(x for x in how if x in _ROUNDINGS)
        return Operation(lambda x: _whole(x, _ROUNDINGS[rounding], to), (to, origin))
    return Operation(_cast(to), (to, origin))


def _cast(to: str) -> Function:
    if to in ("f16", "bf16"):
        return lambda x: x
    dtype = dtype_of(to)
    return lambda x: x.astype(dtype)


_ROUNDINGS: dict[str, Function] = {
    "rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil,
}  # fmt: skip


def _whole(x: Array, rounding: Function, to: str) -> Array:
    """Within the type's range, and 0 for NaN."""
    dtype = dtype_of(to)
    about = np.iinfo(dtype)
    clear = np.nan_to_num(rounding(x.astype(np.float64)), nan=0.0)
    inside = np.clip(clear, float(about.min), float(about.max))
    top = clear >= float(about.max)
    return np.where(top, about.max, np.where(top, 0, inside).astype(dtype)).astype(dtype)
