"""What operators compute, in NumPy, to the last bit.

Reference: TensorFlow Lite's reference kernels as LiteRT 2.3 has them, with double rounding. Sums of
products are taken in float64, which holds them exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from .fixed import multiply
from .program import Array, Tensor
from .recipes import Recipe, Scaled, Softmax, Sum, Table
from .rsqrt import rsqrt
from .softmax import softmax

Kernel = Callable[[Sequence[Array], Sequence[Tensor], Tensor, Recipe, Mapping[str, Any]], Array]
"""Codes in, their tensors, the output's tensor, the recipe, the options; codes out."""


def run(
    kind: str,
    codes: Sequence[Array],
    tensors: Sequence[Tensor],
    output: Tensor,
    recipe: Recipe,
    options: Mapping[str, Any],
) -> Array:
    """The codes of an operator's output."""
    found = KERNELS[kind](codes, tensors, output, recipe, options)
    return found.reshape(output.shape)


def saturated(x: Array, output: Tensor) -> Array:
    """Accumulators at the output's scale, its zero added."""
    return np.clip(x + output.zero, *output.limits).astype(output.dtype)


def centred(codes: Array, tensor: Tensor) -> Array:
    return codes.astype(np.int64) - tensor.zero


def scaled(x: Array, recipe: Recipe) -> Array:
    """`[..., channels]`, each channel by its own factor, or all by one."""
    by = cast("Scaled", recipe).by
    if len(by) == 1:
        return by[0](x)
    multipliers, shifts = np.array([(one.multiplier, one.shift) for one in by], np.int64).T
    return multiply(x, multipliers, shifts)


def _conv(
    codes: Sequence[Array],
    tensors: Sequence[Tensor],
    output: Tensor,
    recipe: Recipe,
    options: Mapping[str, Any],
) -> Array:
    """`[1, H, W, C]` with `[O, h, w, C]` and a bias `[O]`, no padding."""
    windows = _windows(centred(codes[0], tensors[0]), codes[1].shape[1:3], options)
    weights = codes[1].transpose(3, 1, 2, 0).reshape(-1, len(codes[1]))
    flat = windows.reshape(*windows.shape[:2], -1)
    return saturated(scaled(_whole(flat @ weights.astype(np.float64)) + codes[2], recipe), output)


def _depthwise(
    codes: Sequence[Array],
    tensors: Sequence[Tensor],
    output: Tensor,
    recipe: Recipe,
    options: Mapping[str, Any],
) -> Array:
    """`[1, H, W, C]` with `[1, h, w, C]` and a bias `[C]`, no padding."""
    windows = _windows(centred(codes[0], tensors[0]), codes[1].shape[1:3], options)
    sums = np.einsum("hwcij,ijc->hwc", windows, codes[1][0].astype(np.float64))
    return saturated(scaled(_whole(sums) + codes[2], recipe), output)


def _windows(x: Array, size: tuple[int, ...], options: Mapping[str, Any]) -> Array:
    """`[H', W', C, h, w]` in float64."""
    (down, across), (row, column) = options.get("stride", (1, 1)), options.get("dilation", (1, 1))
    extent = (row * (size[0] - 1) + 1, column * (size[1] - 1) + 1)
    views = np.lib.stride_tricks.sliding_window_view(x[0].astype(np.float64), extent, (0, 1))
    return views[::down, ::across, :, ::row, ::column]


def _whole(sums: Array) -> Array:
    return np.rint(sums).astype(np.int64)


def _matmul(
    codes: Sequence[Array],
    tensors: Sequence[Tensor],
    output: Tensor,
    recipe: Recipe,
    options: Mapping[str, Any],
) -> Array:
    """`[..., n, k]` times `[..., k, m]`, or `[..., m, k]` where it is `turned`."""
    first, second = (centred(c, t).astype(np.float64) for c, t in zip(codes, tensors, strict=True))
    if options.get("turned"):
        second = second.swapaxes(-1, -2)
    return saturated(scaled(_whole(first @ second), recipe), output)


def _sum(sign: int) -> Kernel:
    def added(
        codes: Sequence[Array],
        tensors: Sequence[Tensor],
        output: Tensor,
        recipe: Recipe,
        options: Mapping[str, Any],
    ) -> Array:
        by = cast("Sum", recipe)
        first, second = (
            factor(centred(c, t) << by.left)
            for c, t, factor in zip(codes, tensors, (by.first, by.second), strict=True)
        )
        return saturated(by.out(first + sign * second), output)

    return added


def _mul(
    codes: Sequence[Array],
    tensors: Sequence[Tensor],
    output: Tensor,
    recipe: Recipe,
    options: Mapping[str, Any],
) -> Array:
    first, second = (centred(c, t) for c, t in zip(codes, tensors, strict=True))
    return saturated(scaled(first * second, recipe), output)


def _requantised(
    codes: Sequence[Array],
    tensors: Sequence[Tensor],
    output: Tensor,
    recipe: Recipe,
    options: Mapping[str, Any],
) -> Array:
    return saturated(scaled(centred(codes[0], tensors[0]), recipe), output)


def _table(
    codes: Sequence[Array],
    tensors: Sequence[Tensor],
    output: Tensor,
    recipe: Recipe,
    options: Mapping[str, Any],
) -> Array:
    table = np.array(cast("Table", recipe).codes, np.int8)
    return table[codes[0].astype(np.int64) + 128]


def _softmax(
    codes: Sequence[Array],
    tensors: Sequence[Tensor],
    output: Tensor,
    recipe: Recipe,
    options: Mapping[str, Any],
) -> Array:
    by = cast("Softmax", recipe)
    return softmax(codes[0].astype(np.int64), by.by, by.least).astype(np.int8)


def _mean(
    codes: Sequence[Array],
    tensors: Sequence[Tensor],
    output: Tensor,
    recipe: Recipe,
    options: Mapping[str, Any],
) -> Array:
    sums = centred(codes[0], tensors[0]).sum(axis=tuple(options["axes"]), keepdims=True)
    return saturated(scaled(sums, recipe), output)


def _root(
    codes: Sequence[Array],
    tensors: Sequence[Tensor],
    output: Tensor,
    recipe: Recipe,
    options: Mapping[str, Any],
) -> Array:
    (by,) = cast("Scaled", recipe).by
    return rsqrt(centred(codes[0], tensors[0]), by, output).astype(output.dtype)


def _moved(move: Callable[[Sequence[Array], Mapping[str, Any]], Array]) -> Kernel:
    return lambda codes, tensors, output, recipe, options: move(codes, options)


def _sliced(codes: Sequence[Array], options: Mapping[str, Any]) -> Array:
    """Along one axis, from `first` on, `count` codes, every `by`-th."""
    index = [slice(None)] * codes[0].ndim
    first, count, by = options["first"], options["count"], options.get("by", 1)
    index[options["axis"]] = slice(first, first + (count - 1) * by + 1, by)
    return codes[0][tuple(index)]


KERNELS: Mapping[str, Kernel] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "matmul": _matmul,
    "add": _sum(1),
    "sub": _sum(-1),
    "mul": _mul,
    "requantise": _requantised,
    "sigmoid": _table,
    "tanh": _table,
    "softmax": _softmax,
    "mean": _mean,
    "rsqrt": _root,
    "maximum": _moved(lambda codes, options: np.maximum(codes[0], codes[1])),
    "minimum": _moved(lambda codes, options: np.minimum(codes[0], codes[1])),
    "concat": _moved(lambda codes, options: np.concatenate(codes, options["axis"])),
    "slice": _moved(_sliced),
    "reshape": _moved(lambda codes, options: codes[0]),
    "transpose": _moved(lambda codes, options: codes[0].transpose(options["order"])),
}
"""A row for each recipe."""
