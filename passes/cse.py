"""Common subexpressions: equal values are computed once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import ClassVar

from ..compiler.facts import Facts
from ..compiler.facts.gates import Gates, infer_gates
from ..compiler.facts.params import LEARNED
from ..compiler.graph import Graph, Node
from ..compiler.protocol import Weights

_APART = frozenset({"input", "dropout", "cmvn", "positions"})
"""Two inputs differ, so do two draws, each cmvn has statistics of its own, and how many relative
positions there are follows from the one attention that reads them."""


@dataclass(frozen=True)
class Cse:
    """Merges values with one operator, options, inputs and parameters; the first one stays.

    Left alone are values in recurrences, values that different flags switch off, and flags: one
    flag in the place of two could switch off what both of them read.
    """

    name: ClassVar[str] = "cse"
    keeps: ClassVar[frozenset[str]] = frozenset(
        {"lookahead", "rate", "shapes", "parameters", "numerics"}
    )

    def run(self, graph: Graph, weights: Weights | None) -> tuple[Graph, Weights | None]:
        types = Facts(graph).types
        flags = frozenset(path for path, kind in types.items() if kind.elem == "flag")
        moved = _merged(graph, infer_gates(graph, types), flags.union(*graph.cycles))
        if not moved:
            return graph, weights
        return graph.rewrite((n for n in graph if n.path not in moved), moved), weights


def _merged(graph: Graph, gates: Gates, apart: frozenset[str]) -> dict[str, str]:
    """Value -> the equal one that takes its place."""
    owners = {node.owner for node in graph}
    seen: dict[Hashable, str] = {}
    moved: dict[str, str] = {}
    for path in graph.order:
        node = graph[path]
        if node.op in _APART or path in apart:
            continue
        inputs = tuple(_survivor(moved, source) for source in node.inputs)
        key = (_key(replace(node, inputs=inputs)), gates.get(path))
        first = seen.setdefault(key, path)
        if first != path:
            gone, stays = (first, path) if path in owners else (path, first)
            seen[key], moved[gone] = stays, stays
    return moved


def _survivor(moved: dict[str, str], path: str) -> str:
    while path in moved:
        path = moved[path]
    return path


def _key(node: Node) -> Hashable:
    owner = (node.owner or node.path) if node.op in LEARNED else None
    return node.op, tuple(sorted(node.attrs.items())), node.inputs, owner
