"""How operators of the graph become operators of the accelerator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import pairwise
from math import gcd
from typing import cast

import numpy as np

from ...compiler.graph import Node
from ...compiler.reference.attention import sinusoids
from ...compiler.types import Type
from .attention import attend
from .build import SIGMOID, TANH
from .filters import Filter
from .formats import Code, common, reaching
from .lowering import Frames, Lowering
from .program import Array

Row = Callable[[Lowering, Node, Frames], str]


def _filtered(work: Lowering, path: str, frames: Frames) -> tuple[str, int, int, int]:
    """Input of a filter over time: a tensor, the taps, their distance and the stride.

    Between a window and its reader there may be views: a stride, a shift. Only frames that some
    tap sees are taken, for others need not be there; where that leaves gaps, each output has
    frames of its own.
    """
    source, seen, by = work.read(path, frames)
    frames = tuple(one[0] for one in seen)
    steps = {after - before for before, after in pairwise(frames)} or {1}
    apart = gcd(by, *steps) if len(seen[0]) > 1 else max(steps)
    reach = tuple(range(seen[0][0], seen[-1][-1] + 1, apart))
    if len(steps) == 1 and set(reach) == {frame for one in seen for frame in one}:
        (step,) = steps
        return (
            work.build.narrow(work.take(source, reach)),
            len(seen[0]),
            max(by // apart, 1),
            step // apart,
        )
    every = tuple(frame for one in seen for frame in one)
    return work.build.narrow(work.take(source, every)), len(seen[0]), 1, len(seen[0])


def _dense(work: Lowering, node: Node, frames: Frames) -> str:
    filter, code = ungrouped(work.filter(node), node), work.codes[node.path]
    path = node.inputs[0]
    if len(node.inputs) > 1:
        return _dense_of_rows(work, node, frames)
    planes = work.facts.graph[path].inputs[0] if _is_planes(work, path) else ""
    if planes:
        bands, channels = work.shape(planes)
        kernel = filter.laid_out(
            lambda w: w.reshape(-1, channels, bands).transpose(0, 2, 1)[:, None]
        )
        return work.build.conv(node.path, work.take(planes, frames), kernel, code)
    if work.shape(path)[0] > 1:
        return _dense_of_rows(work, node, frames)
    tensor, taps, by, step = _filtered(work, path, frames)
    kernel = filter.laid_out(lambda w: w.reshape(len(w), -1, taps).transpose(0, 2, 1)[:, :, None])
    return work.build.conv(node.path, tensor, kernel, code, stride=(step, 1), dilation=(by, 1))


def _is_planes(work: Lowering, path: str) -> bool:
    """Whether a value is planes as one row, which nobody has turned into one."""
    node = work.facts.graph[path]
    return node.op == "flatten" and work.facts.types[node.inputs[0]].taps is None


def _dense_of_rows(work: Lowering, node: Node, frames: Frames) -> str:
    """All inputs in one row; they come to one scale first."""
    parts = [work.build.narrow(_as_row(work, path, frames)) for path in node.inputs]
    code = common([work.build.code(part) for part in parts])
    row = work.build.concat(
        f"{node.path}.row", [work.build.as_code(part, code) for part in parts], 3
    )
    kinds = [work.facts.types[path] for path in node.inputs]
    ends = np.cumsum([kind.size for kind in kinds])[:-1]

    def turned(weight: Array) -> Array:
        columns = zip(np.split(weight, ends, 1), kinds, strict=True)
        return np.concatenate([_by_taps(part, kind) for part, kind in columns], 1)[:, None, None]

    filter = ungrouped(work.filter(node), node).laid_out(turned)
    return work.build.conv(node.path, row, filter, work.codes[node.path])


def ungrouped(filter: Filter, node: Node) -> Filter:
    """Weights of groups as one matrix, code 0 where a group does not reach: exact, and zeros cost
    next to nothing in the weight stream."""
    groups = int(str(node.attrs["groups"]))
    if groups == 1:
        return filter
    return filter.laid_out(lambda codes: spread(codes, groups))


def spread(codes: Array, groups: int) -> Array:
    """`[O, columns of a group]` to `[O, all columns]`; -1 where there is nothing if the codes are
    places (int64), else 0."""
    rows, columns = codes.shape
    whole = np.full((rows, groups, columns), -1 if codes.dtype == np.int64 else 0, codes.dtype)
    each = rows // groups
    for group in range(groups):
        mine = slice(group * each, (group + 1) * each)
        whole[mine, group] = codes[mine]
    return whole.reshape(rows, -1)


def _as_row(work: Lowering, path: str, frames: Frames) -> str:
    """`[1, frames, 1, D]`: a frame's numbers by taps, then bands, then channels."""
    bands, channels = work.shape(path)
    source, seen, _ = work.read(path, frames)
    if len(seen[0]) == 1 and bands == 1:
        return work.take(source, tuple(one for (one,) in seen))
    rows = []
    for taps in seen:
        tensor = work.take(source, taps)
        shape = (1, 1, 1, len(taps) * bands * channels)
        rows.append(work.build.same("reshape", f"{tensor}.row", tensor, shape))
    return work.build.concat(f"{path}.rows", rows, 1)


def _by_taps(columns: Array, kind: Type) -> Array:
    """Columns of an input, `[O, channels * bands * taps]`, in the order of `_as_row`."""
    split = columns.reshape(len(columns), kind.dims[0], -1, kind.taps or 1)
    return split.transpose(0, 3, 2, 1).reshape(len(columns), -1)


def _convf(work: Lowering, node: Node, frames: Frames) -> str:
    """A window and a kernel over bands: zero bands on both sides, then a plain convolution."""
    filter, across = work.filter(node), int(str(node.attrs["stride"]))
    tensor, _, by, step = _filtered(work, node.inputs[0], frames)
    _, count, bands, channels = work.build.shape(tensor)
    if filter.codes.shape[1] == 1 and bands == 1 and channels > 1:  # bands of one channel
        tensor = work.build.same("reshape", f"{tensor}.bands", tensor, (1, count, channels, 1))
    side = (filter.codes.shape[2] - 1) // 2
    kernel = filter.laid_out(lambda w: w.transpose(0, 3, 2, 1))
    padded = _with_bands(work, tensor, side)
    options = {"stride": (step, across), "dilation": (by, 1)}
    return work.build.conv(node.path, padded, kernel, work.codes[node.path], **options)


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
    kernel = work.filter(node).laid_out(lambda w: w.T[None, :, None])
    options = {"stride": (step, 1), "dilation": (by, 1)}
    return work.build.depthwise(node.path, tensor, kernel, work.codes[node.path], **options)


def _sigmoid(work: Lowering, name: str, tensor: str) -> str:
    tensor = work.build.narrow(tensor)
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
    weight, bias = (_row(work, node, place) for place in (0, 1))
    scaled = b.pair("mul", f"{path}.scaled", unit, weight, work.codes[f"{path}.scaled"])
    shifted = b.pair("add", f"{path}.shifted", scaled, bias, b.code(scaled))
    return b.as_code(shifted, work.codes[path])


def _row(work: Lowering, node: Node, place: int) -> str:
    """A parameter for each feature, int16, as far as its reach."""
    name, owner = ("weight", "bias")[place], node.owner or node.path
    values = work.weights[f"{owner}.{name}"].reshape(1, 1, 1, -1)
    code = reaching(float(work.weights[f"{owner}.reach"][place]))
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


def _concat(work: Lowering, node: Node, frames: Frames) -> str:
    code = work.codes[node.path]
    parts = [work.build.as_code(work.take(path, frames), code) for path in node.inputs]
    return work.build.concat(node.path, parts, 3)


def _weight(work: Lowering, node: Node, frames: Frames) -> str:
    values = work.param(node, "value").reshape(1, 1, 1, -1)
    return work.build.constant(node.path, values, work.codes[node.path])


def _constant(work: Lowering, node: Node, frames: Frames) -> str:
    value = np.full((1, 1, 1, 1), float(cast("Fraction", node.attrs["value"])))
    return work.build.constant(node.path, value, work.codes[node.path])


def _positions(work: Lowering, node: Node, frames: Frames) -> str:
    """A row of sines and cosines for each distance."""
    values = sinusoids(np.array(frames), int(str(node.attrs["n"]))).astype(np.float32)
    return work.build.constant(node.path, values[None, :, None], work.codes[node.path])


ROWS: Mapping[str, Row] = {
    "attend": attend,
    "weight": _weight,
    "constant": _constant,
    "positions": _positions,
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
    "concat": _concat,
}
