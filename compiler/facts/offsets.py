"""Relative positions: how many offsets an attention's mask can see.

`positions(n)` makes one vector for each offset; only the attention that reads them knows the
range, so the count flows backwards from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from ..graph import Graph
from ..types import Finite, Type
from .reads import Reads, ReadsTable


def infer_offsets(
    graph: Graph, types: Mapping[str, Type], reads: ReadsTable
) -> Mapping[str, int | None]:
    """Values over relative positions -> the offsets needed; `None` when a mask has no bound."""
    found: dict[str, int | None] = {}
    for path in reversed(graph.order):
        node = graph[path]
        if node.op == "attend" and len(node.inputs) == 5:
            _widen(found, node.inputs[4], _span(reads.at(path, 1)))
        elif path in found:
            for source in node.inputs:
                if is_over_offsets(types[source]):
                    _widen(found, source, found[path])
    return found


def is_over_offsets(kind: Type) -> bool:
    """Whether a value has an entry for each relative position."""
    return isinstance(kind.clock, Finite) and kind.clock.axis == "offset"


def _widen(found: dict[str, int | None], path: str, count: int | None) -> None:
    known = found.get(path, 0)
    found[path] = None if known is None or count is None else max(known, count)


def _span(reads: Reads | None) -> int | None:
    """From the furthest key behind a query to the furthest ahead of one."""
    if reads is None:
        return 1
    behind = max(i - reads.first(i) for i in range(reads.cycle[0]))
    ahead = max(reads.last(i) - i for i in range(reads.cycle[0]))
    return None if inf in (behind, ahead) else int(behind + ahead) + 1
