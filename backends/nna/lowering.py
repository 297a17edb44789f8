"""What a part of a graph has become so far: frames, states, flags, tensors by value.

Views (windows, strides, shifts) make no operators: a reader takes the frames that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...compiler.facts import Facts
from ...compiler.facts.reads import timeline
from ...compiler.facts.schedule import Schedule
from ...compiler.graph import Node
from .build import ONE, Builder
from .filters import Filter
from .formats import Code
from .program import Array

Frames = tuple[int, ...]


@dataclass(frozen=True)
class Timeline:
    """Which frames of each value a step makes, by how many it moves on, and which are kept.

    `flagged`: frames may lie outside of the utterance.
    """

    frames: Mapping[str, Frames]
    count: Mapping[str, int]
    buffers: Mapping[str, Frames]
    flagged: bool = False


def scheduled(facts: Facts, schedule: Schedule, flagged: bool = False) -> Timeline:
    """The timeline of a step of a schedule. What has none has one frame, or one a distance."""
    lines = schedule.lines.items()
    frames = {path: line.demanded(line.start, line.start + line.count) for path, line in lines}
    still = {path: (0,) for path, kind in facts.types.items() if timeline(kind) is None}
    return Timeline(
        {**still, **distances(facts, frames), **frames},
        {path: line.count for path, line in lines},
        {buffer.path: buffer.frames for buffer in schedule.buffers},
        flagged,
    )


@dataclass(frozen=True, slots=True)
class Sight:
    """The keys that a step's queries read, and from which to which of them each query sees."""

    queries: Frames
    keys: Frames
    seen: tuple[tuple[int, int], ...]

    @property
    def distances(self) -> Frames:
        """From every query to every key, rising."""
        least, most = self.queries[0] - self.keys[-1], self.queries[-1] - self.keys[0]
        return tuple(range(least, most + 1))


def sight(facts: Facts, path: str, queries: Frames) -> Sight:
    """What an attention reads for these queries, which follow each other."""
    reads = facts.timing.reads.at(path, 1)
    assert reads is not None
    spans = [(int(reads.first(i)), int(reads.last(i))) for i in queries]
    first, last = min(a for a, _ in spans), max(b for _, b in spans)
    keys = tuple(range(first, last + 1))
    return Sight(queries, keys, tuple((a - first, b - first) for a, b in spans))


def distances(facts: Facts, frames: Mapping[str, Frames]) -> dict[str, Frames]:
    """Of values over relative positions, the distances that the attentions of a step meet."""
    found: dict[str, Frames] = {}
    for node in facts.graph:
        if node.op == "attend" and len(node.inputs) == 5 and frames.get(node.path):
            mine = sight(facts, node.path, frames[node.path]).distances
            for path in facts.graph.ancestors([node.inputs[4]]):
                ends = (*found.get(path, mine), *mine)
                found[path] = tuple(range(min(ends), max(ends) + 1))
    return found


def at_once(paths: Iterable[str]) -> Timeline:
    """One frame of each value and nothing kept: a joint."""
    frames = dict.fromkeys(paths, (0,))
    return Timeline(frames, dict.fromkeys(frames, 1), {})


@dataclass(frozen=True, slots=True)
class Flag:
    """An input that says which frames of a value are within the utterance: the code of those that
    are not, and of those that are."""

    path: str
    frames: Frames
    out: int = 0
    there: int = 1


SEEN = "seen."


@dataclass
class Lowering:
    """Values as tensors `[1, frames, 1, D]`, planes as `[1, frames, bands, channels]`."""

    facts: Facts
    timeline: Timeline
    weights: Mapping[str, Array]
    filters: Mapping[str, Filter]
    codes: Mapping[str, Code]
    build: Builder
    made: dict[str, str] = field(default_factory=dict)
    turns: dict[str, dict[int, str]] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    flags: dict[str, Flag] = field(default_factory=dict)
    joined: dict[str, str] = field(default_factory=dict)

    # --- frames ---

    def frames(self, path: str) -> Frames:
        return self.timeline.frames[path]

    @property
    def buffers(self) -> Mapping[str, Frames]:
        return self.timeline.buffers

    def source(self, path: str, frame: int) -> tuple[str, int]:
        """Whose frame is meant by a frame of a value, views looked through; an input is no view."""
        node = self.facts.graph[path]
        moved = None if path in self.made or path in self.turns else VIEWED.get(node.op)
        return (path, frame) if moved is None else self.source(node.inputs[0], moved(node, frame))

    def take(self, path: str, frames: Sequence[int]) -> str:
        """A tensor of these frames of a value."""
        whole = [self.source(path, frame) for frame in frames]
        (owner,) = {name for name, _ in whole}
        return self._picked(owner, tuple(frame for _, frame in whole))

    def read(self, path: str, frames: Frames) -> tuple[str, list[Frames], int]:
        """Whose frames each frame of a value, or of a window, is made of, and how far apart."""
        node = self.facts.graph[path]
        while node.op in VIEWED and node.path not in self.made and node.path not in self.turns:
            frames = tuple(VIEWED[node.op](node, frame) for frame in frames)
            node = self.facts.graph[node.inputs[0]]
        past, future, by = _taps(node)
        source = node.inputs[0] if node.op == "window" else node.path
        seen = [tuple(frame + by * tap for tap in range(-past, future + 1)) for frame in frames]
        return source, seen, by

    def _flattened(self, path: str, wanted: Frames) -> str:
        """Planes: only a map reads them, and as they are. A window: of each feature its taps."""
        (window,) = self.facts.graph[path].inputs
        if self.facts.types[window].taps is None:
            return self.take(window, wanted)
        source, seen, _ = self.read(window, wanted)
        rows = [self._upright(source, taps) for taps in seen]
        return self.build.concat(path, rows, 1)

    def _upright(self, path: str, taps: Frames) -> str:
        """`[1, 1, 1, D * taps]`."""
        build, width = self.build, self.shape(path)[1]
        columns = [
            build.same("reshape", f"{path}.upright", self.take(path, (tap,)), (1, 1, width, 1))
            for tap in taps
        ]
        both = build.concat(f"{path}.taps", columns, 3)
        return build.same("reshape", f"{path}.row", both, (1, 1, 1, width * len(taps)))

    def _picked(self, path: str, wanted: Frames) -> str:
        """Frames of a value, from what was kept and what is new."""
        if self.facts.graph[path].op == "flatten":
            return self._flattened(path, wanted)
        old = self.buffers.get(path, ()) if path in self.kept else ()
        if path in self.turns:
            parts = [self._of_turn(path, frame, old) for frame in wanted]
            return self.build.concat(f"{path}.frames", parts, 1)
        new = self.frames(path) if path in self.made else ()
        if path in self.made and self.build.is_constant(self.made[path]):
            places = [new.index(frame) for frame in wanted] if len(new) > 1 else [0]
            return self.build.rows(self.made[path], places)
        if set(wanted) <= set(new):
            return self._runs(self.made[path], new, wanted)
        if set(wanted) <= set(old):
            return self._runs(self.kept[path], old, wanted)
        return self._runs(self._both(path), (*old, *new), wanted)

    def _of_turn(self, path: str, frame: int, old: Frames) -> str:
        """A frame of a value of a recurrence that is under way."""
        if frame in self.turns[path]:
            return self.turns[path][frame]
        return self._runs(self.kept[path], old, (frame,))

    def _both(self, path: str) -> str:
        if path not in self.joined:
            name = f"{path}.history"
            self.joined[path] = self.build.concat(name, [self.kept[path], self.made[path]], 1)
        return self.joined[path]

    def _runs(self, tensor: str, have: Frames, wanted: Frames) -> str:
        """By slices, one for each run of places at equal distances."""
        places = [have.index(frame) for frame in wanted]
        parts = [self.build.slice(tensor, 1, *run) for run in runs(places)]
        return self.build.concat(f"{tensor}.frames", parts, 1)

    # --- states ---

    def open(self, path: str) -> None:
        """What was kept of a value comes in."""
        shape = (1, len(self.buffers[path]), *self.shape(path))
        self.kept[path] = self.build.input(f"{path}.state", shape, self.codes[path])

    def close(self, path: str) -> None:
        """The same frames one step later go out."""
        count = self.timeline.count[path]
        after = self._picked(path, tuple(frame + count for frame in self.buffers[path]))
        self.build.states[self.kept[path]] = after
        if after not in self.build.outputs:
            self.build.outputs.append(after)

    def flagged(self, path: str, tensor: str, frames: Frames) -> str:
        """Frames of a value, those outside of the utterance zero."""
        every = self.frames(path)
        kind = self.facts.types[path].clock
        name = f"there.{kind}.{'.'.join(map(str, every))}".replace(" ", "")
        if name not in self.flags:
            self.flags[name] = Flag(path, every)
            self.build.input(name, (1, len(every), 1, 1), ONE)
        flag = self._runs(name, every, frames)
        return self.build.pair("mul", f"{path}.there", tensor, flag, self.build.code(tensor))

    def seen(self, reader: str, path: str, frames: Frames, code: Code) -> str:
        """Which frames of a value an attention may see: the highest code, or the lowest."""
        name = f"{SEEN}{reader}"
        self.flags[name] = Flag(path, frames, -128, 127)
        return self.build.input(name, (1, 1, 1, len(frames)), code)

    # --- values ---

    def shape(self, path: str) -> tuple[int, int]:
        """Bands and channels of a value; a vector is one band of channels."""
        dims = self.facts.types[path].dims
        return (dims[1], dims[0]) if len(dims) == 2 else (1, dims[0])

    def param(self, node: Node, name: str) -> Array:
        return self.weights[f"{node.owner or node.path}.{name}"]

    def filter(self, node: Node) -> Filter:
        return self.filters[node.owner or node.path]


def runs(places: Sequence[int]) -> list[tuple[int, int, int]]:
    """(first, count, distance) of stretches at equal distances, from the left, each to its end."""
    found: list[tuple[int, int, int]] = []
    at = 0
    while at < len(places):
        by = places[at + 1] - places[at] if at + 1 < len(places) else 1
        end = at + 1
        while by > 0 and end < len(places) and places[end] - places[end - 1] == by:
            end += 1
        found.append((places[at], end - at, by if end - at > 1 else 1))
        at = end
    return found


def _number(node: Node, name: str) -> int:
    value = node.attrs[name]
    assert isinstance(value, int)
    return value


def _taps(node: Node) -> tuple[int, int, int]:
    """Taps before and after, and the frames from each to the next."""
    if node.op != "window":
        return 0, 0, 1
    past, future, by = (_number(node, name) for name in ("past", "future", "by"))
    return past, future, by


VIEWED: Mapping[str, Callable[[Node, int], int]] = {
    "delay": lambda node, frame: frame - _number(node, "frames"),
    "ahead": lambda node, frame: frame + _number(node, "frames"),
    "stride": lambda node, frame: (frame + 1) * _number(node, "factor") - 1,
    "upsample": lambda node, frame: frame // _number(node, "factor"),
    "dropout": lambda node, frame: frame,
    "lattice": lambda node, frame: frame,
}
"""The frame of its input that is a frame of a view."""
