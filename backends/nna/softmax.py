"""Softmax of int8 codes in fixed point: gemmlowp's exponential and reciprocal.

Numbers with n integer bits are int32 with 31 - n bits behind the point. The exponential is a
polynomial below a quarter times a constant for each larger power of two (gemmlowp, fixedpoint.h);
the reciprocal takes three steps of Newton and Raphson.
"""

from __future__ import annotations

import numpy as np

from .fixed import Rescale, divide_by_power, doubling_high
from .program import Array

SUM_BITS = 12
"""Integer bits of the sum of exponentials."""

DIFFERENCE_BITS = 5
"""Integer bits of a difference of logits (gemmlowp's FixedPoint<int32, 5>)."""

_MOST = (1 << 31) - 1


def softmax(codes: Array, by: Rescale, least: int) -> Array:
    """Probabilities of int64 codes over the last axis, as codes of scale 1/256 and zero -128."""
    difference = codes - codes.max(axis=-1, keepdims=True)
    powers = np.where(difference >= least, exponential(scaled_differences(difference, by)), 0)
    total = divide_by_power(powers, SUM_BITS).sum(axis=-1, keepdims=True)
    over = zeros_in_front(total)
    reciprocal = half_reciprocal((total << over) - (1 << 31))
    product = doubling_high(reciprocal, powers)
    exponent = (SUM_BITS - over) + 31 - 8
    found = divide_by_power(product, exponent) - 128
    return np.where(difference >= least, np.clip(found, -128, 127), -128)


def scaled_differences(difference: Array, by: Rescale) -> Array:
    """Differences with five integer bits; those that would not fit are not used."""
    wide = np.maximum(difference, -(1 << (31 - by.shift)) + 1) if by.shift < 31 else difference
    return by(wide)


def _shifted(x: Array, exponent: int) -> Array:
    """x * 2**exponent, saturated, or rounded where the exponent is negative."""
    if exponent < 0:
        return divide_by_power(x, -exponent)
    return np.clip(x << exponent, -_MOST - 1, _MOST)


def exponential(x: Array) -> Array:
    """exp(x) without integer bits, of x <= 0 with five of them."""
    quarter = 1 << (31 - DIFFERENCE_BITS - 2)
    part = (x & (quarter - 1)) - quarter
    found = _exponential_of_small(_shifted(part, DIFFERENCE_BITS))
    remainder = part - x
    for power, multiplier in _POWERS:
        bit = remainder >> (31 - DIFFERENCE_BITS + power) & 1
        found = np.where(bit == 1, doubling_high(found, multiplier), found)
    return np.where(x == 0, _MOST, found)


_POWERS = (
    (-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535),
    (3, 720401), (4, 242),
)  # fmt: skip
"""exp(-2**n) without integer bits."""


def _exponential_of_small(a: Array) -> Array:
    """exp(a) of a in [-1/4, 0), around -1/8."""
    constant, third = 1895147668, 715827882
    x = a + (1 << 28)
    x2 = doubling_high(x, x)
    x3 = doubling_high(x2, x)
    x4 = doubling_high(x2, x2)
    x4_over_4 = _shifted(x4, -2)
    last = _shifted(doubling_high(x4_over_4 + x3, third) + x2, -1)
    return constant + doubling_high(x + last, constant)


def half_reciprocal(a: Array) -> Array:
    """1 / (1 + a) of a in [0, 1), both without integer bits."""
    half = (a + _MOST + 1) >> 1
    x = 1515870810 + doubling_high(half, -1010580540)
    for _ in range(3):
        rest = (1 << 29) - doubling_high(half, x)
        x = x + _shifted(doubling_high(x, rest), 2)
    return _shifted(x, 1)


def zeros_in_front(x: Array) -> Array:
    """Leading zeros of positive 32-bit numbers."""
    return (31 - np.floor(np.log2(x.astype(np.float64))).astype(np.int64)).astype(np.int64)
