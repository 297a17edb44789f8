"""Streaming state: which frames must be held between two steps.

A frame of a value is held at an instant when it has been computed by then and a frame that reads
it has not; what is made of past frames alone is computed at its own turn, not as soon as it could
be. Views (`x[t-2..t]`, `stride`) hold nothing themselves: the frames belong to the value they look
at, so two windows on one value share one buffer, and the delays that look-ahead forces on a skip
path are counted where they arise. A recurrence keeps its own state: `h[t-1]` inside its cycle is
one entry, a buffer of `h` for readers outside another.

Two figures: `state(step)` is what the compiled step holds between two steps of the hyperperiod of
all strides and chunks; `state(frame)` is the most that a step of one frame holds, a chunk's own
frames arriving with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from math import gcd, inf, lcm
from operator import itemgetter

from ..diagnostics import AsrcError
from ..graph import Graph, Node
from ..ops import VIEWS
from ..types import Type, inner_steps
from ..units import Quantity
from .demand import NEVER, Demand, read_by, union
from .need import MAX_PHASES, Need, Timing, too_many_phases
from .reads import SAME, Index, Reads, timeline


@dataclass(frozen=True, slots=True)
class Held:
    """The frames of one value that a step carries; `frames` is `None` when they keep growing.

    `kind` is `recurrent` for what a cycle reads of itself, else `history`.
    """

    path: str
    kind: str
    frames: int | None
    values: int | None
    readers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """A value read by another, through any views in between: without gaps, in `wanted` phases."""

    reader: str
    chain: tuple[Reads, ...]
    wanted: Demand

    def first(self, i: int) -> Index:
        """The first source frame that the reader's frame `i` reads."""
        index: Index = i
        for reads in self.chain:
            if abs(index) == inf:
                return index
            index = reads.first(int(index))
        return index


@dataclass(frozen=True)
class Clockwork:
    """Everything that says when frames come and go."""

    graph: Graph
    types: Mapping[str, Type]
    timing: Timing
    demand: Mapping[str, Demand]


def infer_held(work: Clockwork, *, step: bool) -> tuple[Held, ...]:
    """What is held, value by value; `step` chooses which of the two figures."""
    ends = boundaries(work, step)
    found = []
    for (path, kind), readers in edges(work).items():
        frames = _most_held(work, path, readers, ends)
        if frames:
            found.append(_held(work, path, kind, frames, readers))
    return tuple(found)


def _held(work: Clockwork, path: str, kind: str, frames: Index, readers: list[Edge]) -> Held:
    names = tuple(dict.fromkeys(edge.reader for edge in readers))
    if frames == inf:
        return Held(path, kind, None, None, names)
    each = work.types[path].size * inner_steps(work.types[path].clock)
    return Held(path, kind, int(frames), int(frames) * each, names)


def edges(work: Clockwork) -> dict[tuple[str, str], list[Edge]]:
    """Each computed value, by kind of buffer, with its readers: looking through views."""
    cycle_of = {path: n for n, cycle in enumerate(work.graph.cycles) for path in cycle}
    found: dict[tuple[str, str], list[Edge]] = {}
    for path in work.graph.nodes:
        if work.demand[path] == NEVER or is_view(work, path):
            continue
        for source, chain in _sources(work, path):
            own = source in cycle_of and cycle_of[source] == cycle_of.get(path)
            kind = "recurrent" if own else "history"
            wanted = reduce(read_by, chain, work.demand[path])
            found.setdefault((source, kind), []).append(Edge(path, chain, wanted))
    return found


def is_view(work: Clockwork, path: str) -> bool:
    return work.graph[path].op in VIEWS and path not in work.graph.outputs.values()


def _sources(work: Clockwork, path: str) -> Iterator[tuple[str, tuple[Reads, ...]]]:
    """The computed values behind a value, each with the reads on the way through views."""
    todo = [*_inputs(work, path, ())]
    while todo:
        source, chain = todo.pop()
        if is_view(work, source):
            todo += _inputs(work, source, chain)
        else:
            yield source, chain


def _inputs(
    work: Clockwork, path: str, chain: tuple[Reads, ...]
) -> list[tuple[str, tuple[Reads, ...]]]:
    """The inputs on a timeline, last one first, with the reads on the way so far."""
    found = []
    for slot, source in enumerate(work.graph[path].inputs):
        reads = work.timing.reads.at(path, slot)
        if reads is not None and source in work.timing.needs:
            taps = reads.taps()
            found += [(source, chain if tap is SAME else (*chain, tap)) for tap in taps]
    return found[::-1]


def boundaries(work: Clockwork, step: bool, quanta: int = 1) -> dict[str, tuple[int, int]]:
    """For each timeline the offset and spacing, in ticks, of the instants between steps; a step
    of the frames may take several quanta."""
    frames, labels = _periods(work, "frames"), _periods(work, "labels")
    computed = [period for path, period in frames.items() if _is_computed(work, path)]
    found = {"labels": (0, next(iter(labels.values())))} if labels else {}
    if computed:
        spacing = quanta * step_quantum(work) if step else gcd(*computed)
        found["frames"] = (_offset(work, spacing), spacing)
    return found


def _periods(work: Clockwork, line: str) -> dict[str, int]:
    """The periods of the demanded values of one timeline."""
    return {
        path: need.period
        for path, need in work.timing.needs.items()
        if timeline(work.types[path]) == line and work.demand[path] != NEVER
    }


def _is_computed(work: Clockwork, path: str) -> bool:
    return work.graph[path].op != "input" and not is_view(work, path)


def step_quantum(work: Clockwork) -> int:
    """The hyperperiod of all frames and chunks, in ticks."""
    live = (node for node in work.graph if work.demand[node.path] != NEVER)
    chunks = [node.attrs["chunk"] for node in live if _is_chunked(node)]
    lengths = [int(c.value / work.timing.tick) for c in chunks if isinstance(c, Quantity)]
    return lcm(*_periods(work, "frames").values(), *lengths)


def _is_chunked(node: Node) -> bool:
    return node.attrs.get("mask") == "chunk" or bool(node.attrs.get("in_chunk"))


def _offset(work: Clockwork, spacing: int) -> int:
    """Steps end when the slowest output completes a frame: audio overhang included."""
    delays = [
        need.delays[-1]
        for path in work.graph.outputs.values()
        if (need := work.timing.needs.get(path)) and timeline(work.types[path]) == "frames"
    ]
    finite = [int(d) for d in delays if d < inf]
    return max(finite, default=0) % spacing


def _most_held(
    work: Clockwork, path: str, readers: list[Edge], ends: dict[str, tuple[int, int]]
) -> Index:
    need = work.timing.needs[path]
    active = [e for e in readers if e.chain or work.timing.needs[e.reader] != need]
    active = [e for e in active if e.reader in work.timing.needs]
    line = timeline(work.types[path])
    if not active or line not in ends:
        return 0
    if any(work.timing.needs[e.reader].worst == inf for e in active):
        return inf
    offset, spacing = ends[line]
    cycle = _local_cycle(work, need, active, spacing)
    base = cycle * 10**4  # far from the left edge, where every read frame exists
    count = cycle // spacing
    if count > MAX_PHASES:
        raise AsrcError(too_many_phases(work.graph[path]))
    return max(_held_at(work, path, active, base + offset + n * spacing) for n in range(count))


def _local_cycle(work: Clockwork, need: Need, readers: list[Edge], spacing: int) -> int:
    """After how many ticks the comings and goings around one value repeat."""
    spans = [spacing, need.period * len(need.delays)]
    for edge in readers:
        reader = work.timing.needs[edge.reader]
        frames = lcm(len(reader.delays), len(work.demand[edge.reader]))
        for reads in edge.chain:
            frames = lcm(frames, reads.cycle[0])
        spans.append(reader.period * frames)
    return lcm(*spans)


def _held_at(work: Clockwork, path: str, readers: list[Edge], instant: int) -> Index:
    """How many frames of `path` are computed by `instant` and still to be read.

    From the first frame that an edge has yet to read, all frames in its phases are to be read.
    """
    starts = [(e.first(next_frame(work, e.reader, instant)), e.wanted) for e in readers]
    starts.sort(key=itemgetter(0))
    if starts[0][0] == -inf:
        return inf
    end = next_ready(work.timing.needs[path], instant)
    held, wanted = 0, NEVER
    for (first, phases), (stop, _) in pairwise([*starts, (end, NEVER)]):
        wanted = union(wanted, phases)
        held += _demanded(wanted, int(first), min(int(stop), end) - 1)
    return held


def _demanded(demand: Demand, first: int, last: int) -> int:
    """How many of the frames `first..last` are demanded."""
    whole, rest = divmod(max(0, last - first + 1), len(demand))
    return whole * sum(demand) + sum(demand[(first + k) % len(demand)] for k in range(rest))


def next_ready(need: Need, instant: int) -> int:
    """The first frame that is not ready at `instant`."""
    i = (instant - int(need.worst)) // need.period - 1
    while need.ready(i) <= instant:
        i += 1
    return i


def next_frame(work: Clockwork, path: str, instant: int) -> int:
    """The first demanded frame of `path` that is computed after `instant`."""
    demand = work.demand[path]
    i = next_ready(work.timing.needs[path], instant)
    while not demand[i % len(demand)]:
        i += 1
    return i


def bits_held(held: Iterable[Held], bits: Callable[[str], int]) -> Fraction | None:
    """The size of the held frames in bits, `None` when it keeps growing."""
    total = 0
    for entry in held:
        if entry.values is None:
            return None
        total += entry.values * bits(entry.path)
    return Fraction(total)
