"""One step of a stream: the emitter whose state is in its signature.

The schedule says which frames of each value a step makes and which frames it keeps. Everything
is static but the age of each stream in the batch and where it ends, so that every read is a slice
of what was kept and what is new. Values before the start or after the end are absent, as in a
whole utterance: a stream that begins anew needs its age set to zero, nothing else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import cast

import torch
from torch import fx

from ...compiler.facts.reads import timeline
from ...compiler.facts.schedule import Schedule
from ...compiler.graph import Node
from ...compiler.ops import VIEWS
from ...compiler.reference import Loop, index_rank
from ...compiler.reference.value import frame_shape
from ...compiler.types import Stream, Type, base_clock
from . import frame, framewise, inner, stepping
from .emit import Model, Row, Site, There, frames_in, lengthened
from .frames import all_there
from .leaftable import logmel_samples
from .loops import emit_loop, register_type, steps_back
from .match import LstmBody, SumBody
from .offline import Offline
from .parts import Part
from .recurrent import select
from .recurring import Recurring

Frames = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class State:
    """One tensor that a step carries, `[B, frames, *shape]`.

    `kind` is `recurrent` or `history` as in the facts, or `flags`: one bit for each frame of a
    flag that says whether what is kept of other values was there.
    """

    path: str
    kind: str
    frames: Frames
    shape: tuple[int, ...]
    elem: str

    @property
    def name(self) -> str:
        return f"{self.path}.{self.kind}"


class Step(Recurring):
    """`multiple` steps of the schedule at once; the state is the same for any number."""

    def __init__(self, model: Model, part: Part, schedule: Schedule, multiple: int) -> None:
        super().__init__(model)
        self.part, self.multiple = part, multiple
        self.lines = schedule.lines
        self.frames: dict[str, Frames] = {
            path: line.demanded(line.start, line.start + line.count * multiple)
            for path, line in schedule.lines.items()
        }
        self.flags = frozenset(self._flags_read())
        gates, shifts = model.gates, model.graph.cycle_shifts
        self.holding = frozenset(p for p in shifts if gates.get(p) and p in self.lines)
        """Shifts of gated recurrences: they look at the last frame that was taken."""
        everything = self.flags | self.holding
        self.frames |= {path: self.all_frames(path) for path in everything}
        self.further: dict[str, Frames] = {}
        self.kept = {(b.path, b.kind): b.frames for b in schedule.buffers if self._is_mine(b.path)}
        self.states: dict[str, State] = {}
        self.into: dict[str, fx.Node] = {}
        self.out: dict[str, fx.Node] = {}
        self.age: fx.Node | None = None
        self.current: Frames = ()

    def all_frames(self, path: str) -> Frames:
        """The frames that a step moves on by, read or not."""
        line = self.lines[path]
        return tuple(range(line.start, line.start + line.count * self.multiple))

    def _is_input(self, path: str) -> bool:
        return self.model.graph[path].op == "input"

    def _flags_read(self) -> Iterator[str]:
        """Inputs that gates read, on frames that their other readers may leave out."""
        flags = {g.flag for path in self.part.members for g in self.model.gates.get(path, ())}
        behind = self.model.graph.ancestors(flags)
        return (p for p in behind if p in self.lines and self._is_input(p))

    def _is_mine(self, path: str) -> bool:
        return path in self.part.members or path in self.part.inputs

    # --- state ---

    def open(self, age: fx.Node) -> None:
        """Placeholders for what was kept."""
        self.age = age
        for (path, kind), frames in self.kept.items():
            type_ = self.model.types[path]
            shape = (*inner_shape(type_), *frame_shape(type_))
            self._open(State(path, kind, frames, shape, type_.elem))

    def _open(self, state: State) -> None:
        self.states[state.name] = state
        self.into[state.name] = self.placeholder(state.name)

    def close(self) -> tuple[fx.Node, ...]:
        """What the next step needs, in the order of `states`."""
        for state in self.states.values():
            if state.kind == "history":
                self.out[state.name] = self._next(state, self._both_history(state.path))
        for path, frames in self.further.items():
            kind = self.model.types[path]
            state = State(path, self._kind(path), frames, frame_shape(kind), kind.elem)
            self.states[state.name] = state
            self.out[state.name] = self.call(stepping.newest, self._line(path), len(frames))
        return tuple(self.out[name] for name in self.states)

    def _next(self, state: State, both: fx.Node) -> fx.Node:
        """The same frames, one step later."""
        moved = self.lines[state.path].count * self.multiple
        have = (*state.frames, *self.frames[state.path])
        return self.picked(both, have, tuple(frame + moved for frame in state.frames))

    def _both_history(self, path: str) -> fx.Node:
        kept = self.into.get(f"{path}.history")
        new = self.data[path]
        return new if kept is None else self.call(stepping.after, kept, new)

    # --- frames ---

    def pull(self, path: str, frames: Frames) -> fx.Node:
        """A value at some frames, looking through views; absent frames hold anything."""
        if not self.on_line(path) or (frames == self.frames[path] and not self.is_view(path)):
            return self.data[path]
        if self.is_view(path):
            return self.at(self.model.graph[path], frames)
        have = (*self.kept.get((path, "history"), ()), *self.frames[path])
        if path in self.flags | self.holding and not set(frames) <= set(have):
            return self._pull_old(path, frames)
        return self.picked(self._both_history(path), have, frames)

    def picked(self, x: fx.Node, have: Frames, want: Frames) -> fx.Node:
        place = {frame: n for n, frame in enumerate(have)}
        places = tuple(place[frame] for frame in want)
        if places == tuple(range(len(have))):
            return x
        gaps = {b - a for a, b in pairwise(places)} or {1}
        if len(gaps) == 1 and min(gaps) > 0:
            return self.call(stepping.cut, x, places[0], len(places), gaps.pop())
        return self.call(stepping.picked, x, places)

    def filled(self, x: fx.Node, have: Frames, every: Sequence[int]) -> fx.Node:
        """Frames without gaps; what stands in the gaps nobody reads."""
        if len(have) == len(every):
            return x
        places = tuple(max(0, bisect_right(have, i) - 1) for i in every)
        return self.call(stepping.picked, x, places)

    def fetch(self, path: str, frames: Frames, start: fx.Node | None) -> fx.Node:
        """A value for other frames to read: what is absent is zero, or `start`."""
        x, mask = self.pull(path, frames), self.mask_at(path, frames)
        if mask is None:
            return x
        if start is None:
            return self.call(select, mask, x, 0)
        return self.call(select, mask, x, self.method("unsqueeze", start, 1))

    def on_line(self, path: str) -> bool:
        return path in self.lines

    def is_view(self, path: str) -> bool:
        outputs = self.model.graph.outputs.values()
        return (
            self.model.graph[path].op in VIEWS and path not in outputs and path not in self.holding
        )

    # --- what is there ---

    def mask(self, path: str) -> fx.Node | None:
        """Presence with the axes of the value's clock, at the frames being made."""
        if not self.on_line(path):
            return self.there[path].inner
        mask = self.mask_at(path, self.current)
        for _ in range(index_rank(self.model.types[path].clock) - 1):
            mask = None if mask is None else self.method("unsqueeze", mask, -1)
        return mask

    def mask_at(self, path: str, frames: Frames) -> fx.Node | None:
        """`[B, frames]`; `None` where all are there."""
        assert self.age is not None
        there, line = self.there[path], self.lines[path]
        found = None
        if there.length is not None or min(frames) < 0:
            found = self.call(stepping.present, self.age, frames, line.count, there.length)
        if there.gates:
            bits = self._flags(path, frames)
            found = bits if found is None else self.call(torch.logical_and, found, bits)
        return found

    def _pull_old(self, path: str, frames: Frames) -> fx.Node:
        """Frames that the schedule does not keep: they become a state."""
        line = self.lines[path]
        first = min(*frames, *self.further.get(path, (line.start,)))
        self.further[path] = tuple(range(first, line.start))
        end = line.start + line.count * self.multiple
        return self.call(stepping.back, self._line(path), tuple(i - end for i in frames))

    def _line(self, path: str) -> fx.Node:
        name, new = f"{path}.{self._kind(path)}", self.data[path]
        if name not in self.into:
            with self.fx.inserting_after(self._last_placeholder()):
                self.into[name] = self.placeholder(name)
        if path in self.flags:
            new = self.call(stepping.raised, new)
        return self.call(stepping.after, self.into[name], new)

    def _kind(self, path: str) -> str:
        return "flags" if path in self.flags else "history"

    def _last_placeholder(self) -> fx.Node:
        *_, last = (node for node in self.fx.nodes if node.op == "placeholder")
        return cast(fx.Node, last)

    def _flags(self, path: str, frames: Frames) -> fx.Node:
        """What the gates of a value say at some frames."""
        found = None
        for gate in sorted(self.there[path].gates, key=lambda g: (g.flag, g.up)):
            raised = self.call(frame.raised, self.pull(gate.flag, frames), gate.up)
            found = raised if found is None else self.call(torch.logical_and, found, raised)
        assert found is not None
        return found

    # --- values ---

    def emit(self, node: Node) -> fx.Node:
        frames = self.frames.get(node.path, ())
        self.there[node.path] = self.gated(node.path, self._there(node))
        if self.on_line(node.path) and self.is_view(node.path):
            return self.age  # type: ignore[return-value]  # made when it is read
        return self.at(node, frames)

    def at(self, node: Node, frames: Frames) -> fx.Node:
        """A value made at some frames."""
        before, self.current = self.current, frames
        try:
            row = TIME.get(node.op) if self._is_timed(node) else None
            if row is not None:
                return framewise.rounded_if(self, node, row(_bare(self, node)))
            ins = tuple(self.pull(p, frames) for p in node.inputs)
            site = self.site(node, ins)
            row = inner.ROWS.get(node.op, framewise.emitted)
            return row(site)
        finally:
            self.current = before

    def _is_timed(self, node: Node) -> bool:
        """Whether an operator reads other frames of the line, not of an inner axis."""
        if node.op not in TIME or node.op in ("stride", "upsample", "logmel"):
            return node.op in TIME
        if node.op == "attend":
            keys = self.model.types[node.inputs[1]].clock
            own = keys == self.model.types[node.inputs[0]].clock
            return own and base_clock(keys) == keys
        return not inner.is_inner_shift(self.model, node)

    def _there(self, node: Node) -> There:
        if node.op in ("stride", "upsample", "logmel"):
            there = self.there[node.inputs[0]]
            return lengthened(self, node, there)
        timed = ("attend", "delay", "ahead", "window")
        if node.op in inner.ROWS and node.op not in timed:
            return inner.inner_there(_bare(self, node))
        if node.op in timed:
            return self.there[node.inputs[0]]
        there = self.meet(node.inputs)
        if node.op == "switch":
            own = {g for g in there.gates if g.flag == node.inputs[0]}
            there = There(there.length, there.gates - own, there.inner)
        return there

    # --- recurrences ---

    def loop(self, loop: Loop) -> None:
        self.current = self._loop_frames(loop)
        emit_loop(self, loop)

    def body(self) -> Recurring:
        return Offline(self.model, frozenset())

    def outside(self, path: str, loop: Loop) -> fx.Node:
        if not self.on_line(path) or not self._along_line(loop):
            return self.pull(path, self._loop_frames(loop))
        wanted = self._loop_frames(loop)
        read = self._read_by(path, loop, wanted)
        return self.filled(self.pull(path, read), read, wanted)

    def _read_by(self, path: str, loop: Loop, wanted: Frames) -> Frames:
        """Of an outer value the frames that the loop's demanded frames read."""
        readers = [p for p in self.model.graph.readers[path] if p in loop.members]
        needed = {i for p in readers for i in self.frames.get(p, wanted)}
        return tuple(i for i in wanted if i in needed) or wanted

    def _loop_frames(self, loop: Loop) -> Frames:
        """A recurrence in time runs over all frames of a step, those that nobody reads as well."""
        members = [p for p in loop.members if p in self.lines]
        frames = self.all_frames if self._along_line(loop) else self.frames.__getitem__
        found = {frames(p) for p in members}
        assert len(found) < 2, loop.members
        return found.pop() if found else ()

    def can_fuse(self, loop: Loop) -> bool:
        """Whether a step's frames are all before the start, or all behind it."""
        lines = [self.lines[p] for p in loop.members if p in self.lines]
        return all(line.start % line.count == 0 for line in lines) or not self._along_line(loop)

    def _along_line(self, loop: Loop) -> bool:
        return (
            base_clock(loop.clock) == loop.clock
            and timeline(self.model.types[loop.shifts[0]]) is not None
        )

    def taken(self, shift: str, loop: Loop) -> fx.Node | None:
        source = self.model.graph[shift].inputs[0]
        if not self._along_line(loop):
            return self.there[source].inner
        frames, found = self._loop_frames(loop), None
        if not self.can_fuse(loop):
            assert self.age is not None
            found = self.call(stepping.present, self.age, frames, self.lines[shift].count, None)
        if self.there[source].gates:
            bits = self._flags(source, frames)
            found = bits if found is None else self.call(torch.logical_and, found, bits)
        return found

    def register_state(self, shift: str) -> fx.Node | None:
        node = self.model.graph[shift]
        kept = self.into.get(f"{node.inputs[0]}.recurrent")
        if kept is None:
            return None
        depth = max(steps_back(node))
        start = self.data[node.inputs[1]] if len(node.inputs) > 1 else None
        return self._register(node.inputs[0], depth, start)

    def _register(self, path: str, depth: int, start: fx.Node | None = None) -> fx.Node:
        """The newest frames that a cycle keeps of itself; before the start, what it begins with."""
        assert self.age is not None
        state, line = self.states[f"{path}.recurrent"], self.lines[path]
        before = range(line.start - depth, line.start)
        have = tuple(i for i in state.frames if i in before)
        x = self.picked(self.into[state.name], state.frames, have)
        x = self.filled(x, have, before)
        there = self.call(stepping.present, self.age, tuple(before), line.count, None)
        return self.call(stepping.started, x, there, start)

    def keep_register(self, shift: str, register: fx.Node) -> None:
        node = self.model.graph[shift]
        state, line = self.states.get(f"{node.inputs[0]}.recurrent"), self.lines[node.path]
        depth = max(steps_back(node))
        if state is not None and min(state.frames) >= line.start - depth:
            before = tuple(range(line.start - depth, line.start))
            self.out[state.name] = self.picked(register, before, state.frames)

    def made(self, path: str, x: fx.Node, loop: Loop) -> fx.Node:
        if not self.on_line(path) or self.is_view(path):
            return x
        return self.picked(x, self._loop_frames(loop), self.frames[path])

    def lstm_state(self, body: LstmBody) -> tuple[fx.Node, ...]:
        if f"{body.h}.recurrent" not in self.states:
            return ()
        return tuple(
            self.method("squeeze", self._register(path, 1), 1) for path in (body.h, body.c)
        )

    def keep_lstm(self, body: LstmBody, h: fx.Node, c: fx.Node) -> None:
        for path, x in ((body.h, h), (body.c, c)):
            if f"{path}.recurrent" in self.states:
                self.out[f"{path}.recurrent"] = self.method("unsqueeze", x, 1)

    def sum_state(self, body: SumBody) -> fx.Node | None:
        if f"{body.total}.recurrent" not in self.states:
            return None
        return self._register(body.total, 1)

    def keep_sum(self, body: SumBody, total: fx.Node) -> None:
        if f"{body.total}.recurrent" in self.states:
            self.out[f"{body.total}.recurrent"] = self.call(stepping.newest, total, 1)


def inner_shape(kind: Type) -> tuple[int, ...]:
    """The extents of the inner axes, outermost first."""
    from ...compiler.types import Finite

    sizes, clock = [], kind.clock
    while isinstance(clock, Finite):
        sizes.append(clock.size or 1)
        clock = clock.outer
    return tuple(reversed(sizes))


def _bare(emitter: Step, node: Node) -> Site:
    """A site whose inputs its row pulls itself."""
    kinds = tuple(emitter.model.types[p] for p in node.inputs)
    return Site(emitter, node, kinds, emitter.model.types[node.path], (), ())


# --- rows of operators that read other frames -------------------------------------------------


def _emitter(site: Site) -> Step:
    return cast(Step, site.emitter)


def _start(site: Site) -> fx.Node | None:
    return site.emitter.data[site.node.inputs[1]] if len(site.node.inputs) > 1 else None


def _shift(sign: int) -> Row:
    def row(site: Site) -> fx.Node:
        emitter, offset = _emitter(site), sign * site.int("frames")
        wanted = tuple(i + offset for i in emitter.current)
        return emitter.fetch(site.node.inputs[0], wanted, _start(site))

    return row


def _window(site: Site) -> fx.Node:
    emitter, source = _emitter(site), site.node.inputs[0]
    past, future, by = (site.int(n) for n in ("past", "future", "by"))
    chunk = frames_in(site, "chunk", 0) if site.node.attrs["in_chunk"] else None
    now = emitter.current
    taps = [_tap(site, now, o * by, chunk) for o in range(-past, future + 1)]
    every = tuple(sorted({i for frames, _ in taps for i in frames}))
    whole = emitter.fetch(source, every, _start(site))
    found = []
    for frames, inside in taps:
        tap = emitter.picked(whole, every, frames)
        found.append(tap if all(inside) else site.call(stepping.clipped, tap, inside, _start(site)))
    return site.call(torch.stack, tuple(found), -1)


def _tap(
    site: Site, now: Frames, offset: int, chunk: int | None
) -> tuple[Frames, tuple[bool, ...]]:
    """The frames that a tap reads, and which of them its chunk allows."""
    if chunk is None or offset <= 0:
        return tuple(i + offset for i in now), (True,) * len(now)
    inside = tuple(i % chunk + offset < chunk for i in now)
    return tuple(i + offset if ok else i for i, ok in zip(now, inside, strict=True)), inside


def _stride(site: Site) -> fx.Node:
    factor = site.int("factor")
    wanted = tuple(i * factor + factor - 1 for i in _emitter(site).current)
    return _emitter(site).pull(site.node.inputs[0], wanted)


def _upsample(site: Site) -> fx.Node:
    wanted = tuple(i // site.int("factor") for i in _emitter(site).current)
    return _emitter(site).pull(site.node.inputs[0], wanted)


def _logmel(site: Site) -> fx.Node:
    emitter = _emitter(site)
    window, hop = logmel_samples(site.node, cast(Stream, site.kind.clock).period)
    first, last = emitter.current[0], emitter.current[-1]
    read = sorted({s for i in emitter.current for s in range(i * hop, i * hop + window)})
    audio = emitter.fetch(site.node.inputs[0], tuple(read), None)
    mel = site.leaf(emitter.filled(audio, tuple(read), range(first * hop, last * hop + window)))
    return emitter.picked(mel, tuple(range(first, last + 1)), emitter.current)


def _attend(site: Site) -> fx.Node:
    emitter, node = _emitter(site), site.node
    queries, keys, seen = spans(emitter, node, emitter.current)
    q = emitter.pull(node.inputs[0], queries)
    k, v = (emitter.pull(path, keys) for path in node.inputs[1:3])
    there = _keys_there(site, keys) or site.call(all_there, k, 2)
    if "on" in node.attrs:
        return _attend_in_integers(site, (q, k, v), site.call(stepping.seen_window, k, seen, there))
    bias = None
    if len(node.inputs) == 5:
        p, r = emitter.pull(node.inputs[3], queries), emitter.data[node.inputs[4]]
        low = distance_range(emitter, node)[0]
        bias = site.call(stepping.relative_window, p, r, site.int("heads"), queries, keys, low)
    return site.call(stepping.attend_window, q, k, v, site.int("heads"), seen, there, bias)


def _attend_in_integers(site: Site, given: tuple[fx.Node, ...], seen: fx.Node) -> fx.Node:
    emitter, node = _emitter(site), site.node
    queries, keys, _ = spans(emitter, node, emitter.current)
    if len(node.inputs) < 5:
        return framewise.integer_attention(site, *given, seen)
    p, r = emitter.pull(node.inputs[3], queries), emitter.data[node.inputs[4]]
    apart = site.call(stepping.apart, r, queries, keys, distance_range(emitter, node)[0])
    return framewise.integer_attention(site, *given, seen, p, r, apart)


def _keys_there(site: Site, keys: Frames) -> fx.Node | None:
    """Which keys are there with their values."""
    emitter, paths = _emitter(site), site.node.inputs[1:3]
    if emitter.there[paths[0]] == emitter.there[paths[1]]:
        paths = paths[:1]
    found = [mask for path in paths if (mask := emitter.mask_at(path, keys)) is not None]
    return site.call(torch.logical_and, *found) if len(found) == 2 else (*found, None)[0]


def spans(
    emitter: Step, node: Node, queries: Frames
) -> tuple[Frames, Frames, tuple[tuple[int, int], ...]]:
    """The queries of a step, the keys that it reads, and from which to which each query sees."""
    reads = emitter.model.facts.timing.reads.at(node.path, 1)
    assert reads is not None
    assert reads.last(0) != inf, node.path
    spans = [(int(reads.first(i)), int(reads.last(i))) for i in queries]
    keys = sorted({i for first, last in spans for i in range(first, last + 1)})
    place = {frame: n for n, frame in enumerate(keys)}
    return queries, tuple(keys), tuple((place[a], place[b]) for a, b in spans)


def distance_range(emitter: Step, node: Node) -> tuple[int, int]:
    """The least and greatest distance at which the readers of an attention's positions see."""
    graph = emitter.model.graph
    lows, highs = [], []
    for other in graph:
        if other.op == "attend" and other.inputs[4:] == node.inputs[4:5]:
            queries, keys, seen = spans(emitter, other, emitter.frames[other.path])
            lows += [t - keys[last] for t, (_, last) in zip(queries, seen, strict=True)]
            highs += [t - keys[first] for t, (first, _) in zip(queries, seen, strict=True)]
    return min(lows), max(highs)


TIME: Mapping[str, Row] = {
    "delay": _shift(-1),
    "ahead": _shift(1),
    "window": _window,
    "stride": _stride,
    "upsample": _upsample,
    "logmel": _logmel,
    "attend": _attend,
}

__all__ = ["State", "Step", "distance_range", "register_type"]
