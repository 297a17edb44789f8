"""Formats: how many bits a value has, and what one step of its codes is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, sqrt
from typing import cast

import numpy as np

from ...compiler.facts.numbers import FIXED, MOVED, inner_ranges
from ...compiler.graph import Graph, Node
from ...compiler.placement import readers
from ...compiler.types import Type
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


def common(codes: Sequence[Code]) -> Code:
    """int8 codes for values of several: the coarsest of them, if it holds all the others hold to a
    step of its own, else one that does."""
    coarsest = max(codes, key=lambda code: code.scale)
    mine, whole = held(coarsest), held(codes[0])
    for code in codes[1:]:
        whole = whole.joined(held(code))
    step = coarsest.scale
    fits = whole.low >= mine.low - step and whole.high <= mine.high + step
    return coarsest if fits else asymmetric(whole)


def held(code: Code) -> Range:
    """The lowest and the highest number that has a code."""
    low, high = LIMITS[code.dtype]
    return Range(code.scale * (low - code.zero), code.scale * (high - code.zero))


def symmetric(seen: Range, dtype: str = "int16") -> Code:
    """Zero is code zero."""
    return reaching(max(abs(seen.low), abs(seen.high)), dtype)


def reaching(most: float, dtype: str = "int16") -> Code:
    """From `-most` to `most`."""
    return Code(dtype, float(np.float32(max(most, 1e-6) / LIMITS[dtype][1])))


PROBABILITY = Code("int8", 1 / 256, -128)
"""Of what a softmax gives."""

GAP = 14.0
"""Nats below the largest at which the exponential adds nothing to a sum in fixed point."""

DEPTH = 6.0
"""Nats below the lowest of all queries' largest scores down to which scores are told apart."""


def scores_code(tops: Range, beta: float) -> Code:
    """int8 from the highest score of an attention down to `GAP` below the deepest that counts.

    `tops` are the lowest and the highest of what is the largest score of a query; `beta` is what
    the softmax multiplies them with.
    """
    return asymmetric(Range(tops.low - (DEPTH + GAP) / beta, tops.high))


def floor_of(code: Code, beta: float) -> int:
    """The lowest code of a score that may be seen."""
    return min(-128 + ceil(GAP / (beta * code.scale)), 127)


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
    if node.op == "constant":
        return reaching(abs(float(cast("Fraction", node.attrs["value"]))), "int8")
    return _FIXED[node.op] if node.op in FIXED else _code(graph, node, range_of(node.path))


_FIXED = {kind: Code("int8", scale, zero) for kind, (_, scale, zero) in FUNCTIONS.items()}
_FIXED["positions"] = Code("int8", float(np.float32(1 / 127)))


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


def within_attention(node: Node, width: int, range_of: Callable[[str], Range]) -> dict[str, Code]:
    """The codes of what is within an attention of `width` features."""
    parts = ("content", "position")[: len(node.inputs) // 2]
    codes = {name: asymmetric(range_of(name)) for name in parts}
    return codes | {"scores": scores_code(range_of("tops"), beta_of(node, width))}


def beta_of(node: Node, width: int) -> float:
    """What scores are multiplied with: one over the root of a head's features."""
    return 1 / sqrt(width // int(str(node.attrs["heads"])))


def within(
    graph: Graph, types: Mapping[str, Type], weights: Mapping[str, Array]
) -> dict[str, Code]:
    """The codes of what is within layer norms and attentions, by the ranges beside the weights."""
    found: dict[str, Code] = {}
    for node in graph:
        names = inner_ranges(node)
        ranges = {name: Range(*map(float, weights[f"{node.path}.{name}"])) for name in names}
        if names:
            codes = within_one(node, types[node.path].size, ranges.__getitem__)
            found |= {f"{node.path}.{name}": code for name, code in codes.items()}
    return found


def within_one(node: Node, width: int, range_of: Callable[[str], Range]) -> dict[str, Code]:
    """Of one layer norm or attention."""
    if node.op == "layernorm":
        return within_norm(range_of)
    return within_attention(node, width, range_of) if node.op == "attend" else {}
