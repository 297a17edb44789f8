"""Rows whose weights are next to nothing beside their bias: pruned ones, units that died.

A bias is added at the scale of its row's products. Where that scale is next to nothing, the bias is
beyond 32 bits: such a row gets a larger one, at which its weights are code 0 or nearly so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np

from ...compiler.facts.numbers import MOVED
from ...compiler.graph import Graph, Node
from .cells import GRID
from .formats import Code, Range, code_of, common, reaching
from .program import LIMITS, Array

BITS = 27
"""Of a bias at a scale that was raised for it; training may make it 16 times as large."""


def raised(graph: Graph, weights: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Scales by name, of filters with rows whose bias and products might overflow 32 bits; all
    other rows keep theirs. `weights` have ranges, scales and biases."""
    for node in graph:
        name = f"{node.path}.scale"
        if name not in weights or f"{node.path}.bias" not in weights:
            continue
        sharing = [one for one in graph if node.path in (one.path, one.owner)]
        found = [scale for one in sharing if (scale := _of_input(graph, one, weights))]
        if found:
            weight, bias = (weights[f"{node.path}.{n}"] for n in ("weight", "bias"))
            made = _scales(weight, bias, weights[name], min(found))
            if not np.array_equal(made, weights[name]):
                yield name, made


def _scales(weight: Array, bias: Array, scales: Array, of_input: float) -> Array:
    """Those of rows, or the one of all, by the scale of the input."""
    one = np.abs(bias.reshape(len(scales), -1).astype(np.float64)).max(1) / of_input
    products = weight[0].size * GRID * _FURTHEST
    over = one / scales.astype(np.float64) + products >= 1 << 31
    return np.where(over, (one / (1 << BITS)).astype(np.float32), scales)


_FURTHEST = 255
"""Codes of an input are at most so far from its zero."""


def _of_input(graph: Graph, node: Node, weights: Mapping[str, Array]) -> float | None:
    """The scale at which a filter reads, if its inputs have a format."""
    codes = [_code(graph, path, weights) for path in node.inputs]
    return None if None in codes else common(cast("Sequence[Code]", codes)).scale


def _code(graph: Graph, path: str, weights: Mapping[str, Array]) -> Code | None:
    """As a filter reads it, in int8."""
    node = graph[path]
    while node.op in MOVED:
        node = graph[node.inputs[0]]
    if "number" not in node.attrs:
        return None
    code = code_of(graph, path, lambda one: Range(*map(float, weights[f"{one}.range"])))
    return code if code.dtype == "int8" else reaching(code.scale * LIMITS[code.dtype][1], "int8")
