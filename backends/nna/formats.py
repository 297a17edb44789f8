"""Formats: how many bits a value has, and what one step of its codes is worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ...compiler.graph import Graph, Node
from .program import LIMITS, Array
from .recipes import FUNCTIONS


@dataclass(frozen=True, slots=True)
class Code:
    """`scale * (code - zero)` for each code of `dtype`."""

    dtype: str
    scale: float
    zero: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """The smallest and the largest that was seen."""

    low: float
    high: float

    def joined(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))


def range_of(values: Array) -> Range:
    return Range(float(values.min()), float(values.max()))


def asymmetric(seen: Range) -> Code:
    """int8 from the smallest to the largest, zero among them exactly."""
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    scale = float(np.float32(max(high - low, 1e-6) / 255))
    return Code("int8", scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def symmetric(seen: Range, dtype: str = "int16") -> Code:
    """Zero is code zero."""
    most = max(abs(seen.low), abs(seen.high), 1e-6)
    return Code(dtype, float(np.float32(most / LIMITS[dtype][1])))


def positive(seen: Range) -> Code:
    """int8 from zero on."""
    return Code("int8", float(np.float32(max(seen.high, 1e-6) / 255)), -128)


VIEWS = frozenset({"window", "stride", "delay", "ahead", "upsample", "dropout", "lattice"})
"""Operators that only say which frames of their input are meant."""

_SAME = VIEWS | {"flatten", "slice"}
"""What has the format of its input."""


def choose(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Code]:
    """A format for every value that has a range."""
    wide = _accumulators(graph)
    found = {
        node.path: _format(graph, node, ranges[node.path], wide)
        for node in graph
        if node.op not in _SAME and node.path in ranges
    }
    for _ in range(len(graph.nodes)):
        left = [n for n in graph if n.path not in found and n.inputs and n.inputs[0] in found]
        if not left:
            break
        found |= {n.path: found[n.inputs[0]] for n in left}
    return found


def _format(graph: Graph, node: Node, seen: Range, wide: frozenset[str]) -> Code:
    if node.path in wide:
        return symmetric(seen)
    if node.op in FUNCTIONS:
        _, scale, zero = FUNCTIONS[node.op]
        return Code("int8", scale, zero)
    if _only_squashed(graph, node):
        seen = Range(max(seen.low, -SQUASHED), min(seen.high, SQUASHED))
    if node.op == "relu" or _only_rectified(graph, node):
        return positive(seen)
    return asymmetric(seen)


SQUASHED = 8.0
"""Beyond, sigmoid and tanh are 0.0003 from where they end: codes may saturate there."""


def _only_squashed(graph: Graph, node: Node) -> bool:
    """Whether sigmoids and tanhs alone read a value, or its slices."""
    inner = [r for reader in readers(graph, node.path) for r in _sliced(graph, reader)]
    return bool(inner) and all(reader.op in FUNCTIONS for reader in inner)


def _sliced(graph: Graph, reader: Node) -> Iterable[Node]:
    return readers(graph, reader.path) if reader.op == "slice" else [reader]


def _only_rectified(graph: Graph, node: Node) -> bool:
    """Whether all that is below zero is of no interest: saturation rectifies."""
    found = list(readers(graph, node.path))
    return bool(found) and all(reader.op == "relu" for reader in found)


def _accumulators(graph: Graph) -> frozenset[str]:
    """Recurrent values that enter no sum of products, and what is added up to them."""
    shifts = graph.cycle_shifts
    states = {
        graph[shift].inputs[0]
        for shift in shifts
        if not any(reader.op == "dense" for reader in readers(graph, shift))
    }
    summands = {
        path
        for state in states
        for path in graph[state].inputs
        if graph[path].op == "mul" and {r.path for r in readers(graph, path)} == {state}
    }
    return frozenset(states | summands)


def readers(graph: Graph, path: str) -> Iterable[Node]:
    """Who reads a value, views looked through."""
    for node in graph:
        if path in node.inputs:
            if node.op in VIEWS and node.path not in graph.cycle_shifts:
                yield from readers(graph, node.path)
            else:
                yield node
