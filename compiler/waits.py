"""Look-ahead explained: what waits, for how long, and what each fix would give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

from .diagnostics import AsrcError, Diagnostic, Label
from .facts import Facts
from .graph import Graph, Node
from .keeps import show_lookahead
from .rows import Row, grouped, lines, pattern, texts
from .source import Span
from .types import frame_period
from .units import Quantity, format_time


@dataclass(frozen=True, slots=True)
class Question:
    """A look-ahead that is too long: of which value, as what, and who says so.

    `places` says where a value's present options were written: the call of a `mask`.
    """

    facts: Facts
    path: str
    message: str
    span: Span | None
    places: Mapping[str, Span]


def explain(question: Question) -> Diagnostic:
    """E0303 without bound, E0304 chunks that right context spills over, else E0301."""
    facts, path = question.facts, question.path
    if facts.lookahead(path) is None:
        return _unbounded(question)
    rows = waiting_rows(facts, path)
    right = [row for row in rows if _reaches_right(row.nodes[0])]
    chunked = [row for row in rows if row.nodes[0].attrs.get("mask") == "chunk"]
    notes = lines(rows, format_time)
    if right and chunked:
        return _spill(question, notes, right, chunked)
    labels = (Label(question.span),) if question.span else ()
    return Diagnostic("E0301", question.message, labels, notes)


def waiting_rows(facts: Facts, path: str) -> list[Row]:
    """What a value's worst-case look-ahead is made of. The rows sum to it exactly."""
    found = facts.contributors(path)
    nodes = ((facts.graph[c.path], c.seconds) for c in found if c.seconds is not None)
    return grouped((node, describe(facts, node), seconds) for node, seconds in nodes)


def describe(facts: Facts, node: Node) -> str:
    """Why a value waits, in a few words."""
    attrs = node.attrs
    match node.op:
        case "logmel":
            return f"logmel: {attrs['window']} window, {attrs['hop']} hop"
        case "attend" if attrs["mask"] == "chunk":
            return f"attention waits for the end of its {attrs['chunk']} chunk"
        case "attend" if attrs["mask"] == "limited":
            return f"attention sees {_frames(attrs['right'])} ahead"
        case "attend":
            return "attention over the whole utterance"
        case "window" | "ahead":
            reach = _reach(node)
            return f"`{_tail(node)}` reads {_count(reach, 'frame')} ahead{_clip(node)}"
        case "stride":
            return f"stride({attrs['factor']}) waits for the last frame of its slot"
        case "upsample":
            return f"upsample({attrs['factor']}) repeats a longer frame"
        case "mean" | "max":
            return f"`{node.op}` over the whole utterance"
    return f"`{node.op}`"


def _clip(node: Node) -> str:
    if not node.attrs.get("in_chunk"):
        return ""
    return " in its chunk" if node.attrs["chunk"] else "; no `mask` sets its chunk"


def _frames(context: object) -> str:
    return (
        str(context) if isinstance(context, Quantity) else _count(cast(int, context or 0), "frame")
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _reach(node: Node) -> int:
    """Frames that a shift or a window reads past its own."""
    if node.op == "window":
        return cast(int, node.attrs["future"]) * cast(int, node.attrs["by"])
    return cast(int, node.attrs["frames"])


def _tail(node: Node) -> str:
    """How a shift is written: `u[t-7..t+7]`."""
    written = node.span.text if node.span else ""
    if written.endswith("]"):
        return written
    name = node.inputs[0].rpartition(".")[2]
    if node.op != "window":
        return f"{name}[t+{node.attrs['frames']}]"
    return window_text(name, node)


def window_text(name: str, node: Node, in_chunk: bool = False) -> str:
    """`u[t-14..t]`, `u[t-6..t+2 by 2 in chunk]`."""
    by = cast(int, node.attrs["by"])
    ends = [
        _offset(sign * cast(int, node.attrs[n]) * by) for sign, n in ((-1, "past"), (1, "future"))
    ]
    step = f" by {by}" if by > 1 else ""
    clip = " in chunk" if in_chunk or node.attrs["in_chunk"] else ""
    return f"{name}[{ends[0]}..{ends[1]}{step}{clip}]"


def _offset(frames: int) -> str:
    return f"t{frames:+d}" if frames else "t"


# --- without bound -------------------------------------------------------------------------------


def _unbounded(question: Question) -> Diagnostic:
    facts = question.facts
    nodes = [facts.graph[c.path] for c in facts.contributors(question.path)]
    rows = grouped((node, describe(facts, node), Fraction(0)) for node in nodes)
    spans = [row.span for row in rows]
    labels = [
        Label(s, f"the wait begins here: {r.what}") for s, r in zip(spans, rows, strict=True) if s
    ]
    own = [Label(question.span)] if question.span else []
    notes = tuple(f"the wait begins at {text}" for text in texts(rows))
    return Diagnostic(
        "E0303", question.message, (*own, *labels), notes, tuple(_bounds(question.path, rows))
    )


def _bounds(path: str, rows: Sequence[Row]) -> Iterable[str]:
    net = path.partition(".")[0]
    ops = {row.nodes[0].op for row in rows}
    if "attend" in ops:
        yield f"`mask({net}, chunk=320ms, left=2560ms)` or `mask({net}, causal)` bounds attention"
    if ops & {"mean", "max"}:
        yield "average over a window, `x[t-63..t]`, or keep a running mean in a recurrence"


# --- chunks that spill ---------------------------------------------------------------------------


def _reaches_right(node: Node) -> bool:
    """Right context that is not clipped at a chunk."""
    if node.op == "window":
        return _reach(node) > 0 and node.attrs["chunk"] is None
    if node.op == "attend":
        return node.attrs["mask"] == "limited" and bool(node.attrs["right"])
    return node.op == "ahead"


def _spill(
    question: Question, notes: tuple[str, ...], right: list[Row], chunked: list[Row]
) -> Diagnostic:
    labels = [*_right_labels(question.facts, right), *_chunk_labels(question, chunked)]
    if question.span is not None:
        labels.append(Label(question.span, "the budget"))
    return Diagnostic(
        "E0304", question.message, tuple(labels), notes, _fixes(question, right, chunked)
    )


def _right_labels(facts: Facts, rows: list[Row]) -> Iterable[Label]:
    for row in rows:
        node = row.nodes[0]
        if node.span is None:
            continue
        text = describe(facts, node)
        period = frame_period(facts.types[node.path].clock)
        if node.op != "attend" and period is not None:
            text = f"reads {_count(_reach(node), 'frame')} ({format_time(_reach(node) * period)})"
            text += " past its own frame"
        places = len(_alike(facts.graph, row.nodes))
        yield Label(node.span, f"{text}, in each of {places} places" if places > 1 else text)


def _chunk_labels(question: Question, rows: list[Row]) -> Iterable[Label]:
    node = rows[0].nodes[0]
    span = question.places.get(node.path, node.span)
    if span is not None:
        yield Label(span, "so each later attention waits for one more whole chunk")


def _alike(graph: Graph, nodes: Iterable[Node]) -> list[Node]:
    """All values written at the same place as these."""
    wanted = {(node.op, pattern(node.path)) for node in nodes}
    return [node for node in graph if (node.op, pattern(node.path)) in wanted]


def _fixes(question: Question, right: list[Row], chunked: list[Row]) -> tuple[str, ...]:
    """What to write instead, and the look-ahead that it gives: computed on a changed graph."""
    chunk = cast(Quantity, chunked[0].nodes[0].attrs["chunk"])
    firsts = [row.nodes[0] for row in right]
    nodes = _alike(question.facts.graph, firsts)
    found = []
    causal = _lookahead_with(question, nodes, _causal)
    if causal is not None:
        verb = "is" if len(firsts) == 1 else "are"
        found.append(f"{_joined(map(_causal_text, firsts))} {verb} causal: {causal}")
    clipped = None
    if all(node.op == "window" for node in firsts):
        clipped = _lookahead_with(
            question, nodes, lambda n: n.with_attrs(in_chunk=True, chunk=chunk)
        )
    if clipped is not None:
        verb = "stops" if len(firsts) == 1 else "stop"
        texts = (_clipped_text(node, chunk) for node in firsts)
        found.append(f"{_joined(texts)} {verb} at the chunk edge: {clipped}")
    return tuple(found)


def _joined(texts: Iterable[str]) -> str:
    return " and ".join(f"`{text}`" for text in texts)


def _name(node: Node) -> str:
    return _tail(node).partition("[")[0]


def _clipped_text(node: Node, chunk: Quantity) -> str:
    """The window stopped at its chunk; what sets the chunk, where it is written so already."""
    if node.attrs["in_chunk"]:
        return f"mask({node.path}, chunk={chunk})"
    return window_text(_name(node), node, in_chunk=True)


def _causal(node: Node) -> Node:
    """As many taps, all in the past; no right context."""
    if node.op == "window":
        past, future = (cast(int, node.attrs[n]) for n in ("past", "future"))
        return node.with_attrs(past=past + future, future=0)
    return node.with_attrs(right=None) if node.op == "attend" else node.with_attrs(frames=0)


def _causal_text(node: Node) -> str:
    if node.op == "window":
        return window_text(_name(node), _causal(node))
    return "right=0" if node.op == "attend" else f"{_name(node)}[t]"


def _lookahead_with(
    question: Question, nodes: Iterable[Node], change: Callable[[Node], Node]
) -> str | None:
    """The look-ahead with these values changed, or `None` where they cannot be."""
    graph = question.facts.graph
    changed = {node.path: change(node) for node in nodes}
    other = replace(graph, nodes={path: changed.get(path, n) for path, n in graph.nodes.items()})
    try:
        return show_lookahead(Facts(other).lookahead(question.path))
    except AsrcError:
        return None
