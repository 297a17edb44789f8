"""1 / sqrt(x) of positive codes in fixed point: five steps of Newton and Raphson.

As in TensorFlow Lite's kernel for int8.
"""

from __future__ import annotations

import numpy as np

from .fixed import Rescale, divide_by_power, doubling_high, multiply
from .program import Array, Tensor

KEPT = 20
"""Bits behind the point between the root and its scale."""

_HALF_ROOT_OF_TWO = 1518500250
_ONE_AND_A_HALF = (1 << 28) + (1 << 27)


def rsqrt(centred: Array, by: Rescale, output: Tensor) -> Array:
    """Codes of the output's scale, of int64 `centred` >= 0; zero gives the largest code."""
    value = np.maximum(centred, 1)
    multiplier, shift = inverse_root(value)
    root = multiply(np.ones_like(value), multiplier, shift + KEPT)
    found = multiply(root, by.multiplier, by.shift - KEPT) + output.zero
    low, high = output.limits
    return np.where(centred <= 0, high, np.clip(found, low, high))


def inverse_root(value: Array) -> tuple[Array, Array]:
    """Multiplier and shift that stand for 1 / sqrt(value), of int64 from 1 to 2**29 - 1."""
    room = 30 - np.floor(np.log2(value)).astype(np.int64)
    pairs = room // 2 - 1
    half = (value << 2 * pairs) >> 1
    x = np.full_like(value, 1 << 28)
    for _ in range(5):
        cube = _times_64(doubling_high(doubling_high(x, x), x))
        x = _times_8(
            doubling_high(x, _ONE_AND_A_HALF) - doubling_high(divide_by_power(half, 1), cube)
        )
    x = doubling_high(x, _HALF_ROOT_OF_TWO)
    shift = 11 - pairs
    x = np.where(shift < 0, x << np.maximum(-shift, 0), x)
    one = value == 1
    return np.where(one, (1 << 31) - 1, x), np.where(one, 0, -np.maximum(shift, 0))


def _times_8(x: Array) -> Array:
    """From six integer bits to three, saturated."""
    return np.clip(x << 3, -(1 << 31), (1 << 31) - 1)


def _times_64(x: Array) -> Array:
    """From nine integer bits to three, saturated."""
    return np.clip(x << 6, -(1 << 31), (1 << 31) - 1)
