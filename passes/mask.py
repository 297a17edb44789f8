"""`mask`: what self-attention may see.

`mask(encoder, full)`                       everything: offline
`mask(encoder, causal, left=2560ms)`        the past
`mask(encoder, chunk=320ms, left=2560ms)`   its own chunk, and so much before the chunk
`mask(encoder, left=2560ms, right=40ms)`    limited context around each frame

Windows written `in chunk` stop at the edges of the same chunks. Over labels attention is causal
anyway; there `left` is a count of labels. Chunked masks: papers/streaming-encoders-and-masks.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

from ..compiler.diagnostics import AsrcError, Diagnostic, Label, diagnostic
from ..compiler.facts import Facts
from ..compiler.graph import Attr, Graph, Node
from ..compiler.protocol import Weights
from ..compiler.select import select
from ..compiler.spec import OptionError
from ..compiler.types import Label as LabelClock
from ..compiler.types import Stream, Type
from ..compiler.units import Quantity, format_time


@dataclass(frozen=True)
class Mask:
    """Sets the masks of all self-attention under `on`, in place of those it had."""

    name: ClassVar[str] = "mask"
    keeps: ClassVar[frozenset[str]] = frozenset({"rate", "shapes", "parameters"})

    on: str
    mode: str | None = None
    chunk: Quantity | None = None
    left: Quantity | int | None = None
    right: Quantity | int | None = None

    def __post_init__(self) -> None:
        """Raises AsrcError E0805 where options contradict each other."""
        self._kind()

    def run(self, graph: Graph, weights: Weights | None) -> tuple[Graph, Weights | None]:
        """Raises AsrcError E0803 where there is nothing to mask."""
        try:
            changed = self._masked(graph, select(graph, self.on))
        except AsrcError as error:
            raise OptionError("on", error) from None
        return graph.rewrite(changed.get(n.path, n) for n in graph), weights

    def review(self, graph: Graph) -> Iterator[Diagnostic]:
        """W0311 where chunks meet that do not fit into each other."""
        return misaligned_chunks(graph)

    def _kind(self) -> str:
        """The attention's `mask` option: full, causal, chunk or limited."""
        given = {n for n in ("mode", "chunk", "left", "right") if getattr(self, n) is not None}
        for allowed, required, kind in _FORMS:
            if required <= given <= allowed and (kind == self.mode or self.mode is None):
                return kind
        raise AsrcError(_contradiction(given, self.mode))

    def _masked(self, graph: Graph, selected: list[str]) -> Mapping[str, Node]:
        types = Facts(graph).types
        kind = self._kind()
        found = [graph[path] for path in selected]
        frames = [n for n in found if _attends(n, types, Stream)]
        labels = [n for n in found if kind == "causal" and _attends(n, types, LabelClock)]
        clipped = [n for n in found if n.op == "window" and n.attrs["in_chunk"]]
        if not (frames or labels or clipped):
            raise AsrcError(_nothing(self.on, kind))
        attrs: dict[str, Attr] = {
            "mask": kind,
            "chunk": self.chunk,
            "left": self.left,
            "right": self.right,
        }
        masked = [n.with_attrs(**attrs) for n in (*frames, *labels)]
        masked += [n.with_attrs(chunk=self.chunk) for n in clipped]
        return {n.path: n for n in masked}


_FORMS = (
    (frozenset({"mode"}), frozenset({"mode"}), "full"),
    (frozenset({"mode", "left"}), frozenset({"mode"}), "causal"),
    (frozenset({"chunk", "left"}), frozenset({"chunk"}), "chunk"),
    (frozenset({"left", "right"}), frozenset({"right"}), "limited"),
)
"""The options that a mask may have, those that it must have, and its name."""


def _attends(node: Node, types: Mapping[str, Type], clock: type[Stream | LabelClock]) -> bool:
    """Whether this is attention of a stream to itself, on such a clock."""
    if node.op != "attend":
        return False
    query, key = (types[p].clock for p in node.inputs[:2])
    return query == key and isinstance(query, clock)


def _contradiction(given: set[str], mode: str | None) -> Diagnostic:
    written = [mode if n == "mode" else n for n in ("mode", "chunk", "left", "right") if n in given]
    text = " and ".join(f"`{w}`" for w in written)
    message = f"{text} together say no mask" if len(written) > 1 else f"{text} alone says no mask"
    return diagnostic(
        "E0805",
        message if written else "which mask?",
        help="give `full`, `causal` (with `left=`), `chunk=` (with `left=`)"
        " or `right=` (with `left=`)",
    )


def _nothing(selector: str, kind: str) -> Diagnostic:
    what = "self-attention and no window `in chunk`"
    where = "" if kind == "causal" else " on a stream of frames"
    return diagnostic("E0803", f"`{selector}` has no {what}{where}")


# --- chunks that do not line up ------------------------------------------------------------------


def misaligned_chunks(graph: Graph) -> Iterator[Diagnostic]:
    """One warning for each two chunk sizes on a path of which neither holds the other whole."""
    places = {n.path: size for n in graph if (size := _chunk(n)) is not None}
    seen: set[frozenset[Quantity]] = set()
    for size in dict.fromkeys(places.values()):
        for path in _downstream(graph, [p for p, s in places.items() if s == size]):
            other = places.get(path, size)
            pair = frozenset({size, other})
            if not _fits(size, other) and pair not in seen:
                seen.add(pair)
                first = next(p for p, s in places.items() if s == size)
                yield _misaligned(graph[first], size, graph[path], other)


def _chunk(node: Node) -> Quantity | None:
    """The chunk that a value waits for, if it does."""
    if node.op == "window" and not node.attrs["in_chunk"]:
        return None
    return cast("Quantity | None", node.attrs.get("chunk"))


def _downstream(graph: Graph, paths: list[str]) -> list[str]:
    """Everything that reads these values, directly or not, in program order."""
    found: set[str] = set()
    stack = list(paths)
    while stack:
        fresh = [r for r in graph.readers[stack.pop()] if r not in found]
        found.update(fresh)
        stack.extend(fresh)
    return [path for path in graph.nodes if path in found]


def _fits(one: Quantity, other: Quantity) -> bool:
    ratio = one.value / other.value
    return 1 in (ratio.numerator, ratio.denominator)


def _misaligned(first: Node, size: Quantity, then: Node, other: Quantity) -> Diagnostic:
    labels = [
        Label(node.span, f"chunks of {length}")
        for node, length in ((then, other), (first, size))
        if node.span is not None
    ]
    twice = format_time(2 * min(size.value, other.value))
    return Diagnostic(
        "W0311",
        f"chunks of {size} at `{first.path}` and of {other} at `{then.path}` do not line up",
        tuple(labels),
        ("look-ahead and state then repeat only after a common multiple of both",),
        (f"let one be a multiple of the other, such as {twice}",),
    )
