"""Duty: what runs only some of the time, and what that does to the cost.

A branch of a switch runs only while its flag says so. A value belongs to a branch when every
way from it to an output leads through that branch: the dominator tree of the reversed graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import networkx as nx

from ..graph import Graph
from .macs import Cost

_END = ""


@dataclass(frozen=True, slots=True)
class Range:
    """The cost when every switch takes its cheaper, and its dearer, branch."""

    best: Cost
    worst: Cost


def branch_values(graph: Graph) -> Mapping[str, tuple[frozenset[str], frozenset[str]]]:
    """For each switch the values that only its first, and only its second, branch needs."""
    if not _switches(graph):
        return {}
    tree = _dominator_tree(graph)
    return {
        path: (_below(tree, _door(path, 1)), _below(tree, _door(path, 2)))
        for path in _switches(graph)
    }


def cost_range(graph: Graph, costs: Mapping[str, Cost]) -> Range:
    """Total cost between the cheapest and the dearest choice of branches."""
    if not _switches(graph):
        everything = sum(costs.values(), Cost())
        return Range(everything, everything)
    tree = _dominator_tree(graph)
    switches = _switches(graph)
    return Range(
        _subtree(tree, costs, switches, Cost.better), _subtree(tree, costs, switches, Cost.worse)
    )


def _switches(graph: Graph) -> list[str]:
    return [node.path for node in graph if node.op == "switch"]


def _door(switch: str, slot: int) -> str:
    """A stand-in value on the edge from a branch into its switch."""
    return f"{switch}#{slot}"


def _dominator_tree(graph: Graph) -> nx.DiGraph[str]:
    """Each value below the one that all its ways to an output lead through."""
    backwards: nx.DiGraph[str] = nx.DiGraph()
    backwards.add_node(_END)
    backwards.add_edges_from((_END, root) for root in {*graph.outputs.values()})
    for node in graph:
        for slot, source in enumerate(node.inputs):
            if node.op == "switch" and slot:
                door = _door(node.path, slot)
                backwards.add_edges_from([(node.path, door), (door, source)])
            else:
                backwards.add_edge(node.path, source)
    parents = nx.immediate_dominators(backwards, _END)
    return nx.DiGraph((p, c) for c, p in parents.items() if c != _END and p is not None)


def _below(tree: nx.DiGraph[str], top: str) -> frozenset[str]:
    return frozenset(nx.descendants(tree, top)) if top in tree else frozenset()


def _subtree(
    tree: nx.DiGraph[str],
    costs: Mapping[str, Cost],
    switches: list[str],
    pick: Callable[[Cost, Cost], Cost],
) -> Cost:
    """Costs summed up the tree; at a switch the two branches are alternatives."""
    done: dict[str, Cost] = {}
    for path in nx.dfs_postorder_nodes(tree, _END):
        below = {child: done[child] for child in tree.successors(path)}
        choice = Cost()
        if path in switches:
            doors = [below.pop(_door(path, slot), Cost()) for slot in (1, 2)]
            choice = pick(*doors)
        done[path] = sum(below.values(), costs.get(path, Cost()) + choice)
    return done[_END]
