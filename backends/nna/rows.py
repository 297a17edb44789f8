"""How operators of the graph become operators of the accelerator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import gcd

import numpy as np

from ...compiler.graph import Node
from .build import SIGMOID, TANH
from .formats import Code
from .lowering import VIEWED, Frames, Lowering

Row = Callable[[Lowering, Node, Frames], str]


def _filtered(work: Lowering, path: str, frames: Frames) -> tuple[str, int, int, int]:
    """Input of a filter over time: a tensor, the taps, their distance and the stride.

    Between a window and its reader there may be views: a stride, a shift. Only frames that some
    tap sees are taken, for others need not be there; where that leaves gaps, each output has
    frames of its own.
    """
    node = work.facts.graph[path]
    while node.op in VIEWED and node.path not in work.made:
        frames = tuple(VIEWED[node.op](node, frame) for frame in frames)
        node = work.facts.graph[node.inputs[0]]
    past, future, by = _taps(node)
    source = node.inputs[0] if node.op == "window" else node.path
    seen = [tuple(frame + by * tap for tap in range(-past, future + 1)) for frame in frames]
    steps = {after - before for before, after in pairwise(frames)} or {1}
    apart = gcd(by, *steps) if len(seen[0]) > 1 else max(steps)
    reach = tuple(range(seen[0][0], seen[-1][-1] + 1, apart))
    if len(steps) == 1 and set(reach) == {frame for one in seen for frame in one}:
        (step,) = steps
        return work.take(source, reach), len(seen[0]), max(by // apart, 1), step // apart
    every = tuple(frame for one in seen for frame in one)
    return work.take(source, every), len(seen[0]), 1, len(seen[0])


def _taps(node: Node) -> tuple[int, int, int]:
    """Taps before and after, and the frames from each to the next."""
    if node.op != "window":
        return 0, 0, 1
    past, future, by = (int(str(node.attrs[name])) for name in ("past", "future", "by"))
    return past, future, by


def _dense(work: Lowering, node: Node, frames: Frames) -> str:
    weight, code = work.param(node, "weight"), work.codes[node.path]
    bias = work.bias(node)
    if len(node.inputs) > 1:
        return _dense_of_several(work, node, frames)
    (path,) = node.inputs
    if work.facts.graph[path].op == "flatten":
        planes = work.facts.graph[path].inputs[0]
        bands, channels = work.shape(planes)
        kernel = weight.reshape(-1, channels, bands).transpose(0, 2, 1)[:, None]
        return work.build.conv(node.path, work.take(planes, frames), kernel, bias, code)
    tensor, taps, by, step = _filtered(work, path, frames)
    kernel = weight.reshape(len(weight), -1, taps).transpose(0, 2, 1)[:, :, None]
    options = {"stride": (step, 1), "dilation": (by, 1)}
    return work.build.conv(node.path, tensor, kernel, bias, code, **options)


def _dense_of_several(work: Lowering, node: Node, frames: Frames) -> str:
    """All inputs in one row; they come to one scale first."""
    parts = [work.take(path, frames) for path in node.inputs]
    common = max((work.build.code(part) for part in parts), key=lambda code: code.scale)
    row = work.build.concat(
        f"{node.path}.row", [work.build.as_code(part, common) for part in parts], 3
    )
    weight = work.param(node, "weight")[:, None, None]
    bias = work.bias(node)
    return work.build.conv(node.path, row, weight, bias, work.codes[node.path])


def _convf(work: Lowering, node: Node, frames: Frames) -> str:
    """A window and a kernel over bands: zero bands on both sides, then a plain convolution."""
    weight, across = work.param(node, "weight"), int(str(node.attrs["stride"]))
    tensor, _, by, step = _filtered(work, node.inputs[0], frames)
    _, count, bands, channels = work.build.shape(tensor)
    if weight.shape[1] == 1 and bands == 1 and channels > 1:  # a vector is bands of one channel
        tensor = work.build.same("reshape", f"{tensor}.bands", tensor, (1, count, channels, 1))
    kernel = weight.transpose(0, 3, 2, 1)
    side = (weight.shape[2] - 1) // 2
    padded = _with_bands(work, tensor, side)
    bias = work.bias(node)
    options = {"stride": (step, across), "dilation": (by, 1)}
    return work.build.conv(node.path, padded, kernel, bias, work.codes[node.path], **options)


def _with_bands(work: Lowering, tensor: str, side: int) -> str:
    """`side` bands of zero on both sides."""
    if not side:
        return tensor
    shape, code = work.build.shape(tensor), work.build.code(tensor)
    zero = np.zeros((*shape[:2], side, shape[3]))
    edge = work.build.constant(f"{tensor}.edge", zero, code)
    return work.build.concat(f"{tensor}.padded", [edge, tensor, edge], 2)


def _depthwise(work: Lowering, node: Node, frames: Frames) -> str:
    tensor, _, by, step = _filtered(work, node.inputs[0], frames)
    weight = work.param(node, "weight").T[None, :, None]
    bias = work.bias(node)
    options = {"stride": (step, 1), "dilation": (by, 1)}
    return work.build.depthwise(node.path, tensor, weight, bias, work.codes[node.path], **options)


def _sigmoid(work: Lowering, name: str, tensor: str) -> str:
    return work.build.op("sigmoid", name, [tensor], work.build.shape(tensor), SIGMOID)


def _tanh(work: Lowering, node: Node, frames: Frames) -> str:
    """int8 in; of an accumulator what is beyond 4 is 1 anyway."""
    tensor = work.take(node.inputs[0], frames)
    code = work.build.code(tensor)
    if code.dtype == "int16":
        most = min(code.scale * 32767, _TANH_ENDS)
        tensor = work.build.as_code(tensor, Code("int8", float(np.float32(most / 127))))
    return work.build.op("tanh", node.path, [tensor], work.build.shape(tensor), TANH)


_TANH_ENDS = 4.0
"""There tanh is 0.9993."""


def _glu(work: Lowering, node: Node, frames: Frames) -> str:
    tensor = work.take(node.inputs[0], frames)
    width = work.build.shape(tensor)[3] // 2
    value, gate = (work.build.slice(tensor, 3, at, width) for at in (0, width))
    open_ = _sigmoid(work, f"{node.path}.gate", gate)
    return work.build.pair("mul", node.path, value, open_, work.codes[node.path])


def _swish(work: Lowering, node: Node, frames: Frames) -> str:
    tensor = work.take(node.inputs[0], frames)
    gate = _sigmoid(work, f"{node.path}.gate", tensor)
    return work.build.pair("mul", node.path, tensor, gate, work.codes[node.path])


def _layernorm(work: Lowering, node: Node, frames: Frames) -> str:
    """In int16 but for the root of the variance, of which eps is no part that int8 would show."""
    b, path = work.build, node.path
    x = b.wide(work.take(node.inputs[0], frames))
    one = (*b.shape(x)[:3], 1)
    near = Code("int16", b.code(x).scale / 64)
    mean = b.op("mean", f"{path}.mean", [x], one, near, axes=(3,))
    centred = b.pair("sub", f"{path}.centred", x, mean, near)
    square = b.pair("mul", f"{path}.square", centred, centred, work.codes[f"{path}.square"])
    spread = b.op("mean", f"{path}.spread", [square], one, b.code(square), axes=(3,))
    variance = b.as_code(spread, work.codes[f"{path}.variance"])
    root = b.op("rsqrt", f"{path}.root", [variance], one, work.codes[f"{path}.root"])
    unit = b.pair("mul", f"{path}.unit", centred, root, work.codes[f"{path}.unit"])
    weight, bias = (_row(work, node, name) for name in ("weight", "bias"))
    scaled = b.pair("mul", f"{path}.scaled", unit, weight, work.codes[f"{path}.scaled"])
    shifted = b.pair("add", f"{path}.shifted", scaled, bias, b.code(scaled))
    return b.as_code(shifted, work.codes[path])


def _row(work: Lowering, node: Node, name: str) -> str:
    """A parameter for each feature, int16."""
    values = work.param(node, name).reshape(1, 1, 1, -1)
    most = max(float(np.abs(values).max()), 1e-6)
    code = Code("int16", float(np.float32(most / 32767)))
    return work.build.constant(f"{node.path}.{name}", values, code)


def _binary(kind: str) -> Row:
    def row(work: Lowering, node: Node, frames: Frames) -> str:
        first, second = (work.take(path, frames) for path in node.inputs)
        return work.build.pair(kind, node.path, first, second, work.codes[node.path])

    return row


def _relu(work: Lowering, node: Node, frames: Frames) -> str:
    """What it reads has no negative codes already: see `formats.py`."""
    return work.build.as_code(work.take(node.inputs[0], frames), work.codes[node.path])


def _slice(work: Lowering, node: Node, frames: Frames) -> str:
    tensor = work.take(node.inputs[0], frames)
    width = work.build.shape(tensor)[3] // int(str(node.attrs["parts"]))
    return work.build.slice(tensor, 3, width * int(str(node.attrs["index"])), width)


def _flatten(work: Lowering, node: Node, frames: Frames) -> str:
    """Only a map reads it, and that reads the planes."""
    return work.take(node.inputs[0], frames)


def _concat(work: Lowering, node: Node, frames: Frames) -> str:
    code = work.codes[node.path]
    parts = [work.build.as_code(work.take(path, frames), code) for path in node.inputs]
    return work.build.concat(node.path, parts, 3)


ROWS: Mapping[str, Row] = {
    "dense": _dense,
    "convf": _convf,
    "depthwise": _depthwise,
    "sigmoid": lambda work, node, frames: _sigmoid(
        work, node.path, work.take(node.inputs[0], frames)
    ),
    "tanh": _tanh,
    "glu": _glu,
    "swish": _swish,
    "layernorm": _layernorm,
    "add": _binary("add"),
    "sub": _binary("sub"),
    "mul": _binary("mul"),
    "relu": _relu,
    "slice": _slice,
    "flatten": _flatten,
    "concat": _concat,
}
