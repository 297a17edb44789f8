"""Which cycles are legal.

Every shift in a cycle points to the past, at least one strictly, and everything else in it works
frame by frame. Along a finite axis a cycle may run from either end, but not both ways at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..diagnostics import AsrcError, Diagnostic, Label
from ..graph import Graph, Node
from ..ops import OPS
from ..types import Finite, Type


def check_recurrences(graph: Graph, types: Mapping[str, Type]) -> None:
    """Raises AsrcError naming every illegal cycle once, at the value that makes it so."""
    found = [d for cycle in graph.cycles if (d := _problem(graph, types, cycle)) is not None]
    if found:
        raise AsrcError(*found)


def _problem(
    graph: Graph, types: Mapping[str, Type], cycle: frozenset[str]
) -> Diagnostic | None:
    nodes = [node for node in graph if node.path in cycle]
    for node in nodes:
        if _looks_ahead(node) and not isinstance(types[node.path].clock, Finite):
            return _at(node, "E0305", "a recurrence on a stream reads its own future")
    if any(n.op == "ahead" for n in nodes) and any(n.op == "delay" for n in nodes):
        return _at(nodes[0], "E0305", "a recurrence along an inner axis runs both ways at once")
    for node in nodes:
        if not OPS[node.op].framewise and node.op not in ("delay", "ahead", "window"):
            return _at(node, "E0306", f"`{node.op}` stands inside a recurrence")
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
