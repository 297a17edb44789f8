"""Whether the tensors of a program fit its operators: how many, of which shapes and types.

A program that was lowered does; one that was read may have been written by anyone, and is refused
here, before it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .program import LIMITS, Op, Program, Tensor
from .recipes import recipe_of

Shape = tuple[int, ...]
Shapes = Sequence[Shape]
Options = Mapping[str, Any]


def unfitting(program: Program) -> Iterator[str]:
    """What does not fit, by the names of tensors."""
    if not program.outputs:
        yield "it has no output"
    for tensor in program.tensors.values():
        low, high = LIMITS[tensor.dtype]
        if not low <= tensor.zero <= high:
            yield f"the zero of `{tensor.name}` is no {tensor.dtype}: {tensor.zero}"
        if len(tensor.scales) not in _scale_counts(tensor):
            yield f"`{tensor.name}` {[*tensor.shape]} has {len(tensor.scales)} scales"
        if tensor.shape[:1] != (1,) and tensor.data is None:
            yield f"the first axis of `{tensor.name}` is not 1"
    for state, after in program.states.items():
        if _format(program.tensors[state]) != _format(program.tensors[after]):
            yield f"`{after}` is another tensor than the state `{state}` that it replaces"
    for op in program.ops:
        yield from _of_operator(program, op)


def _scale_counts(tensor: Tensor) -> tuple[int, ...]:
    """One of all, or of a constant one of each channel, too."""
    return (1, *tensor.shape[tensor.axis : tensor.axis + 1]) if tensor.data is not None else (1,)


def _format(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype, tensor.scale, tensor.zero


def _of_operator(program: Program, op: Op) -> Iterator[str]:
    least, most = _COUNTS.get(op.kind, (1, 1))
    if not least <= len(op.inputs) <= most:
        yield f"`{op.output}` reads {len(op.inputs)} tensors, which `{op.kind}` does not"
        return
    inputs, output = program.of(op)
    try:
        made = _SHAPES.get(op.kind, _same)([tensor.shape for tensor in inputs], op.options)
        recipe_of(program, op)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        yield f"`{op.output}`, `{op.kind}` of {_listed(inputs)}: {error}"
        return
    if made != output.shape and (op.kind not in _FREE or np.prod(made) != np.prod(output.shape)):
        yield f"`{op.output}` is {[*output.shape]}, `{op.kind}` of {_listed(inputs)} is {[*made]}"


def _listed(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"`{tensor.name}` {[*tensor.shape]}" for tensor in tensors)


_COUNTS = {
    **dict.fromkeys(("conv", "depthwise"), (3, 3)),
    **dict.fromkeys(("matmul", "add", "sub", "mul", "maximum", "minimum"), (2, 2)),
    "concat": (1, 1 << 16),
}
"""Tensors that an operator reads, at least and at most; of others one."""

_FREE = ("mean", "reshape")
"""Their outputs say how their axes are split and joined."""


def _same(shapes: Shapes, options: Options) -> Shape:
    return shapes[0]


def _broadcast(shapes: Shapes, options: Options) -> Shape:
    return np.broadcast_shapes(*shapes)


def _conv(shapes: Shapes, options: Options) -> Shape:
    source, (rows, *size, depth), bias = shapes
    return _filtered(source, size, depth, rows, bias, options)


def _depthwise(shapes: Shapes, options: Options) -> Shape:
    source, (one, *size, depth), bias = shapes
    _must(one == 1, "there is more than one filter of a channel")
    return _filtered(source, size, depth, depth, bias, options)


def _filtered(
    source: Shape, size: Sequence[int], depth: int, rows: int, bias: Shape, options: Options
) -> Shape:
    """Without padding."""
    one, *frames, channels = source
    _must(channels == depth and bias == (rows,), "their channels are not the same")
    made = extent(frames, size, options)
    _must(min(made) > 0, "the window is larger than what it is of")
    return (one, *made, rows)


def extent(frames: Sequence[int], kernel: Sequence[int], options: Options) -> list[int]:
    """What a filter makes along both of its axes."""
    stride, dilation = (options.get(name, (1, 1)) for name in ("stride", "dilation"))
    sizes = zip(frames, kernel, stride, dilation, strict=True)
    return [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in sizes]


def _matmul(shapes: Shapes, options: Options) -> Shape:
    (*outer, rows, depth), (*others, first, second) = shapes
    if options.get("turned"):
        first, second = second, first
    _must(depth == first, "their inner axes are not the same")
    return (*np.broadcast_shapes(tuple(outer), tuple(others)), rows, second)


def _mean(shapes: Shapes, options: Options) -> Shape:
    axes = options["axes"]
    _must(all(0 < axis < len(shapes[0]) for axis in axes), "there is no such axis")
    return tuple(n for axis, n in enumerate(shapes[0]) if axis not in axes)


def _concat(shapes: Shapes, options: Options) -> Shape:
    axis = options["axis"]
    rests = {(shape[:axis], shape[axis + 1 :]) for shape in shapes}
    _must(len(rests) == 1, "their other axes are not the same")
    before, after = rests.pop()
    return (*before, sum(shape[axis] for shape in shapes), *after)


def _slice(shapes: Shapes, options: Options) -> Shape:
    (shape,), axis, count = shapes, options["axis"], options["count"]
    last = options["first"] + (count - 1) * options.get("by", 1)
    _must(last < shape[axis], "it ends before")
    return (*shape[:axis], count, *shape[axis + 1 :])


def _transpose(shapes: Shapes, options: Options) -> Shape:
    (shape,), order = shapes, options["order"]
    _must(sorted(order) == [*range(len(shape))], "the order is none of its axes")
    return tuple(shape[axis] for axis in order)


def _must(fits: bool, problem: str) -> None:
    if not fits:
        raise ValueError(problem)


_SHAPES: Mapping[str, Callable[[Shapes, Options], Shape]] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "matmul": _matmul,
    **dict.fromkeys(("add", "sub", "mul", "maximum", "minimum"), _broadcast),
    "mean": _mean,
    "concat": _concat,
    "slice": _slice,
    "transpose": _transpose,
}
"""What an operator makes of such shapes; others make what is like their input."""
