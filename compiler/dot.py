"""A graph folded by path, in the DOT language of Graphviz: one box for each layer.

What reads earlier frames of itself, or reaches another box through a `delay`, is dashed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from .facts import Facts
from .graph import Graph
from .report import Figures, LayerRow, rows
from .units import format_time, show_bytes, show_count

_HEAD = """\
  rankdir=TB; ranksep=0.35;
  node [shape=box, style=rounded, fontname="Helvetica", fontsize=11];
  edge [fontname="Helvetica", fontsize=9, arrowsize=0.7];"""


def to_dot(facts: Facts, depth: int = 1) -> str:
    """The drawing of a graph down to `depth` levels below its nets; see `outline`."""
    finest = [row for row in rows(facts, depth) if not row.entry.opened]
    boxes = {path: row.entry.path for row in finest for path in row.entry.members}
    lines = (_HEAD, *_clusters(finest), *_edges(facts.graph, boxes))
    return "\n".join([f"digraph {_quoted(facts.graph.name)} {{", *lines, "}", ""])


def _clusters(finest: list[LayerRow]) -> Iterator[str]:
    """Boxes, those of one net framed together."""
    for net, group in groupby(finest, lambda row: row.entry.path.partition(".")[0]):
        lines = [
            f"  {_quoted(row.entry.path)} [label={_quoted(_label(row, net))}];" for row in group
        ]
        if len(lines) == 1:
            yield from lines
            continue
        yield f"  subgraph {_quoted(f'cluster_{net}')} {{"
        yield f"    label={_quoted(net)}; color=gray; fontname=Helvetica;"
        yield from (f"  {line}" for line in lines)
        yield "  }"


def _label(row: LayerRow, net: str) -> str:
    """Name and copies, kind, type, and the figures that are not zero."""
    entry = row.entry
    name = entry.path.removeprefix(f"{net}.")
    kind = "" if entry.kind == name else entry.kind
    copies = f" (x{entry.copies})" if entry.copies > 1 else ""
    types = ", ".join(map(str, row.types))
    return "\n".join(filter(None, (name + copies, kind, types, _size(row.figures))))


def _size(found: Figures) -> str:
    parts = []
    if found.params:
        parts.append(f"{show_count(found.params)} parameters")
    if found.frame is None:
        parts.append("state grows")
    elif found.frame:
        parts.append(f"state {show_bytes(found.frame)}")
    if found.lookahead is not None:
        worst = found.lookahead[1]
        parts.append("unbounded" if worst is None else f"+{format_time(worst)}")
    return ", ".join(parts)


def _edges(graph: Graph, boxes: Mapping[str, str]) -> Iterator[str]:
    """One arrow for each pair of boxes; inside one box only recurrences show, as a loop."""
    delayed: dict[tuple[str, str], bool] = {}
    for node in graph:
        past = node.path in graph.cycle_shifts
        for source in node.inputs:
            ends = boxes[source], boxes[node.path]
            if past or ends[0] != ends[1]:
                delayed[ends] = past and delayed.get(ends, True)
    for (start, end), past in delayed.items():
        style = " [style=dashed]" if past else ""
        yield f"  {_quoted(start)} -> {_quoted(end)}{style};"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
