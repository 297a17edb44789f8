"""Parameters and buffers: what each operator learns or carries, by name and shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import cast

from ..graph import Graph, Node
from ..ops import BINARY, UNARY
from ..types import Type
from .numbers import quantisers

Shapes = dict[str, tuple[int, ...]]
Rule = Callable[[Node, Sequence[Type], Type], Shapes]


def _none(node: Node, ins: Sequence[Type], out: Type) -> Shapes:
    return {}


def _with_bias(node: Node, weight: tuple[int, ...]) -> Shapes:
    bias: Shapes = {"bias": (weight[0],)} if node.attrs["bias"] else {}
    return {"weight": weight, **bias}


def _dense(node: Node, ins: Sequence[Type], out: Type) -> Shapes:
    width = sum(x.size for x in ins) // cast(int, node.attrs["groups"])
    return _with_bias(node, (out.dims[0], width))


def _convf(node: Node, ins: Sequence[Type], out: Type) -> Shapes:
    (x,) = ins
    channels = x.dims[0] if len(x.dims) == 2 else 1
    groups, kernel = (cast(int, node.attrs[n]) for n in ("groups", "kernel"))
    return _with_bias(node, (out.dims[0], channels // groups, kernel, x.taps or 1))


def _depthwise(node: Node, ins: Sequence[Type], out: Type) -> Shapes:
    (x,) = ins
    weight: Shapes = {"weight": (*x.dims, x.taps or 1)}
    return {**weight, "bias": x.dims} if node.attrs["bias"] else weight


def _embed(node: Node, ins: Sequence[Type], out: Type) -> Shapes:
    return {"weight": (cast(int, ins[0].vocab), out.dims[0])}


def _scale_shift(node: Node, ins: Sequence[Type], out: Type) -> Shapes:
    return {"weight": out.dims, "bias": out.dims}


def _scale(node: Node, ins: Sequence[Type], out: Type) -> Shapes:
    return {"weight": out.dims}


def _channel_scale_shift(node: Node, ins: Sequence[Type], out: Type) -> Shapes:
    return {"weight": out.dims[:1], "bias": out.dims[:1]}


def _weight(node: Node, ins: Sequence[Type], out: Type) -> Shapes:
    return {"value": out.dims}


WITHOUT = (
    *("input constant positions logmel cmvn delay ahead window stride upsample lattice").split(),
    *("dropout present glu softmax log_softmax slice concat stack flatten unfold collect").split(),
    *("last first mean max append attend switch").split(),
    *UNARY,
    *BINARY,
)

RULES: dict[str, Rule] = {
    **dict.fromkeys(WITHOUT, _none),
    "weight": _weight,
    "dense": _dense,
    "convf": _convf,
    "depthwise": _depthwise,
    "embed": _embed,
    "layernorm": _scale_shift,
    "rmsnorm": _scale,
    "batchnorm": _channel_scale_shift,
}

LEARNED = frozenset(RULES) - frozenset(WITHOUT)
"""Operators with parameters."""


def buffers(node: Node, out: Type) -> Shapes:
    """What comes with the weights but is not learned by gradient: statistics, ranges, scales."""
    return {**_statistics(node, out), **quantisers(node, out)}


def _statistics(node: Node, out: Type) -> Shapes:
    if node.owner is not None:
        return {}
    if node.op == "cmvn":
        return {"mean": out.dims, "deviation": out.dims}
    if node.op == "batchnorm":
        return {"mean": out.dims[:1], "variance": out.dims[:1]}
    return {}


def infer_params(graph: Graph, types: Mapping[str, Type]) -> Mapping[str, Shapes]:
    """Value -> the parameters it owns. A shared instance's parameters count at its owner only."""
    found: dict[str, Shapes] = {}
    for node in graph:
        ins = [types[p] for p in node.inputs]
        shapes = RULES[node.op](node, ins, types[node.path])
        if shapes and node.owner is None:
            found[node.path] = shapes
    return found


def count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many numbers parameters of these shapes hold."""
    return sum(prod(shape) for shape in shapes.values())
