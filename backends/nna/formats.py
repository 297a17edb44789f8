"""Formats: how many bits a value has, and what one step of its codes is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ...compiler.facts.numbers import FIXED, MOVED
from ...compiler.graph import Graph, Node
from ...compiler.placement import readers
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
    return reaching(max(abs(seen.low), abs(seen.high)), dtype)


def reaching(most: float, dtype: str = "int16") -> Code:
    """From `-most` to `most`."""
    return Code(dtype, float(np.float32(max(most, 1e-6) / LIMITS[dtype][1])))


def positive(seen: Range) -> Code:
    """int8 from zero on."""
    return Code("int8", float(np.float32(max(seen.high, 1e-6) / 255)), -128)


def choose(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Code]:
    """The codes of every value that a pass gave a number format, by the range of each."""
    noted = (node.path for node in graph if "number" in node.attrs)
    return {path: code_of(graph, path, ranges.__getitem__) for path in noted}


def code_of(graph: Graph, path: str, range_of: Callable[[str], Range]) -> Code:
    """The codes of a value; what only moves numbers has those of its input."""
    node = graph[path]
    while node.op in MOVED:
        node = graph[node.inputs[0]]
    return _FIXED[node.op] if node.op in FIXED else _code(graph, node, range_of(node.path))


_FIXED = {kind: Code("int8", scale, zero) for kind, (_, scale, zero) in FUNCTIONS.items()}


def _code(graph: Graph, node: Node, seen: Range) -> Code:
    if node.attrs["number"] == "int16":
        return symmetric(seen)
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


_WITHIN = {
    "square": symmetric,
    "variance": positive,
    "root": positive,
    "unit": symmetric,
    "scaled": symmetric,
}


def within_norm(range_of: Callable[[str], Range]) -> dict[str, Code]:
    """The codes of what is within a layer norm, by the range of each."""
    return {name: code(range_of(name)) for name, code in _WITHIN.items()}


def within_norms(graph: Graph, weights: Mapping[str, Array]) -> dict[str, Code]:
    """Those of all layer norms, by the ranges beside the weights."""
    found: dict[str, Code] = {}
    for path in (node.path for node in graph if f"{node.path}.square" in weights):
        ranges = {name: Range(*map(float, weights[f"{path}.{name}"])) for name in _WITHIN}
        codes = within_norm(ranges.__getitem__)
        found |= {f"{path}.{name}": code for name, code in codes.items()}
    return found
