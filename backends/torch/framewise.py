"""Operators that make a frame from that one frame of each input: one row each."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx
from torch.nn import functional

from ...compiler.facts.numbers import MOVED, SOURCES
from ...compiler.graph import Node
from ...compiler.reference.value import frame_shape
from ...compiler.types import Type
from . import frame, frames
from .emit import Emitter, Row, Site
from .integers.leaves import is_rounded


def _unary(function: Callable[..., Any]) -> Row:
    return lambda site: site.call(function, site.x)


def _guarded(function: Callable[..., Any], harmless: float) -> Row:
    """Of functions whose value or slope is infinite somewhere: absent frames read as harmless."""
    return lambda site: site.call(function, _safe(site, site.x, harmless))


def _safe(site: Site, x: fx.Node, harmless: float) -> fx.Node:
    mask = site.presence()
    return x if mask is None else site.call(frame.safe, x, mask, harmless)


def _binary(function: Callable[..., Any]) -> Row:
    return lambda site: site.call(function, _operand(site, 0), _operand(site, 1))


def _operand(site: Site, slot: int) -> fx.Node | float:
    """A number that is written in the model stays one in the code."""
    node = site.emitter.model.graph[site.node.inputs[slot]]
    other = site.emitter.model.graph[site.node.inputs[1 - slot]]
    if node.op == "constant" and other.op != "constant":
        return float(node.attrs["value"])  # type: ignore[arg-type]
    return _widened(site, slot)


def _div(site: Site) -> fx.Node:
    below = _operand(site, 1)
    if isinstance(below, fx.Node):
        below = _safe(site, below, 1.0)
    return site.call(operator.truediv, _operand(site, 0), below)


def _widened(site: Site, slot: int) -> fx.Node:
    """One number meets all; `[C]` meets `[C, F]` and `[C; k]` channel by channel."""
    kind, x = site.kinds[slot], site.ins[slot]
    wide, own = len(frame_shape(site.out)), len(frame_shape(kind))
    for _ in range(own, wide):
        x = site.method("unsqueeze", x, -1)
    return x


def _flat(site: Site, x: fx.Node, kind: Type) -> fx.Node:
    """A frame as one row."""
    return x if len(frame_shape(kind)) == 1 else site.method("flatten", x, site.first)


def _dense(site: Site) -> fx.Node:
    rows = [_flat(site, x, kind) for x, kind in zip(site.ins, site.kinds, strict=True)]
    if len({kind.clock for kind in site.kinds}) > 1 and len(rows) > 1:
        rows = [site.call(frame.joined, tuple(rows), -1)]
    return site.leaf(*rows)


def _convf(site: Site) -> fx.Node:
    x = site.x
    if site.kind.taps is None:
        x = site.method("unsqueeze", x, -1)
    if len(site.kind.dims) == 1:
        x = site.method("unsqueeze", x, -3)
    return site.leaf(x)


def _depthwise(site: Site) -> fx.Node:
    x = site.x if site.kind.taps is not None else site.method("unsqueeze", site.x, -1)
    return site.leaf(x)


def _glu(site: Site) -> fx.Node:
    return site.call(functional.glu, site.x, site.first - _rank(site))


def _rank(site: Site) -> int:
    """All axes of the first input."""
    return site.first + len(frame_shape(site.kind))


def _softmax(plain: Callable[..., Any], whole: Callable[..., Any]) -> Row:
    def row(site: Site) -> fx.Node:
        dims, taps = len(site.kind.dims), site.kind.taps is not None
        if dims == 1:
            return site.call(plain, site.x, -2 if taps else -1)
        return site.call(whole, site.x, site.first, dims)

    return row


def _batchnorm(site: Site) -> fx.Node:
    mask = site.presence()
    there = site.call(frames.all_there, site.x, site.first) if mask is None else mask
    return site.leaf(site.x, there)


def _slice(site: Site) -> fx.Node:
    size = site.kind.dims[0] // site.int("parts")
    x = site.method("narrow", site.x, site.first - _rank(site), size * site.int("index"), size)
    if frame_shape(site.out) == (size, *frame_shape(site.kind)[1:]):
        return x
    return site.method("squeeze", x, site.first - _rank(site))


def _beside(function: Callable[..., Any]) -> Row:
    return lambda site: site.call(function, site.ins, site.first)


def _switch(site: Site) -> fx.Node:
    return site.call(frame.chosen, *site.ins)


ROWS: Mapping[str, Row] = {
    "weight": lambda site: site.leaf(),
    "constant": lambda site: site.leaf(),
    "sigmoid": _unary(torch.sigmoid),
    "tanh": _unary(torch.tanh),
    "relu": _unary(torch.relu),
    "swish": _unary(functional.silu),
    "gelu": _unary(functional.gelu),
    "softplus": _unary(functional.softplus),
    "abs": _unary(torch.abs),
    "exp": _guarded(torch.exp, 0.0),
    "log": _guarded(torch.log, 1.0),
    "sqrt": _guarded(torch.sqrt, 1.0),
    "add": _binary(operator.add),
    "sub": _binary(operator.sub),
    "mul": _binary(operator.mul),
    "div": _div,
    "dropout": lambda site: site.leaf(site.x),
    "present": lambda site: site.call(frame.ones, site.x, site.first),
    "dense": _dense,
    "convf": _convf,
    "depthwise": _depthwise,
    "embed": lambda site: site.leaf(site.x),
    "cmvn": lambda site: site.leaf(site.x),
    "layernorm": lambda site: site.leaf(site.x),
    "rmsnorm": lambda site: site.leaf(site.x),
    "batchnorm": _batchnorm,
    "glu": _glu,
    "softmax": _softmax(functional.softmax, frame.softmax),
    "log_softmax": _softmax(functional.log_softmax, frame.log_softmax),
    "slice": _slice,
    "concat": _beside(frame.joined),
    "stack": _beside(frame.stacked),
    "flatten": lambda site: _flat(site, site.x, site.kind),
    "switch": _switch,
    "lattice": lambda site: site.x,
}


def emitted(site: Site) -> fx.Node:
    """A value by its row, or as the accelerator computes it, or rounded to its format."""
    node, leaves = site.node, site.emitter.model.leaves
    if "on" in node.attrs and node.op not in MOVED | SOURCES:
        module = leaves.integer(node)
        return site.emitter.module(
            f"_nna.{node.path}", module, *site.ins, first=site.first, hint=node.path
        )
    return rounded_if(site.emitter, node, ROWS[node.op](site))


def integer_attention(site: Site, *given: fx.Node) -> fx.Node:
    """Queries, keys, values, who sees whom; then relative positions."""
    module = site.emitter.model.leaves.attention(site.node)
    return site.emitter.module(f"_nna.{site.node.path}", module, *given, hint=site.node.path)


def rounded_if(emitter: Emitter, node: Node, x: fx.Node) -> fx.Node:
    """A value at the numbers of its format, if it has one that is not its operator's."""
    if not is_rounded(node):
        return x
    module = emitter.model.leaves.rounding(node)
    return emitter.module(f"_rounded.{node.path}", module, x, hint=node.path)
