"""Gates: which flags decide, frame by frame, whether a value runs at all.

A value runs only when somebody needs it: when every use of it is in a branch of a switch on the
same flag, frames on which the flag says otherwise are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..graph import Graph, Node
from ..types import Type, encloses


@dataclass(frozen=True, slots=True)
class Gate:
    """The value runs only on frames where `flag` is up, or with `up=False` where it is down."""

    flag: str
    up: bool


Gates = Mapping[str, frozenset[Gate]]


def infer_gates(graph: Graph, types: Mapping[str, Type]) -> Gates:
    """The gates of every value that has some.

    A flag says nothing about values that tick faster than it (the samples before a strided
    branch): those always run.
    """
    if not any(node.op == "switch" for node in graph):
        return {}
    found = {path: _telling(gates, types, path) for path, gates in _needed(graph).items()}
    return {path: gates for path, gates in found.items() if gates}


def _telling(gates: frozenset[Gate], types: Mapping[str, Type], path: str) -> frozenset[Gate]:
    return frozenset(g for g in gates if encloses(types[g.flag].clock, types[path].clock))


def _needed(graph: Graph) -> dict[str, frozenset[Gate]]:
    """The gates that all uses of a value have in common; values without any use are left out."""
    roots = (*graph.outputs.values(), *graph.losses.values())
    found: dict[str, frozenset[Gate]] = dict.fromkeys(roots, frozenset())
    changed = True
    while changed:
        changed = False
        for path in reversed(graph.order):
            if path in found:
                changed |= _pass_on(graph[path], found)
        changed &= bool(graph.cycles)
    return found


def _pass_on(node: Node, found: dict[str, frozenset[Gate]]) -> bool:
    """What the uses of a value say about its inputs; whether that was news."""
    news = False
    for slot, source in enumerate(node.inputs):
        gates = found[node.path] | _door(node, slot)
        gates &= found.get(source, gates)
        news |= found.get(source) != gates
        found[source] = gates
    return news


def _door(node: Node, slot: int) -> frozenset[Gate]:
    """The gate that a switch puts on a branch."""
    is_branch = node.op == "switch" and slot > 0
    return frozenset({Gate(node.inputs[0], slot == 1)}) if is_branch else frozenset()
