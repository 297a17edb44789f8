"""Look-ahead, exactly: when is a frame ready, for every phase of the hyperperiod.

Frame `i` of a value with period `p` ends at `(i + 1) p`; it is ready when the audio up to
`(i + 1) p + delay[i mod H]` has arrived. A value reads frames of its inputs (`reads.py`), so its
ready time is the latest ready time of what it reads. This holds with several chunk sizes,
strides and up-sampling on one path; for a single chunk size it equals the max-plus form
`max over terms of ceil_K(T + ahead) + fixed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, inf, lcm
from typing import TypeVar

from ..diagnostics import AsrcError, Diagnostic, diagnostic
from ..graph import Graph, Node, is_shift
from ..types import Type
from .reads import SAME, Index, Reads, ReadsTable, period_of, timeline
from .waves import settle

MAX_PHASES = 1 << 16
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Need:
    """Delays in ticks for each phase; `period` in ticks. Unbounded delays are `inf`."""

    delays: tuple[Index, ...]
    period: int

    def ready(self, i: Index) -> Index:
        """The audio time, in ticks, at which frame `i` can be computed."""
        if abs(i) == inf:
            return i
        index = int(i)
        return (index + 1) * self.period + self.delays[index % len(self.delays)]

    @property
    def worst(self) -> Index:
        return max(self.delays)


@dataclass(frozen=True)
class Timing:
    """The needs of every value with a timeline, and the length of a tick in seconds."""

    tick: Fraction
    needs: Mapping[str, Need]
    reads: ReadsTable

    def lookahead(self, path: str) -> Fraction | None:
        """Worst-case algorithmic look-ahead in seconds; `None` when it has no bound."""
        need = self.needs.get(path)
        if need is None:
            return Fraction(0)
        return None if need.worst == inf else max(int(need.worst), 0) * self.tick


def infer_timing(
    graph: Graph,
    types: Mapping[str, Type],
    *,
    quantum: bool = True,
    best: bool = False,
    patient: bool = False,
) -> Timing:
    """Needs of all values. With `best`, a switch takes its quicker branch.

    With `patient`, a frame made of the past alone waits for its own turn, as a step machine
    computes it: `dense(h[t-1])` is made in the step of frame `t`, so that `h` is what it carries.
    """
    tick = _tick(types)
    table = ReadsTable(graph, types, quantum=quantum)
    walk = _Walk(graph, types, table, tick, best, patient)
    settle(graph, walk.visit)
    return Timing(tick, walk.needs, table)


def _tick(types: Mapping[str, Type]) -> Fraction:
    """The longest tick of which every period is a whole number."""
    periods = {period_of(kind) for kind in types.values() if timeline(kind)}
    return (
        Fraction(gcd(*(p.numerator for p in periods)) or 1, lcm(*(p.denominator for p in periods)))
        if periods
        else Fraction(1)
    )


class _Walk:
    """Fills in needs in graph order; a recurrence's shift is unknown at the first visit.

    Needs only grow and are bounded by those of the values outside the cycle, so they settle.
    """

    def __init__(
        self,
        graph: Graph,
        types: Mapping[str, Type],
        reads: ReadsTable,
        tick: Fraction,
        best: bool,
        patient: bool,
    ) -> None:
        self.graph, self.types, self.reads = graph, types, reads
        self.best, self.patient = best, patient
        self.periods = {p: int(period_of(kind) / tick) for p, kind in types.items()}
        self.needs: dict[str, Need] = {}

    def visit(self, path: str) -> bool:
        """Infer one value's need from its inputs' needs; whether it changed."""
        need = self._need(self.graph[path])
        if need is None or need == self.needs.get(path):
            return False
        if len(need.delays) > MAX_PHASES:
            raise AsrcError(too_many_phases(self.graph[path]))
        self.needs[path] = need
        return True

    def _need(self, node: Node) -> Need | None:
        period = self.periods[node.path]
        if timeline(self.types[node.path]) is None:
            return Need((inf,), period) if self._waits_for_all(node) else None
        if node.op == "input":
            return Need((0,), period)
        parts = list(self._parts(node, period))
        if self.best and node.op == "switch" and len(parts) == 3:
            return join((parts[0], best_of(parts[1], parts[2])))
        return join(parts) if parts else self.needs.get(node.path)

    def _parts(self, node: Node, period: int) -> Iterator[Need]:
        for slot, source in enumerate(node.inputs):
            need, reads = self.needs.get(source), self.reads.at(node.path, slot)
            if need is None:
                continue
            if reads is None:
                if need.worst == inf:
                    yield Need((inf,), period)
            elif reads is SAME or (self.patient and _looks_back(node)):
                yield need
            else:
                yield through(need, reads, period)

    def _waits_for_all(self, node: Node) -> bool:
        """A static value made from a whole stream: nothing downstream can start early."""
        if any(self.needs.get(s, _NONE).worst == inf for s in node.inputs):
            return True
        return node.op in ("mean", "max") and timeline(self.types[node.inputs[0]]) == "frames"


_NONE = Need((0,), 1)


def _looks_back(node: Node) -> bool:
    return is_shift(node) and node.op != "ahead"


def through(need: Need, reads: Reads, period: int) -> Need:
    """The need of frames that read a source in a pattern."""
    if need.worst == inf or reads.last(0) == inf:
        return Need((inf,), period)
    count = cycle_length(len(need.delays), reads)
    if count > MAX_PHASES:
        return Need((0,) * (MAX_PHASES + 1), period)
    delays = tuple(need.ready(reads.last(i)) - (i + 1) * period for i in range(count))
    return Need(shortest_cycle(delays), period)


def cycle_length(source_phases: int, reads: Reads) -> int:
    """After how many frames both the pattern and the source's phases repeat."""
    return reads.cycle[0] * (lcm(source_phases, reads.cycle[1]) // reads.cycle[1])


def join(needs: list[Need] | tuple[Need, ...]) -> Need:
    """Ready when the last of several inputs is."""
    first = needs[0]
    rest = [n for n in needs[1:] if n is not first and n != first]
    if not rest:
        return first
    return _combine([first, *rest], max)


def best_of(left: Need, right: Need) -> Need:
    """Ready when the first of two inputs is, phase by phase."""
    return _combine([left, right], min)


def _combine(needs: list[Need], pick: Callable[[Iterable[Index]], Index]) -> Need:
    count = lcm(*(len(n.delays) for n in needs))
    if count > MAX_PHASES:
        return Need((0,) * (MAX_PHASES + 1), needs[0].period)
    delays = (pick(n.delays[i % len(n.delays)] for n in needs) for i in range(count))
    return Need(shortest_cycle(tuple(delays)), needs[0].period)


def shortest_cycle(values: tuple[T, ...]) -> tuple[T, ...]:
    """The shortest prefix whose repetition gives `values`."""
    count = len(values)
    for length in range(1, count // 2 + 1):
        if count % length == 0 and values[:length] * (count // length) == values:
            return values[:length]
    return values


def too_many_phases(node: Node) -> Diagnostic:
    """Chunks and strides whose hyperperiod is out of hand."""
    return diagnostic(
        "E0006",
        f"the chunks and strides on the way to `{node.path}` line up only after more than"
        f" {MAX_PHASES} frames",
        node.span,
        help="choose chunk sizes of which one divides the other",
    )
