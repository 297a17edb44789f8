"""Demand: which frames of a value anybody reads.

`stride` drops frames, so what stands before it need not be computed for them (a strided
convolution is a window, a convolution and a stride). Demand runs backwards from the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import inf, lcm

from ..graph import Graph
from .need import MAX_PHASES, Timing, shortest_cycle
from .reads import SAME, Reads
from .waves import settle

Demand = tuple[bool, ...]
"""One flag for each phase of a cycle of frames."""

ALL: Demand = (True,)
NEVER: Demand = (False,)


def infer_demand(graph: Graph, timing: Timing) -> Mapping[str, Demand]:
    """The demanded phases of every value. Outputs are demanded; losses exist in training only."""
    roots = {*graph.outputs.values()}
    demand: dict[str, Demand] = {p: ALL if p in roots else NEVER for p in graph.nodes}
    settle(graph, lambda path: _push(graph, timing, demand, path), backwards=True)
    return demand


def _push(graph: Graph, timing: Timing, demand: dict[str, Demand], path: str) -> bool:
    """Demand of `path` reaches its inputs; whether any of theirs grew."""
    if demand[path] == NEVER:
        return False
    grew = False
    for slot, source in enumerate(graph[path].inputs):
        reads = timing.reads.at(path, slot)
        wanted = ALL if reads is None else read_by(demand[path], reads)
        merged = union(demand[source], wanted)
        grew |= merged != demand[source]
        demand[source] = merged
    return grew


def read_by(wanted: Demand, reads: Reads) -> Demand:
    """The phases of a source that are read by the wanted phases of its reader."""
    if reads is SAME:
        return wanted
    frames = lcm(len(wanted), reads.cycle[0])
    width = frames // reads.cycle[0] * reads.cycle[1]
    if width > MAX_PHASES:
        return ALL
    marked = [False] * width
    for i in range(frames):
        if wanted[i % len(wanted)] and not _mark(marked, reads, i):
            return ALL
    return shortest_cycle(tuple(marked))


def _mark(marked: list[bool], reads: Reads, i: int) -> bool:
    """Mark what frame `i` reads; false when that is everything."""
    first, last = reads.first(i), reads.last(i)
    width = len(marked)
    if last - first == inf or (reads.step == 1 and last - first + 1 >= width):
        return False
    for j in range(int(first), int(last) + 1, reads.step):
        marked[j % width] = True
    return True


def union(left: Demand, right: Demand) -> Demand:
    """The phases in either."""
    if left in (right, ALL) or right == NEVER:
        return left
    if left == NEVER or right == ALL:
        return right
    count = lcm(len(left), len(right))
    if count > MAX_PHASES:
        return ALL
    pairs = (left[i % len(left)] or right[i % len(right)] for i in range(count))
    return shortest_cycle(tuple(pairs))


def demanded_share(demand: Demand) -> Fraction:
    """The share of frames that are read."""
    return Fraction(sum(demand), len(demand))
