"""Which cycles are legal.

Every shift in a cycle points to the past, at least one strictly, and everything else in it works
frame by frame. Along a finite axis a cycle may run from either end, but not both ways at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx

from ..diagnostics import AsrcError, Diagnostic, Label
from ..graph import Graph, Node, is_shift
from ..ops import OPS
from ..types import Finite, Type


def check_recurrences(graph: Graph, types: Mapping[str, Type]) -> None:
    """Raises AsrcError naming every illegal cycle once, at the value that makes it so."""
    found = [d for nodes in _recurrences(graph) if (d := _problem(graph, types, nodes)) is not None]
    if found:
        raise AsrcError(*found)


def _recurrences(graph: Graph) -> list[list[Node]]:
    """The values of each cycle, in program order."""
    cycle_of = {path: n for n, cycle in enumerate(graph.cycles) for path in cycle}
    found: list[list[Node]] = [[] for _ in graph.cycles]
    for node in graph:
        if node.path in cycle_of:
            found[cycle_of[node.path]].append(node)
    return found


def _problem(graph: Graph, types: Mapping[str, Type], nodes: list[Node]) -> Diagnostic | None:
    for node in nodes:
        if _looks_ahead(node) and not isinstance(types[node.path].clock, Finite):
            return _at(node, "E0305", "a recurrence on a stream reads its own future")
    if any(n.op == "ahead" for n in nodes) and any(n.op == "delay" for n in nodes):
        return _at(nodes[0], "E0305", "a recurrence along an inner axis runs both ways at once")
    for node in nodes:
        if _reads_other_frames(node, types):
            return _at(node, "E0306", f"`{node.op}` stands inside a recurrence")
    return _inner_problem(graph, types, nodes)


def _reads_other_frames(node: Node, types: Mapping[str, Type]) -> bool:
    """Whether a value that is no shift needs other frames of the recurrence's own clock."""
    if OPS[node.op].framewise or node.op in ("delay", "ahead", "window"):
        return False
    return not (node.op in _FOLDS and isinstance(types[node.inputs[0]].clock, Finite))


_FOLDS = frozenset({"mean", "max", "last", "first", "collect"})
"""What makes one value of an inner axis."""


def _inner_problem(graph: Graph, types: Mapping[str, Type], nodes: list[Node]) -> Diagnostic | None:
    """A recurrence along an inner axis, or none at all within a frame, cannot fold that axis."""
    inner = [n for n in nodes if not (is_shift(n) and not isinstance(types[n.path].clock, Finite))]
    rest = graph.network.subgraph(n.path for n in inner)
    for part in (part for part in nx.strongly_connected_components(rest) if len(part) > 1):
        folds = [n for n in inner if n.path in part and n.op in _FOLDS]
        if folds:
            return _at(folds[0], "E0306", f"`{folds[0].op}` folds the axis of its own recurrence")
    return None


def _looks_ahead(node: Node) -> bool:
    if node.op == "window":
        future = node.attrs["future"]
        return isinstance(future, int) and future > 0
    return node.op == "ahead"


_HELP = {
    "E0305": "read the past (`h[t-1]`) inside a recurrence; look ahead before or after it",
    "E0306": "only frame-wise operators may stand in a cycle; move it out of the recurrence",
}


def _at(node: Node, code: str, message: str) -> Diagnostic:
    labels = (Label(node.span),) if node.span else ()
    return Diagnostic(code, message, labels, help=(_HELP[code],))
