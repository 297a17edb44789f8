"""In which order values are computed, and which of them step by step together.

A recurrence is a loop along one axis. What stands in it and is recurrent along a further inner
axis (a frequency LSTM inside a time LSTM) is a loop in its body.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import networkx as nx

from ..facts.gates import Gates
from ..graph import Graph, is_shift
from ..types import Clock, Type
from .value import index_rank


@dataclass(frozen=True)
class Loop:
    """`members` in step along the innermost axis of `clock`; `shifts` carry values over."""

    members: frozenset[str]
    outside: frozenset[str]
    clock: Clock
    shifts: tuple[str, ...]
    body: Plan
    backwards: bool

    @property
    def axis(self) -> int:
        return index_rank(self.clock) - 1


Plan = tuple[str | Loop, ...]


@dataclass(frozen=True)
class Planner:
    """`needs` are the inputs and flags of every value."""

    graph: Graph
    types: Mapping[str, Type]
    needs: Mapping[str, frozenset[str]]

    def plan(self, paths: Iterable[str], ready: frozenset[str] = frozenset()) -> Plan:
        """An order of `paths`, where what `ready` holds is known beforehand."""
        chosen = frozenset(paths)
        network: nx.DiGraph[str] = nx.DiGraph()
        network.add_nodes_from(p for p in self.graph.nodes if p in chosen)
        network.add_edges_from((s, p) for p in chosen for s in self.needs[p] & chosen)
        groups = nx.condensation(network)
        rank = {path: n for n, path in enumerate(network)}
        first = {g: min(rank[p] for p in groups.nodes[g]["members"]) for g in groups}
        order = nx.lexicographical_topological_sort(groups, key=first.__getitem__)
        return tuple(self._entry(network, frozenset(groups.nodes[g]["members"])) for g in order)

    def _entry(self, network: nx.DiGraph[str], members: frozenset[str]) -> str | Loop:
        first = next(iter(members))
        if len(members) == 1 and not network.has_edge(first, first):
            return first
        return self._loop(members)

    def _loop(self, members: frozenset[str]) -> Loop:
        """A loop along the outermost axis that one of its shifts runs along."""
        carriers = [p for p in self.graph.nodes if p in members and is_shift(self.graph[p])]
        if not carriers:
            raise ValueError(f"a cycle without a shift: {', '.join(sorted(members))}")
        clock = min((self.types[p].clock for p in carriers), key=index_rank)
        shifts = tuple(p for p in carriers if self.types[p].clock == clock)
        return Loop(
            members,
            frozenset(s for p in members for s in self.needs[p]) - members,
            clock,
            shifts,
            self.plan(members.difference(shifts)),
            any(self.graph[p].op == "ahead" for p in shifts),
        )


def make_plan(graph: Graph, types: Mapping[str, Type], gates: Gates) -> Plan:
    """The plan of a whole graph; a flag comes before what it gates."""
    needs = {
        node.path: frozenset(node.inputs) | {g.flag for g in gates.get(node.path, ())}
        for node in graph
    }
    return Planner(graph, types, needs).plan(graph.nodes)
