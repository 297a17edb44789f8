"""What an operator multiplies, shifts and looks up: integers, from the scales of its tensors.

The one place where scales become integers; executor and proof read it. Multipliers are
derived as TensorFlow Lite derives them, float32 products included, so that a file that holds scales
alone says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .fixed import Rescale, rescale, round_half_away
from .program import Array, Op, Program, Tensor
from .softmax import DIFFERENCE_BITS


@dataclass(frozen=True, slots=True)
class Scaled:
    """An accumulator times a factor, one for each output channel or one for all."""

    by: tuple[Rescale, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """Both inputs, `left` bits up, at a common scale; their sum or difference at the output's."""

    left: int
    first: Rescale
    second: Rescale
    out: Rescale


@dataclass(frozen=True, slots=True)
class Table:
    """The output code of each of the 256 input codes, from -128 on."""

    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Softmax:
    """Differences to the largest code are scaled to 5 integer bits; below `least` they count as
    zero probability."""

    by: Rescale
    least: int


@dataclass(frozen=True, slots=True)
class Moved:
    """Codes are moved, not changed."""


Recipe: TypeAlias = Scaled | Sum | Table | Softmax | Moved


def recipe_of(program: Program, op: Op) -> Recipe:
    """Raises ValueError for an operator whose tensors do not fit it."""
    inputs, output = program.of(op)
    _check(op, inputs, output)
    return RECIPES[op.kind](inputs, output, op.options)


def _convolution(inputs: Sequence[Tensor], output: Tensor, options: Mapping[str, Any]) -> Recipe:
    source, out = np.float64(np.float32(inputs[0].scales[0])), _scale(output)
    weights = np.array(inputs[1].scales, np.float32).astype(np.float64)
    return Scaled(tuple(rescale(float(f)) for f in source * weights / np.float64(out)))


def _product(inputs: Sequence[Tensor], output: Tensor, options: Mapping[str, Any]) -> Recipe:
    return Scaled((rescale(float(_scale(inputs[0]) * _scale(inputs[1]) / _scale(output))),))


def _matmul(inputs: Sequence[Tensor], output: Tensor, options: Mapping[str, Any]) -> Recipe:
    product = np.float64(_scale(inputs[0]) * _scale(inputs[1]))
    return Scaled((rescale(float(product / np.float64(_scale(output)))),))


def _requantised(inputs: Sequence[Tensor], output: Tensor, options: Mapping[str, Any]) -> Recipe:
    return Scaled((rescale(float(np.float64(_scale(inputs[0])) / np.float64(_scale(output)))),))


LEFT = {"int8": 20, "int16": 15}
"""Bits by which summands are moved up before they are brought to one scale."""


def _sum(inputs: Sequence[Tensor], output: Tensor, options: Mapping[str, Any]) -> Recipe:
    first, second = (_scale(tensor) for tensor in inputs)
    left = LEFT[output.dtype]
    common = np.float64(np.float32(2) * max(first, second))
    out = common / np.float64(np.float32(1 << left) * _scale(output))
    one, other = (rescale(float(np.float64(scale) / common)) for scale in (first, second))
    return Sum(left, one, other, rescale(float(out)))


FUNCTIONS: Mapping[str, tuple[Callable[[Array], Array], float, int]] = {
    "sigmoid": (lambda x: np.float32(1) / (np.float32(1) + np.exp(-x)), 1 / 256, -128),
    "tanh": (np.tanh, 1 / 128, 0),
}
"""Functions that are tables of 256 codes; the scale and the zero of what they give are fixed."""


def _table(kind: str) -> Callable[[Sequence[Tensor], Tensor, Mapping[str, Any]], Recipe]:
    function, scale, zero = FUNCTIONS[kind]

    def made(inputs: Sequence[Tensor], output: Tensor, options: Mapping[str, Any]) -> Recipe:
        codes = np.arange(-128, 128).astype(np.float32)
        values = function((codes - np.float32(inputs[0].zero)) * _scale(inputs[0]))
        found = (round_half_away(float(v)) + zero for v in values / np.float32(scale))
        return Table(tuple(min(max(code, -128), 127) for code in found))

    return made


def _softmax(inputs: Sequence[Tensor], output: Tensor, options: Mapping[str, Any]) -> Recipe:
    beta = float(np.float32(options.get("beta", 1.0)))
    most = (1 << 31) - 1
    factor = min(beta * float(_scale(inputs[0])) * (1 << (31 - DIFFERENCE_BITS)), float(most))
    by = rescale(factor)
    radius = ((1 << DIFFERENCE_BITS) - 1) * 2.0 ** (31 - DIFFERENCE_BITS) / 2.0**by.shift
    return Softmax(by, -int(np.floor(radius)))


def _mean(inputs: Sequence[Tensor], output: Tensor, options: Mapping[str, Any]) -> Recipe:
    """The division by the number of elements is part of the multiplier."""
    count = int(np.prod([inputs[0].shape[axis] for axis in options["axes"]]))
    by = rescale(float(np.float64(_scale(inputs[0])) / np.float64(_scale(output))))
    up = min(count.bit_length() - 1, 32, 31 + by.shift)
    return Scaled((Rescale((by.multiplier << up) // count, by.shift - up),))


def _root(inputs: Sequence[Tensor], output: Tensor, options: Mapping[str, Any]) -> Recipe:
    root = np.sqrt(_scale(inputs[0])) * _scale(output)
    return Scaled((rescale(float(np.float32(1) / root)),))


def _moved(inputs: Sequence[Tensor], output: Tensor, options: Mapping[str, Any]) -> Recipe:
    return Moved()


RECIPES: Mapping[str, Callable[[Sequence[Tensor], Tensor, Mapping[str, Any]], Recipe]] = {
    "conv": _convolution,
    "depthwise": _convolution,
    "matmul": _matmul,
    "add": _sum,
    "sub": _sum,
    "mul": _product,
    "requantise": _requantised,
    "sigmoid": _table("sigmoid"),
    "tanh": _table("tanh"),
    "softmax": _softmax,
    "mean": _mean,
    "rsqrt": _root,
    "maximum": _moved,
    "minimum": _moved,
    "concat": _moved,
    "slice": _moved,
    "reshape": _moved,
    "transpose": _moved,
}
"""Every kind of operator."""

_SAME = ("maximum", "minimum", "concat", "slice", "reshape", "transpose")


def _check(op: Op, inputs: Sequence[Tensor], output: Tensor) -> None:
    if op.kind not in RECIPES:
        raise ValueError(f"there is no operator `{op.kind}`")
    if op.kind in _SAME:
        formats = {(t.dtype, t.scale, t.zero) for t in (*inputs, output)}
        if len(formats) > 1:
            raise ValueError(f"`{op.kind}` moves codes, so its tensors have one scale: {op.output}")
    if op.kind == "rsqrt" and {inputs[0].dtype, output.dtype} != {"int8"}:
        raise ValueError("`rsqrt` is one of int8: of int16, the reference is wrong at small codes")
    if op.kind in FUNCTIONS:
        _, scale, zero = FUNCTIONS[op.kind]
        if (output.scale, output.zero, output.dtype) != (scale, zero, "int8"):
            raise ValueError(f"`{op.kind}` gives int8 of scale {scale} and zero {zero}")


def _scale(tensor: Tensor) -> np.float32:
    return np.float32(tensor.scales[0])
