"""Ranges of values, from what a float model does on real audio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import cast

import numpy as np

from ...compiler.facts import Facts
from ...compiler.graph import Graph, Node
from ...compiler.reference import Value, evaluate
from .formats import Code, Range, positive, range_of, symmetric
from .program import Array


def ranges_of(
    facts: Facts, weights: Mapping[str, Array], utterances: Iterable[Mapping[str, Array]]
) -> dict[str, Range]:
    """The range of every value, and of what is within a layer norm, over some utterances.

    `utterances` are inputs of the graph by path, as `compiler.reference.evaluate` takes them.
    """
    found: dict[str, Range] = {}
    for inputs in utterances:
        values = evaluate(facts.graph, weights, inputs, types=facts.types, dtype=np.float32)
        for path, seen in _seen(facts.graph, weights, values):
            if seen.size:
                new = range_of(seen)
                found[path] = new.joined(found[path]) if path in found else new
    return found


def _seen(
    graph: Graph, weights: Mapping[str, Array], values: Mapping[str, Value]
) -> Iterator[tuple[str, Array]]:
    for path, value in values.items():
        if np.issubdtype(value.data.dtype, np.floating):
            yield path, value.data[value.present]
        if graph[path].op == "layernorm":
            (source,) = graph[path].inputs
            yield from _of_norm(graph[path], weights, values[source])


def _of_norm(
    node: Node, weights: Mapping[str, Array], source: Value
) -> Iterator[tuple[str, Array]]:
    x, eps = source.data[source.present], float(cast("Fraction", node.attrs["eps"]))
    weight, bias = (weights[f"{node.owner or node.path}.{name}"] for name in ("weight", "bias"))
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    root = 1 / np.sqrt(variance + eps)
    yield f"{node.path}.square", centred**2
    yield f"{node.path}.variance", variance
    yield f"{node.path}.root", root
    yield f"{node.path}.unit", centred * root
    yield f"{node.path}.scaled", centred * root * weight
    yield f"{node.path}.scaled", centred * root * weight + bias


def of_norms(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Code]:
    """Formats of what is within layer norms."""
    made = {"square": symmetric, "variance": positive, "root": positive, "unit": symmetric}
    made["scaled"] = symmetric
    return {
        f"{node.path}.{name}": code(ranges[f"{node.path}.{name}"])
        for node in graph
        if node.op == "layernorm" and f"{node.path}.square" in ranges
        for name, code in made.items()
    }
