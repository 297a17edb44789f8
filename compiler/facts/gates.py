"""Gates: which flags decide, frame by frame, whether a value runs at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..graph import Graph
from ..types import Type, encloses
from .duty import branch_values


@dataclass(frozen=True, slots=True)
class Gate:
    """The value runs only on frames where `flag` is up, or with `up=False` where it is down."""

    flag: str
    up: bool


Gates = Mapping[str, frozenset[Gate]]


def infer_gates(graph: Graph, types: Mapping[str, Type]) -> Gates:
    """The gates of every value inside a branch of a switch.

    A flag says nothing about values that tick faster than it (the samples before a strided
    branch): those always run.
    """
    if not (graph.outputs or graph.losses):
        return {}
    found: dict[str, set[Gate]] = {}
    for switch, branches in branch_values(graph).items():
        flag = graph[switch].inputs[0]
        for values, up in zip(branches, (True, False), strict=True):
            for path in values & graph.nodes.keys():
                if encloses(types[flag].clock, types[path].clock):
                    found.setdefault(path, set()).add(Gate(flag, up))
    return {path: frozenset(gates) for path, gates in found.items()}
