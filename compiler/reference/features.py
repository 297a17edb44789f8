"""Over the features of a frame: gates, norms, softmax, and how features are laid out.

Norms and softmax run over all axes of a frame; of a window, over each of its frames alone.
"""

from __future__ import annotations

import numpy as np

from .call import Call, Rule, framewise
from .elementwise import FUNCTIONS
from .value import Array


def _axes(call: Call) -> tuple[int, ...]:
    """The feature axes, taps excluded."""
    first = len(call.index)
    return tuple(range(first, first + len(call.kind.dims)))


def _per_feature(call: Call, name: str) -> Array:
    """A parameter of the shape of `dims`, or of its first axis, against a frame and its taps."""
    found = call.param(name)
    wide = len(call.kind.dims) + (call.kind.taps is not None)
    return found.reshape(found.shape + (1,) * (wide - found.ndim))


def _layernorm(call: Call) -> Array:
    x, axes = call.data[0], _axes(call)
    centred = x - x.mean(axes, keepdims=True)
    variance = (centred**2).mean(axes, keepdims=True)
    unit = centred / np.sqrt(variance + call.real("eps"))
    return np.asarray(unit * _per_feature(call, "weight") + _per_feature(call, "bias"))


def _rmsnorm(call: Call) -> Array:
    x = call.data[0]
    power = (x**2).mean(_axes(call), keepdims=True)
    return np.asarray(x / np.sqrt(power + call.real("eps")) * _per_feature(call, "weight"))


def _batchnorm(call: Call) -> Array:
    scale = _per_feature(call, "weight") / np.sqrt(
        _per_feature(call, "variance") + call.real("eps")
    )
    return (call.data[0] - _per_feature(call, "mean")) * scale + _per_feature(call, "bias")


def _cmvn(call: Call) -> Array:
    return (call.data[0] - _per_feature(call, "mean")) / _per_feature(call, "deviation")


def _log_softmax(call: Call) -> Array:
    x, axes = call.data[0], _axes(call)
    shifted = x - x.max(axes, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axes, keepdims=True)))


def _glu(call: Call) -> Array:
    value, gate = np.split(call.data[0], 2, len(call.index))
    return value * FUNCTIONS["sigmoid"](gate)


def _slice(call: Call) -> Array:
    axis, number = len(call.index), call.count("index")
    size = call.data[0].shape[axis] // call.count("parts")
    part = (slice(None),) * axis + (slice(number * size, (number + 1) * size),)
    return call.framed(call.data[0][part])


def _concat(call: Call) -> Array:
    return np.concatenate(call.data, len(call.index))


def _stack(call: Call) -> Array:
    return np.stack(call.data, len(call.index))


RULES: dict[str, Rule] = {
    "glu": framewise(_glu),
    "softmax": framewise(lambda call: np.exp(_log_softmax(call))),
    "log_softmax": framewise(_log_softmax),
    "layernorm": framewise(_layernorm),
    "rmsnorm": framewise(_rmsnorm),
    "batchnorm": framewise(_batchnorm),
    "cmvn": framewise(_cmvn),
    "slice": framewise(_slice),
    "concat": framewise(_concat),
    "stack": framewise(_stack),
    "flatten": framewise(lambda call: call.framed(call.data[0])),
}
