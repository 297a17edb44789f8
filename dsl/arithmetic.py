"""Constant arithmetic: exact numbers, with units that must agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.source import Span
from ..compiler.units import UNITS, Quantity
from . import syntax

Number = Fraction | Quantity

LIMIT = Fraction(10) ** 30
"""Constants beyond this are refused, so that arithmetic stays bounded."""

MAX_EXPONENT = 256


def refuse(code: str, message: str, span: Span, help: str = "") -> AsrcError:
    return AsrcError(diagnostic(code, message, span, help=help))


def literal(node: syntax.Number | syntax.Quantity) -> Number:
    """A literal's exact value; `k M G %` only scale."""
    if isinstance(node, syntax.Number):
        return node.value
    dimension, scale = UNITS[node.unit]
    value = node.value * scale
    return value if dimension == "number" else Quantity(value, dimension)


def negate(value: Number) -> Number:
    return Quantity(-value.value, value.dimension) if isinstance(value, Quantity) else -value


def combine(op: str, left: Number, right: Number, span: Span) -> Number:
    """`left op right`; sizes, times and rates only add to their own kind."""
    dimension = _dimension(op, left, right, span)
    a, b = (v.value if isinstance(v, Quantity) else v for v in (left, right))
    if op == "/" and b == 0:
        raise refuse("E0206", "division by zero", span)
    value = _power(a, b, span) if op == "^" else _OPERATORS[op](a, b)
    if abs(value) > LIMIT:
        raise refuse("E0005", "this number is out of range", span, "stay below 1e30")
    return Quantity(value, dimension) if dimension else value


_OPERATORS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


def _power(base: Fraction, exponent: Fraction, span: Span) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT or abs(base) > 10**6:
        raise refuse("E0005", "this power is out of range", span, "use whole, small exponents")
    if base == 0 and exponent < 0:
        raise refuse("E0206", "division by zero", span)
    return Fraction(base**exponent)


def _dimension(op: str, left: Number, right: Number, span: Span) -> str | None:
    """The dimension of a result, `None` for a plain number."""
    a = left.dimension if isinstance(left, Quantity) else None
    b = right.dimension if isinstance(right, Quantity) else None
    if op in "+-" and a == b:
        return a
    if op == "*" and (a is None or b is None):
        return a or b
    if op == "*" and {a, b} == {"time", "rate"}:
        return None
    if op == "/" and (b is None or a == b):
        return None if a == b else a
    if op == "^" and a is None and b is None:
        return None
    raise refuse(
        "E0206",
        f"`{op}` does not combine {_kind(a)} and {_kind(b)}",
        span,
        "write the unit: `320ms`, `16kHz`, `24KiB`" if None in (a, b) else "",
    )


def _kind(dimension: str | None) -> str:
    return {None: "a plain number", "time": "a time", "rate": "a rate", "size": "a size"}[dimension]


FUNCTIONS: dict[str, Callable[[Sequence[Fraction]], Fraction]] = {
    "min": min,
    "max": max,
    "ceil": lambda v: Fraction(math.ceil(v[0])),
    "floor": lambda v: Fraction(math.floor(v[0])),
}
"""Functions of plain numbers. `max` is also an operator on streams."""
