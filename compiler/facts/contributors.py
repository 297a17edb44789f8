"""Where look-ahead comes from: the critical path of a value, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import inf

from ..graph import Graph
from .need import Timing


@dataclass(frozen=True, slots=True)
class Contribution:
    """One value on the critical path and the seconds that it adds; `None` is without bound."""

    path: str
    seconds: Fraction | None


def contributors(graph: Graph, timing: Timing, path: str) -> list[Contribution]:
    """The values that make up the worst-case look-ahead of `path`, from the output backwards.

    The seconds sum to the look-ahead exactly.
    """
    need = timing.needs.get(path)
    if need is None or need.worst <= 0:
        return []
    if need.worst == inf:
        return _unbounded(graph, timing, path)
    phase = max(range(len(need.delays)), key=need.delays.__getitem__)
    # far enough from the left edge that no index on the path is negative
    return _critical(graph, timing, path, phase + len(need.delays) * 10**6)


def _critical(graph: Graph, timing: Timing, path: str, i: int) -> list[Contribution]:
    found: list[Contribution] = []
    while True:
        end = (i + 1) * timing.needs[path].period
        step = _latest_read(graph, timing, path, i)
        if step is None:
            return found
        source, j = step
        gain = (j + 1) * timing.needs[source].period - end
        if gain:
            found.append(Contribution(path, gain * timing.tick))
        path, i = source, j


def _latest_read(graph: Graph, timing: Timing, path: str, i: int) -> tuple[str, int] | None:
    """The input frame that frame `i` waits for the longest.

    Of inputs that are ready together, one from outside a recurrence: a path round and round the
    loop would be as long, but explain nothing.
    """
    best: tuple[tuple[float, bool], str, int] | None = None
    for slot, source in enumerate(graph[path].inputs):
        reads, need = timing.reads.at(path, slot), timing.needs.get(source)
        if reads is None or need is None:
            continue
        j = int(reads.last(i))
        wait = need.ready(j), source not in graph.looped
        if best is None or wait > best[0]:
            best = (wait, source, j)
    return None if best is None else best[1:]


def _unbounded(graph: Graph, timing: Timing, path: str) -> list[Contribution]:
    """The values where an unbounded wait begins."""
    found, behind = [], graph.ancestors([path])
    for name in (name for name in graph.nodes if name in behind):
        need = timing.needs.get(name)
        if need is None or need.worst < inf:
            continue
        sources = (timing.needs.get(s) for s in graph[name].inputs)
        if all(s is None or s.worst < inf for s in sources):
            found.append(Contribution(name, None))
    return found
