"""Dead code: values that no output and no loss needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ..compiler.graph import Graph, Scope
from ..compiler.protocol import Weights


@dataclass(frozen=True)
class Dce:
    """Drops unused values with their names and scopes, and their parameters.

    Inputs stay, for they are the model's interface; so does a value whose parameters others use.
    """

    name: ClassVar[str] = "dce"
    keeps: ClassVar[frozenset[str]] = frozenset(
        {"lookahead", "rate", "shapes", "state", "numerics"}
    )

    def run(self, graph: Graph, weights: Weights | None) -> tuple[Graph, Weights | None]:
        live = _live(graph)
        if len(live) == len(graph):
            return graph, weights
        left = graph.rewrite(node for node in graph if node.path in live)
        dropped = graph.nodes.keys() - live
        return replace(left, scopes=_scopes(graph.scopes, dropped, live)), _kept(weights, dropped)


def _live(graph: Graph) -> set[str]:
    roots = {*graph.outputs.values(), *graph.losses.values()}
    live = graph.ancestors([*roots, *(node.path for node in graph if node.op == "input")])
    while owners := {graph[p].owner for p in live} - live - {None}:
        live |= graph.ancestors(p for p in owners if p is not None)
    return live


def _scopes(
    scopes: Mapping[str, Scope], dropped: Iterable[str], live: Iterable[str]
) -> dict[str, Scope]:
    """Without those that lost everything they held."""
    emptied = _enclosing(dropped) - _enclosing(live)
    return {path: scope for path, scope in scopes.items() if path not in emptied}


def _enclosing(paths: Iterable[str]) -> set[str]:
    """Every dotted prefix of every path."""
    found: set[str] = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = path.rpartition(".")[0]
    return found


def _kept(weights: Weights | None, dropped: Collection[str]) -> Weights | None:
    if weights is None:
        return None
    return {name: w for name, w in weights.items() if name.rpartition(".")[0] not in dropped}
