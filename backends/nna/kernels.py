"""What operators compute, in NumPy, to the last bit.

Reference: TensorFlow Lite's reference kernels as LiteRT 2.3 has them, with double rounding. Sums of
products are taken in floating point that holds them exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from .fixed import multiply
from .program import Array, Tensor
from .recipes import Recipe, Scaled, Softmax, Sum, Table
from .rsqrt import rsqrt
from .softmax import softmax

Kernel = Callable[[Sequence[Array]], Array]
"""Codes in, codes out; what is constant has been prepared."""


@dataclass(frozen=True)
class Site:
    """An operator in its program: the tensors that it reads, the one it makes, its recipe.

    `count` is told after each run how many codes saturated.
    """

    kind: str
    tensors: Sequence[Tensor]
    output: Tensor
    recipe: Recipe
    options: Mapping[str, Any]
    count: Callable[[int], None] | None = None

    def constant(self, place: int) -> Array:
        """Raises ValueError where an input is not constant."""
        data = self.tensors[place].data
        if data is None:
            raise ValueError(f"`{self.output.name}`: {self.kind} takes constant weights")
        return data


def kernel(site: Site) -> Kernel:
    """An operator, ready to run: its output has the output's shape, but for the rows."""
    run, shape = KERNELS[site.kind](site), site.output.shape
    return lambda codes: run(codes).reshape(-1, *shape[1:])


# --- accumulators ---


def _saturated(x: Array, site: Site) -> Array:
    """Accumulators at the output's scale, its zero added."""
    low, high = site.output.limits
    codes = x + site.output.zero
    found = np.minimum(np.maximum(codes, low), high)
    if site.count is not None:
        site.count(int((found != codes).sum()))
    return found.astype(site.output.dtype)


def _scaling(recipe: Recipe) -> Callable[[Array], Array]:
    """`[..., channels]`, each channel by its own factor, or all by one."""
    by = cast("Scaled", recipe).by
    if len(by) == 1:
        return by[0]
    multipliers, shifts = np.array([(one.multiplier, one.shift) for one in by], np.int64).T
    return lambda x: multiply(x, multipliers, shifts)


def _centred(codes: Array, tensor: Tensor) -> Array:
    return codes.astype(np.int64) - tensor.zero


# --- sums of products ---


def _exact(depth: int) -> type[np.floating[Any]]:
    """A float that holds every sum of so many products of codes (24 bits and 53)."""
    return np.float32 if depth * 128 * 128 <= 1 << 24 else np.float64


def _conv(site: Site) -> Kernel:
    """`[N, H, W, C]` with `[O, h, w, C]` and a bias `[O]`, no padding."""
    weight, kind = site.constant(1), _exact(site.constant(1)[0].size)
    flat = np.ascontiguousarray(weight.transpose(3, 1, 2, 0).reshape(-1, len(weight)).astype(kind))
    bias = site.constant(2) - site.tensors[0].zero * weight.sum((1, 2, 3), np.int64)
    windows, scaling = _windows(site, kind), _scaling(site.recipe)

    def run(codes: Sequence[Array]) -> Array:
        sums = windows(codes[0]).reshape(-1, len(flat)) @ flat
        return _saturated(scaling(np.rint(sums).astype(np.int64) + bias), site)

    return run


def _depthwise(site: Site) -> Kernel:
    """`[N, H, W, C]` with `[1, h, w, C]` and a bias `[C]`, no padding."""
    weight = site.constant(1)[0].transpose(2, 0, 1).astype(np.float64)
    bias = site.constant(2) - site.tensors[0].zero * site.constant(1).sum((0, 1, 2), np.int64)
    windows, scaling = _windows(site, np.float64), _scaling(site.recipe)

    def run(codes: Sequence[Array]) -> Array:
        sums = (windows(codes[0]) * weight).sum((-2, -1))
        return _saturated(scaling(np.rint(sums).astype(np.int64) + bias), site)

    return run


def _windows(site: Site, kind: type[np.floating[Any]]) -> Callable[[Array], Array]:
    """`[N, H', W', C, h, w]`; the zero point is part of the bias."""
    size = site.tensors[1].shape[1:3]
    (down, across), (row, column) = (site.options.get(n, (1, 1)) for n in ("stride", "dilation"))
    extent = (row * (size[0] - 1) + 1, column * (size[1] - 1) + 1)

    def run(codes: Array) -> Array:
        x = codes.astype(kind)
        if extent == (1, 1):
            return x[:, ::down, ::across, :, None, None]
        views = np.lib.stride_tricks.sliding_window_view(x, extent, (1, 2))
        return views[:, ::down, ::across, :, ::row, ::column]

    return run


def _matmul(site: Site) -> Kernel:
    """`[..., n, k]` times `[..., k, m]`, or `[..., m, k]` where it is `turned`."""
    scaling, turned = _scaling(site.recipe), bool(site.options.get("turned"))

    def run(codes: Sequence[Array]) -> Array:
        pairs = zip(codes, site.tensors, strict=True)
        first, second = (_centred(c, t).astype(np.float64) for c, t in pairs)
        product = first @ (second.swapaxes(-1, -2) if turned else second)
        return _saturated(scaling(np.rint(product).astype(np.int64)), site)

    return run


# --- one code at a time ---


def _sum(site: Site) -> Kernel:
    by, sign = cast("Sum", site.recipe), 1 if site.kind == "add" else -1

    def run(codes: Sequence[Array]) -> Array:
        pairs = zip(codes, site.tensors, (by.first, by.second), strict=True)
        first, second = (factor(_centred(c, t) << by.left) for c, t, factor in pairs)
        return _saturated(by.out(first + sign * second), site)

    return run


def _mul(site: Site) -> Kernel:
    scaling = _scaling(site.recipe)

    def run(codes: Sequence[Array]) -> Array:
        first, second = (_centred(c, t) for c, t in zip(codes, site.tensors, strict=True))
        return _saturated(scaling(first * second), site)

    return run


def _requantise(site: Site) -> Kernel:
    scaling, (tensor,) = _scaling(site.recipe), site.tensors
    return lambda codes: _saturated(scaling(_centred(codes[0], tensor)), site)


def _table(site: Site) -> Kernel:
    return _looked_up(np.array(cast("Table", site.recipe).codes, np.int8))


def _looked_up(table: Array) -> Kernel:
    """By the bytes of codes: from 0 to 127, then from -128 to -1."""
    turned = np.roll(table, 128)
    return lambda codes: turned[codes[0].view(np.uint8)]


def _mean(site: Site) -> Kernel:
    scaling, (tensor,) = _scaling(site.recipe), site.tensors
    axes = tuple(site.options["axes"])
    return lambda codes: _saturated(scaling(_centred(codes[0], tensor).sum(axes)), site)


def _rsqrt(site: Site) -> Kernel:
    (by,), (tensor,) = cast("Scaled", site.recipe).by, site.tensors
    return _looked_up(rsqrt(np.arange(-128, 128) - tensor.zero, by, site.output).astype(np.int8))


def _softmax(site: Site) -> Kernel:
    by = cast("Softmax", site.recipe)
    return lambda codes: softmax(codes[0].astype(np.int64), by.by, by.least).astype(np.int8)


# --- codes that only move ---


def _concat(site: Site) -> Kernel:
    axis = site.options["axis"]
    return lambda codes: np.concatenate(codes, axis)


def _slice(site: Site) -> Kernel:
    """Along one axis, from `first` on, `count` codes, every `by`-th."""
    index = [slice(None)] * len(site.tensors[0].shape)
    first, count, by = site.options["first"], site.options["count"], site.options.get("by", 1)
    index[site.options["axis"]] = slice(first, first + (count - 1) * by + 1, by)
    return lambda codes: codes[0][tuple(index)]


def _transpose(site: Site) -> Kernel:
    order = site.options["order"]
    return lambda codes: codes[0].transpose(order)


KERNELS: Mapping[str, Callable[[Site], Kernel]] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "matmul": _matmul,
    "add": _sum,
    "sub": _sum,
    "mul": _mul,
    "requantise": _requantise,
    "sigmoid": _table,
    "tanh": _table,
    "softmax": _softmax,
    "mean": _mean,
    "rsqrt": _rsqrt,
    "maximum": lambda site: lambda codes: np.maximum(codes[0], codes[1]),
    "minimum": lambda site: lambda codes: np.minimum(codes[0], codes[1]),
    "concat": _concat,
    "slice": _slice,
    "reshape": lambda site: lambda codes: codes[0],
    "transpose": _transpose,
}
"""A row for each recipe."""
