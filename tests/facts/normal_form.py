"""Look-ahead as max-plus terms: the normal form of the design study, a third implementation.

A frame that ends at time `T` waits for the audio up to the latest of its terms,
`ceil_K(T + ahead) + fixed`, where `ceil_K` rounds up to a whole chunk once there is a barrier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import cast

from asrc.compiler.graph import Graph, Node
from asrc.compiler.types import Type, frame_period
from asrc.compiler.units import Quantity

from .networks import common


@dataclass(frozen=True)
class Term:
    barrier: bool
    ahead: Fraction
    fixed: Fraction

    def dominates(self, other: Term) -> bool:
        same = self.barrier == other.barrier
        return same and self.ahead >= other.ahead and self.fixed >= other.fixed

    def shifted(self, by: Fraction) -> Term:
        return replace(self, ahead=self.ahead + by)

    def behind_chunk(self, chunk: Fraction) -> Term:
        ahead = ceil(self.ahead / chunk) * chunk if self.barrier else self.ahead
        return Term(True, Fraction(0), self.fixed + ahead)

    def worst(self, period: Fraction, chunk: Fraction) -> Fraction:
        """The longest wait beyond the end of a frame, over all places of the frame in a chunk."""
        if not self.barrier:
            return self.ahead + self.fixed
        grid = 1 / common([1 / period, 1 / chunk])  # where frames end, relative to chunks
        return chunk - (self.ahead % grid or grid) + self.ahead + self.fixed


Terms = frozenset[Term]
START = frozenset({Term(False, Fraction(0), Fraction(0))})


def chunks(graph: Graph) -> set[Fraction]:
    found = (node.attrs.get("chunk") for node in graph)
    return {chunk.value for chunk in found if isinstance(chunk, Quantity)}


def is_covered(graph: Graph) -> bool:
    """One chunk size, no up-sampling, no window that a chunk clips, nothing unbounded."""

    def foreign(node: Node) -> bool:
        whole = node.op in ("mean", "upsample") or node.attrs.get("mask") == "full"
        return whole or (node.op == "window" and bool(node.attrs["in_chunk"]))

    attends = not any(foreign(node) for node in graph)
    return attends and len(chunks(graph)) <= 1


def lookaheads(graph: Graph, types: dict[str, Type]) -> dict[str, Fraction]:
    """Worst-case look-ahead of every stream, in seconds."""
    chunk = next(iter(chunks(graph)), Fraction(1))
    terms: dict[str, Terms] = {path: frozenset() for path in graph.nodes}
    before: dict[str, Terms] = {}
    while terms != before:
        before = dict(terms)
        for path in graph.order:
            terms[path] = _terms(graph[path], terms, types, chunk)
    return {
        path: max(Fraction(0), *(term.worst(period, chunk) for term in found))
        for path, found in terms.items()
        if found and (period := frame_period(types[path].clock))
    }


def _terms(node: Node, terms: dict[str, Terms], types: dict[str, Type], chunk: Fraction) -> Terms:
    if node.op == "input":
        return START
    joined = {
        _step(node, slot, term, types, chunk)
        for slot, source in enumerate(node.inputs)
        for term in terms[source]
    }
    return frozenset(t for t in joined if not any(o != t and o.dominates(t) for o in joined))


def _step(node: Node, slot: int, term: Term, types: dict[str, Type], chunk: Fraction) -> Term:
    if node.op == "attend" and slot in (1, 2) and node.attrs["mask"] == "chunk":
        return term.behind_chunk(chunk)
    return term.shifted(_ahead(node, slot, types))


def _ahead(node: Node, slot: int, types: dict[str, Type]) -> Fraction:
    """Seconds by which the last frame that a frame reads of an input lies after it."""
    attrs = node.attrs
    period = frame_period(types[node.path].clock) or Fraction(0)
    match node.op:
        case "logmel":
            window, hop = (cast(Quantity, attrs[name]).value for name in ("window", "hop"))
            return window - hop
        case "delay":
            return -cast(int, attrs["frames"]) * period
        case "ahead":
            return cast(int, attrs["frames"]) * period
        case "window":
            return cast(int, attrs["future"]) * cast(int, attrs["by"]) * period
        case "attend" if slot in (1, 2) and attrs["mask"] == "limited":
            right = attrs["right"]
            return right.value if isinstance(right, Quantity) else cast(int, right or 0) * period
    return Fraction(0)
