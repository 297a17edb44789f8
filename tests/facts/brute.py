"""The facts again, by counting frames one by one. Nothing here comes from `compiler/facts`.

Time is a whole number of units since the start of the audio, and frame `i` of a value ends at
`(i + 1) * period`. The stretch that is measured, `[begin, begin + hyper)`, lies so far from the
start that every frame read there exists.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cached_property
from math import gcd, inf, lcm
from typing import cast

import networkx as nx

from asrc.compiler.graph import Attr, Graph, Node
from asrc.compiler.types import Stream, Type
from asrc.compiler.units import Quantity

LOOKS_AT = ("delay", "ahead", "window", "stride", "upsample", "flatten", "dropout")
TIMELESS = ("weight", "constant", "positions", "mean", "max")
Instant = int | float
Frame = tuple[str, int]
Buffer = tuple[str, str]
Life = tuple[Instant, Instant]


class Brute:
    """One network under one of the two models: `chunked` frames wait for their chunk to fill.

    With `quick`, a switch waits for its quicker branch only. With `patient`, a frame made of the
    past alone is computed at its own turn: a recurrence makes all its frames `i` at once, when
    everything that enters it is there.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        chunked: bool = True,
        quick: bool = False,
        patient: bool = False,
    ) -> None:
        self.graph, self.chunked, self.quick, self.patient = graph, chunked, quick, patient
        groups = nx.strongly_connected_components(graph.network)
        self.loop = {path: group for group in groups if len(group) > 1 for path in group}
        periods = {n.path: p for n in graph if (p := self._seconds(n, frozenset())) is not None}
        lengths = [c.value for n in graph if isinstance(c := n.attrs.get("chunk"), Quantity)]
        self.per_second = lcm(*(x.denominator for x in (*periods.values(), *lengths)))
        self.period = {path: int(p * self.per_second) for path, p in periods.items()}
        self.hyper = lcm(*self.period.values(), *(int(c * self.per_second) for c in lengths))
        self.counts = {n.path: self._in_frames(n) for n in graph if n.path in self.period}
        reach = self._longest_reach()
        self.begin = (reach // self.hyper + 1) * self.hyper
        self.end = self.begin + self.hyper + reach
        self._reads: dict[tuple[str, int], list[list[int]]] = {}
        self._ready: dict[str, list[Instant]] = {path: [] for path in self.period}

    # --- frames ---

    def _seconds(self, node: Node, seen: frozenset[str]) -> Fraction | None:
        """The period of a value in seconds, `None` for what has no frames."""
        if node.op == "input":
            return cast(Stream, cast(Type, node.attrs["type"]).clock).period
        if node.op == "logmel":
            return cast(Quantity, node.attrs["hop"]).value
        if node.op in TIMELESS or node.path in seen:
            return None
        behind = (self._seconds(self.graph[p], seen | {node.path}) for p in node.inputs)
        period = next((p for p in behind if p is not None), None)
        factor = cast(int, node.attrs.get("factor", 1))
        if period is None or node.op not in ("stride", "upsample"):
            return period
        return period * factor if node.op == "stride" else period / factor

    def _in_frames(self, node: Node) -> dict[str, Attr]:
        """A node's options with times as counts of its input's frames."""
        period = self.period[next((p for p in node.inputs if p in self.period), node.path)]

        def count(value: Attr) -> Attr:
            if isinstance(value, Quantity):
                return int(value.value * self.per_second / period)
            return value

        return {name: count(value) for name, value in node.attrs.items()}

    def _longest_reach(self) -> int:
        """A bound on how far back or forward any path through the network reads, in units."""
        folded = nx.condensation(self.graph.network)
        far: dict[int, int] = {}
        for part in nx.topological_sort(folded):
            own = sum(self._reach(self.graph[p]) for p in folded.nodes[part]["members"])
            far[part] = own + max((far[p] for p in folded.predecessors(part)), default=0)
        return max(far.values())

    def _reach(self, node: Node) -> int:
        """A bound on how far back or forward one operator reads, in units."""
        counts = self.counts.get(node.path, {})
        by = cast(int, counts.get("by", 1))
        frames = [counts.get(name) or 0 for name in ("frames", "factor", "left", "right", "chunk")]
        frames += [by * cast(int, counts.get(name, 0)) for name in ("past", "future")]
        window = cast(int, counts.get("window", 0)) * min(self.period.values())
        return window + self.period.get(node.path, 0) * sum(abs(cast(int, n)) for n in frames)

    def frames(self, path: str) -> range:
        """The frames of a value that end within the measured stretch."""
        period = self.period[path]
        return range(self.begin // period, (self.begin + self.hyper) // period)

    # --- who reads whom ---

    def reads(self, path: str, i: int) -> list[list[int]]:
        """For each input the frames that frame `i` reads; none before the start of the audio."""
        key = path, i
        if key not in self._reads:
            node = self.graph[path]
            self._reads[key] = [
                [j for j in self._pattern(node, slot, i) if j >= 0] if x in self.period else []
                for slot, x in enumerate(node.inputs)
            ]
        return self._reads[key]

    def _pattern(self, node: Node, slot: int, i: int) -> Iterable[int]:
        counts = self.counts[node.path]
        n = cast(int, counts.get("frames", counts.get("factor", 0)))
        match node.op:
            case "delay":
                return [i - n]
            case "ahead":
                return [i + n]
            case "stride":
                return [n * i + n - 1]
            case "upsample":
                return [i // n]
            case "window":
                return self._taps(counts, i)
            case "logmel":
                hop = cast(int, counts["hop"])
                return range(hop * i, hop * i + cast(int, counts["window"]))
            case "attend" if slot in (1, 2):
                return self._keys(counts, self.period[node.path], i)
        return [i]

    def _taps(self, counts: dict[str, Attr], i: int) -> list[int]:
        past, future, by = (cast(int, counts[n]) for n in ("past", "future", "by"))
        taps = [i + m * by for m in range(-past, future + 1)]
        chunk = counts["chunk"] if counts["in_chunk"] else None
        if not isinstance(chunk, int):
            return taps
        last = (i // chunk + 1) * chunk - 1 if self.chunked else i
        return [j for j in taps if j <= last]

    def _keys(self, counts: dict[str, Attr], period: int, i: int) -> range:
        """A context without bound is cut off here; `held` knows about it."""
        left, right, chunk = (cast("int | None", counts[n]) for n in ("left", "right", "chunk"))
        first, last = i, i
        if counts["mask"] == "full":
            return range(self.end // period)
        if counts["mask"] == "limited":
            last = i + (right or 0)
        if chunk is not None and self.chunked:
            first, last = i // chunk * chunk, (i // chunk + 1) * chunk - 1
        return range(first - (self.hyper // period if left is None else left), last + 1)

    # --- when ---

    def ready(self, path: str, i: int) -> Instant:
        """The audio time at which frame `i` is computed, from all that it reads."""
        known = self._ready[path]
        while len(known) <= i:
            known.append(self._compute(self.graph[path], len(known)))
        return known[i]

    def _compute(self, node: Node, i: int) -> Instant:
        if node.op == "input":
            return (i + 1) * self.period[node.path]
        if node.op == "attend" and node.attrs["mask"] == "full":
            return inf
        if self.patient and node.path in self.loop:
            return max(self._entering(self.loop[node.path], i))
        if self.patient and self._looks_back(node):
            return self.ready(node.inputs[0], i)
        inputs = zip(node.inputs, self.reads(node.path, i), strict=True)
        waits = [self._wait(source, read) for source, read in inputs]
        if node.op == "switch" and self.quick:
            waits[1:] = [min(waits[1:])]
        if node.attrs.get("in_chunk"):  # frames come in order, and not before their own place
            waits += [self.ready(node.path, i - 1) if i else -inf, self.ready(node.inputs[0], i)]
        return max(waits)

    def _entering(self, loop: set[str], i: int) -> Iterator[Instant]:
        """When the frames from outside that frame `i` of a recurrence reads are there."""
        for path in loop:
            sources = self.graph[path].inputs
            for source, read in zip(sources, self.reads(path, i), strict=True):
                if source not in loop and not self._looks_back(self.graph[path]):
                    yield self._wait(source, read)

    def _looks_back(self, node: Node) -> bool:
        future = node.attrs.get("future", 0)
        return node.op == "delay" or (node.op == "window" and cast(int, future) < 0)

    def _wait(self, source: str, read: list[int]) -> Instant:
        if source in self.period and read:
            self.ready(source, read[-1])
            return max(self._ready[source][j] for j in read)
        return inf if self.graph[source].op in ("mean", "max") else -inf

    def lookahead(self, path: str) -> Fraction | None:
        """Seconds from the end of a frame until it is computed, at worst; `None`: unbounded."""
        waits = [self.ready(path, i) - (i + 1) * self.period[path] for i in self.frames(path)]
        return None if max(waits) == inf else Fraction(int(max(0, *waits)), self.per_second)

    # --- who is needed ---

    @cached_property
    def demanded(self) -> set[Frame]:
        """Frames that the outputs need, marked backwards from well after the stretch."""
        roots = (path for path in self.graph.outputs.values() if path in self.period)
        found = {frame for path in roots for frame in self._all(path)}
        todo = list(found)
        while todo:
            fresh = [f for f in self._sources(*todo.pop()) if f not in found]
            found.update(fresh)
            todo += fresh
        return found

    def _all(self, path: str) -> Iterator[Frame]:
        return ((path, i) for i in range(self.end // self.period[path]))

    def _sources(self, path: str, i: int) -> Iterator[Frame]:
        for source, read in zip(self.graph[path].inputs, self.reads(path, i), strict=True):
            if source not in self.period:
                for averaged in self._behind(source):
                    yield from self._all(averaged)
            for j in read:
                yield source, j

    def _behind(self, path: str) -> Iterator[str]:
        """The streams that a value without frames is made from."""
        for source in self.graph[path].inputs:
            yield from [source] if source in self.period else self._behind(source)

    # --- what is held ---

    @cached_property
    def computed(self) -> set[str]:
        """Values with frames of their own: all but views of other values' frames."""
        shown = self.graph.outputs.values()
        return {n.path for n in self.graph if n.op not in LOOKS_AT or n.path in shown}

    def held(self) -> dict[Buffer, int | None]:
        """The most frames of each value that lie between two steps; `None` if they pile up.

        What a recurrence reads of itself counts apart, as `recurrent`; other readers share
        `history`. Values that are not computed before the stream ends are left out.
        """
        instants = self._instants()
        return {buffer: _most_alive(lives, instants) for buffer, lives in self._lives().items()}

    def _lives(self) -> dict[Buffer, list[Life]]:
        """For each frame still to be read, when it is computed and when its last reader is."""
        ends: dict[Buffer, dict[int, Instant]] = {}
        for path, i in self.demanded:
            if path in self.computed and (end := self.ready(path, i)) > self.begin:
                for source, j in self._looked_at(path, i):
                    life = ends.setdefault((source, self._kind(source, path)), {})
                    life[j] = max(life.get(j, -inf), end)
        for endless in self._endless & ends.keys():
            ends[endless] = dict.fromkeys(ends[endless], inf)
        return {
            buffer: [(self.ready(buffer[0], j), end) for j, end in life.items()]
            for buffer, life in ends.items()
            if self.ready(buffer[0], self.frames(buffer[0])[0]) < inf
        }

    def _kind(self, source: str, reader: str) -> str:
        return "recurrent" if reader in self._before[source] else "history"

    @cached_property
    def _before(self) -> dict[str, set[str]]:
        """What each value depends on."""
        return {path: self.graph.ancestors([path]) for path in self.graph.nodes}

    def _looked_at(self, path: str, i: int) -> Iterator[Frame]:
        """The computed frames that a frame reads, through any views."""
        for source, read in zip(self.graph[path].inputs, self.reads(path, i), strict=True):
            for j in read:
                if source in self.computed:
                    yield source, j
                else:
                    yield from self._looked_at(source, j)

    @cached_property
    def _endless(self) -> set[Buffer]:
        """Values of which an attention keeps everything."""
        found: set[Buffer] = set()
        for node in map(self.graph.__getitem__, {path for path, _ in self.demanded}):
            if node.op == "attend" and node.attrs["left"] is None and node.attrs["mask"] != "full":
                for source in node.inputs[1:3]:
                    while source not in self.computed:
                        source = self.graph[source].inputs[0]
                    found.add((source, "history"))
        return found

    @cached_property
    def step(self) -> int:
        """Units between two boundaries; zero where nothing is computed."""
        live = {path for path, _ in self.demanded}
        made = [self.period[p] for p in live & self.computed if self.graph[p].op != "input"]
        spans = [self.period[p] * cast(int, self.counts[p].get("chunk") or 1) for p in live]
        return lcm(*spans) if self.chunked and made else gcd(*made)

    def _instants(self) -> range:
        """The boundaries between steps within the measured stretch."""
        if not self.step:
            return range(0)
        outputs = [path for path in self.graph.outputs.values() if path in self.period]
        ends = [self.ready(path, self.frames(path)[-1]) for path in outputs]
        late = max((int(e) for e in ends if e < inf), default=0) % self.step
        return range(self.begin + late, self.begin + late + self.hyper, self.step)


def _most_alive(lives: list[Life], instants: range) -> int | None:
    """The most lives that an instant cuts; the instant of birth counts, that of death does not."""
    kept = [(birth, death) for birth, death in lives if birth < death]
    if any(death == inf for _, death in kept):
        return None
    births, deaths = sorted(b for b, _ in kept), sorted(d for _, d in kept)
    return max((bisect_right(births, t) - bisect_right(deaths, t) for t in instants), default=0)
