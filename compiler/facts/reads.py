"""Which frames of its inputs a frame of a value reads: one rule an operator.

Everything about time follows from this one table: look-ahead, demand, state and MACs. Frames are
counted on the timeline of the base clock (an inner axis lies within one frame). A rule gives, for
each input on that timeline, the first and last frame read by frame `i`; both never decrease
with `i`, so the last frame read is the last one waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import cast

from ..graph import Graph, Node
from ..types import Finite, Label, Lattice, Static, Stream, Type, base_clock
from ..units import Quantity
from .attend_rules import context_frames

Index = int | float


@dataclass(frozen=True, slots=True)
class Reads:
    """Frame `i` reads source frames `first(i), first(i) + step, ..., last(i)`.

    The pattern repeats: `i + cycle[0]` reads what `i` reads, `cycle[1]` source frames later.
    """

    first: Callable[[int], Index]
    last: Callable[[int], Index]
    cycle: tuple[int, int] = (1, 1)
    step: int = 1

    def taps(self) -> tuple[Reads, ...]:
        """The same reads in patterns without gaps: one for each tap of a dilated window."""
        if self.step == 1:
            return (self,)
        spans = (self.last(i) - self.first(i) for i in range(self.cycle[0]))
        return tuple(self._tap(offset) for offset in range(0, int(max(spans)) + 1, self.step))

    def _tap(self, offset: int) -> Reads:
        def first(i: int) -> Index:
            return self.first(i) + offset

        return Reads(first, lambda i: min(first(i), self.last(i)), self.cycle)


def _identity(i: int) -> int:
    return i


SAME = Reads(_identity, _identity)


def span_reads(past: Index, future: Index, step: int = 1) -> Reads:
    """`[i - past, i + future]`."""
    return Reads(lambda i: i - past, lambda i: i + future, step=step)


def timeline(kind: Type) -> str | None:
    """`frames`, `labels`, or `None` for what is known once an utterance starts."""
    base = base_clock(kind.clock)
    if isinstance(base, Static):
        return None
    return "labels" if isinstance(base, Label) else "frames"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a rule is asked: a node, the type it makes and the type of the input in question."""

    node: Node
    out: Type
    source: Type
    slot: int
    quantum: bool

    def count(self, name: str) -> int:
        return cast(int, self.node.attrs[name])

    def chunk(self) -> int | None:
        """The chunk in frames, at the source's period."""
        value = self.node.attrs["chunk"]
        clock = self.source.clock
        if not isinstance(value, Quantity) or not isinstance(clock, Stream):
            return None
        return int(value.value / clock.period)


Rule = Callable[[Site], Reads]


def _inner(site: Site) -> bool:
    return isinstance(site.source.clock, Finite)


def _delay(site: Site) -> Reads:
    frames = site.count("frames")
    return SAME if _inner(site) else span_reads(frames, -frames)


def _ahead(site: Site) -> Reads:
    frames = site.count("frames")
    return SAME if _inner(site) else span_reads(-frames, frames)


def _window(site: Site) -> Reads:
    if _inner(site):
        return SAME
    by = site.count("by")
    past, future = site.count("past") * by, site.count("future") * by
    chunk = site.chunk() if site.node.attrs["in_chunk"] else None
    if chunk is None or future <= 0:
        return span_reads(past, future, by)
    if not site.quantum:
        return span_reads(past, min(future, 0), by)
    return _clipped(past, min(future, (chunk - 1) // by * by), by, chunk)


def _clipped(past: int, reach: int, by: int, size: int) -> Reads:
    """Frames come in order: one with no tap ahead still follows the frames before it."""
    return Reads(lambda i: i - past, lambda i: min(i + reach, _end(i, size)), (size, size), by)


def _end(i: int, chunk: int) -> int:
    """The last frame of the chunk of frame `i`."""
    return (i // chunk + 1) * chunk - 1


def _stride(site: Site) -> Reads:
    factor = site.count("factor")
    last = factor - 1
    return Reads(lambda i: i * factor + last, lambda i: i * factor + last, (1, factor))


def _upsample(site: Site) -> Reads:
    factor = site.count("factor")
    return Reads(lambda i: i // factor, lambda i: i // factor, (factor, 1))


def _logmel(site: Site) -> Reads:
    period = cast(Stream, site.source.clock).period
    hop, window = (int(cast(Quantity, site.node.attrs[n]).value / period) for n in _FRAMING)
    return Reads(lambda i: i * hop, lambda i: i * hop + window - 1, (1, hop))


_FRAMING = ("hop", "window")


def _whole(site: Site) -> Reads:
    return SAME if _inner(site) else EVERYTHING


EVERYTHING = Reads(lambda i: -inf, lambda i: inf)


def _attend(site: Site) -> Reads:
    if site.slot in (0, 3) or site.source.clock != site.out.clock or _inner(site):
        return SAME
    mask = site.node.attrs["mask"]
    left, right = _context(site, "left"), _context(site, "right")
    if isinstance(site.source.clock, Label) or mask == "causal":
        return span_reads(left, 0)
    if mask == "limited":
        return span_reads(left, right if right < inf else 0)
    return EVERYTHING if mask == "full" else _chunked(cast(int, site.chunk()), left, site.quantum)


def _chunked(chunk: int, left: Index, quantum: bool) -> Reads:
    """Left context counts from the start of the query's chunk, as in every chunk mask."""
    if not quantum:
        return span_reads(left, 0)
    return Reads(lambda i: i // chunk * chunk - left, lambda i: _end(i, chunk), (chunk, chunk))


def _context(site: Site, name: str) -> Index:
    clock = site.source.clock
    frames = (
        context_frames(site.node, name, clock)
        if isinstance(clock, Stream)
        else cast("int | None", site.node.attrs[name])
    )
    return inf if frames is None else frames


RULES: dict[str, Rule] = {
    "delay": _delay,
    "ahead": _ahead,
    "window": _window,
    "stride": _stride,
    "upsample": _upsample,
    "logmel": _logmel,
    "mean": _whole,
    "max": _whole,
    "attend": _attend,
}
"""Operators that read other frames; every framewise operator reads its own frame."""


class ReadsTable:
    """The reads of every value of a graph.

    With `quantum`, a chunk waits for its last frame (what the compiled step does). Without,
    each frame is taken alone and a chunk adds no wait: what a one-frame step carries.
    """

    def __init__(self, graph: Graph, types: Mapping[str, Type], *, quantum: bool = True) -> None:
        self.graph = graph
        self.types = types
        self.quantum = quantum
        self._memo: dict[tuple[str, int], Reads | None] = {}

    def at(self, path: str, slot: int) -> Reads | None:
        """How `path` reads its input `slot`; `None` when the two share no timeline."""
        key = (path, slot)
        if key not in self._memo:
            self._memo[key] = self._find(self.graph[path], slot)
        return self._memo[key]

    def _find(self, node: Node, slot: int) -> Reads | None:
        source, out = self.types[node.inputs[slot]], self.types[node.path]
        line = timeline(source)
        if line is None or (line == "labels" and isinstance(base_clock(out.clock), Lattice)):
            return None
        rule = RULES.get(node.op)
        return SAME if rule is None else rule(Site(node, out, source, slot, self.quantum))


def period_of(kind: Type) -> Fraction:
    """Seconds between frames; one for labels, which have no milliseconds."""
    base = base_clock(kind.clock)
    if isinstance(base, Lattice):
        return base.frames.period
    return base.period if isinstance(base, Stream) else Fraction(1)
