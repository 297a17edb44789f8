"""Fixed-point arithmetic: how a product of scales becomes an integer multiplication and a shift.

Double rounding, as in gemmlowp and in TOSA 1.0 (RESCALE, DOUBLE_ROUND): a rounding doubling high
multiplication, then a rounding division by a power of two. Works on any array of 64-bit integers,
NumPy's or PyTorch's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp
from typing import Any, TypeAlias

Ints: TypeAlias = Any
"""An array of int64, of NumPy or of PyTorch."""

_ONE = 1 << 31


@dataclass(frozen=True, slots=True)
class Rescale:
    """Multiplication by about `multiplier / 2**31 * 2**shift`; the multiplier has 31 bits."""

    multiplier: int
    shift: int

    @property
    def factor(self) -> float:
        return self.multiplier / _ONE * 2.0**self.shift

    def __call__(self, x: Ints) -> Ints:
        return multiply(x, self.multiplier, self.shift)


def multiply(x: Ints, multiplier: Any, shift: Any) -> Ints:
    """Each element multiplied and rounded; |x| * 2**shift must stay below 2**31.

    `multiplier` and `shift` are numbers, or arrays that go with the last axis of x.
    """
    high = doubling_high(x << shift * (shift > 0), multiplier)
    return divide_by_power(high, -shift * (shift < 0))


def rescale(factor: float) -> Rescale:
    """The nearest multiplication to one by a real `factor` >= 0 (TensorFlow Lite's derivation).

    Raises ValueError for a factor that is negative, not finite, or 2**31 or more.
    """
    if not 0 <= factor < float(_ONE):
        raise ValueError(f"no fixed-point multiplication by {factor}")
    part, shift = frexp(factor)
    multiplier = round_half_away(part * _ONE)
    if multiplier == _ONE:
        multiplier, shift = multiplier // 2, shift + 1
    if shift < -31:  # all bits are lost
        return Rescale(0, 0)
    return Rescale(multiplier, shift)


def round_half_away(x: float) -> int:
    """To the nearest integer, halves away from zero, as C's `round`."""
    return int(x + 0.5) if x >= 0 else -int(0.5 - x)


def doubling_high(x: Ints, multiplier: Any) -> Ints:
    """The upper half of 2 * x * multiplier, rounded, halves up; x within 32 bits."""
    return (x * multiplier + (1 << 30)) >> 31


def divide_by_power(x: Ints, exponent: Any) -> Ints:
    """x / 2**exponent, rounded, halves away from zero."""
    mask = (exponent * 0 + 1 << exponent) - 1
    up = (x & mask) > (mask >> 1) + (x < 0)
    return (x >> exponent) + up
