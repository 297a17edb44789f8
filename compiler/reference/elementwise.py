"""Element by element: functions of one number, arithmetic with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from math import erf, sqrt

import numpy as np

from .call import Call, Rule, framewise
from .value import Array, frame_shape

_erf = np.vectorize(erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _gelu(x: Array) -> Array:
    """x times the normal distribution function: the exact form, not the tanh approximation."""
    return np.asarray(0.5 * x * (1 + _erf(x / sqrt(2))))


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "swish": lambda x: x * _sigmoid(x),
    "gelu": _gelu,
    "softplus": lambda x: np.logaddexp(0, x),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
}

ARITHMETIC: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
}


def _unary(function: Callable[[Array], Array]) -> Rule:
    return framewise(lambda call: function(call.data[0]))


def _binary(function: Callable[[Array, Array], Array]) -> Rule:
    def compute(call: Call) -> Array:
        left, right = (_widened(call, slot) for slot in (0, 1))
        return function(left, right)

    return framewise(compute)


def _widened(call: Call, slot: int) -> Array:
    """One number meets all; `[C]` meets `[C, F]` and `[C; k]` channel by channel."""
    kind, wide = call.kinds[slot], len(frame_shape(call.out))
    own = () if kind.size == 1 and kind.dims != call.out.dims else frame_shape(kind)
    return call.data[slot].reshape(call.index + own + (1,) * (wide - len(own)))


RULES: dict[str, Rule] = {
    **{name: _unary(function) for name, function in FUNCTIONS.items()},
    **{name: _binary(function) for name, function in ARITHMETIC.items()},
    # zeroes nothing outside training
    "dropout": framewise(lambda call: call.data[0]),
    "present": framewise(lambda call: np.ones((*call.index, 1))),
}
