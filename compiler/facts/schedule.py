"""The schedule of a stream's steps: which frames each step computes, and which it keeps.

A step takes the hyperperiod of all strides and chunks, or the multiple of it that the graph is
marked with (`stream(step=...)`). Step `n` computes the frames
`[start + n * count, start + (n + 1) * count)` of every value, of which only the demanded ones. The
first step ends where the slowest output completes a frame, so that a log-mel window's overhang
delays nothing else. Between two steps the frames of a buffer are kept: those that readers of
later steps still need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf, lcm

from ..diagnostics import AsrcError, Diagnostic, diagnostic
from ..types import Lattice, base_clock
from ..units import format_time
from .demand import NEVER, Demand
from .need import Need
from .reads import timeline
from .state import Clockwork, Edge, boundaries, edges, next_frame, next_ready, step_quantum


def demanded(wanted: Demand, first: int, end: int) -> Iterator[int]:
    """The frames of `first .. end - 1` in the wanted phases."""
    return (i for i in range(first, end) if wanted[i % len(wanted)])


@dataclass(frozen=True, slots=True)
class Line:
    """Frames `start + n * count ..` of a value are made in step `n`, where `wanted` says so."""

    start: int
    count: int
    wanted: Demand

    def frames(self) -> tuple[int, ...]:
        """The frames of step 0."""
        return self.demanded(self.start, self.start + self.count)

    def demanded(self, first: int, end: int) -> tuple[int, ...]:
        """Those of `first .. end - 1` that anybody reads."""
        return tuple(demanded(self.wanted, first, end))


@dataclass(frozen=True, slots=True)
class Buffer:
    """Frames of a value that a step carries; `frames` as they stand before step 0.

    `kind` is `recurrent` for what a cycle reads of itself, else `history`.
    """

    path: str
    kind: str
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Schedule:
    """The steps of one timeline. `seconds` is how much audio a step takes; a step of the labels
    is one label, which takes none."""

    seconds: Fraction
    lines: Mapping[str, Line]
    buffers: tuple[Buffer, ...]


def infer_schedule(work: Clockwork, line: str = "frames") -> Schedule:
    """How the `frames` or the `labels` of a graph run step by step.

    Raises AsrcError E0303 where an output waits for the end of the utterance, E0404 where what
    must be kept grows with the stream, E0805 where the graph's step is no multiple of the quantum.
    """
    found = _endless(work, line)
    if found:
        raise AsrcError(*found)
    quanta = quanta_in_step(work) if line == "frames" else 1
    offset, size = boundaries(work, True, quanta).get(line, (0, 1))
    end = offset or size
    lines = {
        path: _line(work, path, end, size)
        for path in work.graph.nodes
        if timeline(work.types[path]) == line
        and path in work.timing.needs
        and work.demand[path] != NEVER
    }
    buffers = [
        _buffer(work, lines, key, readers, end, size)
        for key, readers in edges(work).items()
        if key[0] in lines
    ]
    seconds = quanta * step_quantum(work) * work.timing.tick if line == "frames" else Fraction(0)
    return Schedule(seconds, lines, tuple(b for b in buffers if b.frames))


def quanta_in_step(work: Clockwork) -> int:
    """How many quanta a step takes. Raises AsrcError E0805 where that is no whole number."""
    step, quantum = work.graph.step, step_quantum(work) * work.timing.tick
    if step is None:
        return 1
    quanta = step / quantum
    if quanta.denominator > 1:
        texts = format_time(step), format_time(quantum)
        message = "a step of {} is no multiple of {}, after which strides and chunks line up"
        help = f"such as `step={format_time(ceil(quanta) * quantum)}`"
        raise AsrcError(diagnostic("E0805", message.format(*texts), help=help))
    return int(quanta)


def _endless(work: Clockwork, line: str) -> list[Diagnostic]:
    """Outputs that no step can make."""
    return [
        diagnostic(
            "E0303",
            f"`{name}` cannot be streamed: it waits for the end of the utterance",
            work.graph[path].span,
            help=_SOONER[timeline(work.types[path]) is None],
        )
        for name, path in work.graph.outputs.items()
        if _runs_on(work, path, line) and _waits(work, path)
    ]


_SOONER = {
    False: "mask attention first, such as `mask(encoder, chunk=320ms, left=2560ms)`",
    True: "the mean of all frames so far has frames of its own: `RunningMean` in `std.conv`",
}


def _runs_on(work: Clockwork, path: str, line: str) -> bool:
    """Whether a value has frames on a timeline, or is made of all of them."""
    own = timeline(work.types[path])
    if own is not None:
        return own == line and not isinstance(base_clock(work.types[path].clock), Lattice)
    return any(timeline(work.types[p]) == line for p in work.graph.ancestors([path]))


def _waits(work: Clockwork, path: str) -> bool:
    need = work.timing.needs.get(path)
    return need is not None and need.worst == inf


def _line(work: Clockwork, path: str, end: int, spacing: int) -> Line:
    need = work.timing.needs[path]
    base = _far(need, spacing)
    count = spacing // need.period
    start = next_ready(need, base + end) - base // need.period - count
    return Line(start, count, work.demand[path])


def _far(need: Need, spacing: int) -> int:
    """An instant between steps, far from the left edge, where every phase begins anew."""
    return lcm(spacing, need.period * len(need.delays)) * 10**4


def _buffer(
    work: Clockwork,
    lines: Mapping[str, Line],
    key: tuple[str, str],
    readers: list[Edge],
    end: int,
    spacing: int,
) -> Buffer:
    """The frames up to the last computed that a later step reads."""
    path, kind = key
    need, line = work.timing.needs[path], lines[path]
    mine = [e for e in readers if e.reader in lines]
    base = _far(need, lcm(spacing, *(_span(work, e.reader) for e in mine)))
    at = base + end
    firsts = [(e.first(next_frame(work, e.reader, at)), e.wanted) for e in mine]
    if any(first == -inf for first, _ in firsts):
        raise AsrcError(_growing(work, path))
    stop = base // need.period + line.start + line.count
    kept = {i for first, wanted in firsts for i in demanded(wanted, int(first), stop)}
    shift = base // need.period + line.count
    return Buffer(path, kind, tuple(i - shift for i in sorted(kept)))


def _span(work: Clockwork, path: str) -> int:
    """Ticks after which the phases of a value repeat."""
    need = work.timing.needs[path]
    return need.period * lcm(len(need.delays), len(work.demand[path]))


def _growing(work: Clockwork, path: str) -> Diagnostic:
    return diagnostic(
        "E0404",
        f"`{path}` cannot be streamed: what must be kept of it grows with the stream",
        work.graph[path].span,
        help="give attention a left bound, such as `mask(encoder, chunk=320ms, left=2560ms)`",
    )
