"""Static values that streams read: computed once an utterance and kept until it ends."""

from __future__ import annotations

from collections.abc import Mapping

from ..graph import Graph
from ..types import Type, inner_steps
from .demand import NEVER, Demand
from .reads import timeline

_FREE = frozenset({"weight", "constant", "positions"})


def infer_cached(
    graph: Graph,
    types: Mapping[str, Type],
    offsets: Mapping[str, int | None],
    demand: Mapping[str, Demand],
) -> Mapping[str, int | None]:
    """Value -> numbers kept, for static values read on a timeline (a catalogue's keys).

    `None` where an attention over everything needs ever more relative positions.
    """
    found: dict[str, int | None] = {}
    for node in graph:
        if timeline(types[node.path]) is None or demand[node.path] == NEVER:
            continue
        for source in node.inputs:
            kind = types[source]
            if timeline(kind) is None and graph[source].op not in _FREE:
                count = offsets.get(source, 1)
                each = kind.size * inner_steps(kind.clock)
                found[source] = None if count is None else each * count
    return found
