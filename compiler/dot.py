"""A graph folded by path, in the DOT language of Graphviz: one box for each layer.

What reads earlier frames of itself, or reaches another box through a `delay`, is dashed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .facts import Facts
from .outline import Entry, outline
from .report import Figures, figures
from .units import format_time, show_bytes, show_count

_HEAD = """\
  rankdir=TB; ranksep=0.35;
  node [shape=box, style=rounded, fontname="Helvetica", fontsize=11];
  edge [fontname="Helvetica", fontsize=9, arrowsize=0.7];"""


def to_dot(facts: Facts, depth: int = 1) -> str:
    """The drawing of a graph down to `depth` levels below its nets; see `outline`."""
    entries = [entry for entry in outline(facts.graph, facts.types, depth) if not entry.opened]
    boxes = {path: entry.path for entry in entries for path in entry.members}
    lines = (_HEAD, *_clusters(facts, entries), *_edges(facts, boxes))
    return "\n".join([f"digraph {_quoted(facts.graph.name)} {{", *lines, "}", ""])


def _clusters(facts: Facts, entries: list[Entry]) -> Iterator[str]:
    """Boxes, those of one net framed together."""
    nets = dict.fromkeys(entry.path.partition(".")[0] for entry in entries)
    for net in nets:
        inside = [e for e in entries if e.path.partition(".")[0] == net]
        lines = [f"  {_quoted(e.path)} [label={_quoted(_label(facts, e, net))}];" for e in inside]
        if len(inside) == 1:
            yield from lines
            continue
        yield f"  subgraph {_quoted(f'cluster_{net}')} {{"
        yield f"    label={_quoted(net)}; color=gray; fontname=Helvetica;"
        yield from (f"  {line}" for line in lines)
        yield "  }"


def _label(facts: Facts, entry: Entry, net: str) -> str:
    """Name and copies, kind, type, and the figures that are not zero."""
    copies = f" (x{entry.copies})" if entry.copies > 1 else ""
    name = entry.path.removeprefix(f"{net}.") + copies
    kinds = dict.fromkeys(str(facts.types[path]) for path in entry.outputs)
    found = figures(facts, entry.members, entry.outputs)
    lines = (name, "" if entry.kind == name else entry.kind, ", ".join(kinds), _size(found))
    return "\n".join(filter(None, lines))


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


def _edges(facts: Facts, boxes: Mapping[str, str]) -> Iterator[str]:
    """One arrow for each pair of boxes; inside one box only recurrences show, as a loop."""
    delayed: dict[tuple[str, str], bool] = {}
    graph = facts.graph
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
