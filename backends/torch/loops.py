"""Recurrences in the fx graph: fused where the body is known, else a scan over its own graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import fx

from ...compiler.graph import Graph, Node
from ...compiler.ops import VIEWS
from ...compiler.reference import Loop, Planner, index_rank
from ...compiler.reference.recurrence import on_axis
from ...compiler.reference.value import frame_shape
from ...compiler.types import Type
from . import frame, frames
from .emit import There
from .framewise import rounded_if
from .integers.rounding import snapped
from .match import LstmBody, SumBody, match_lstm, match_sum
from .recurrent import Scan, running_sum

if TYPE_CHECKING:
    from .recurring import Recurring


def emit_loop(emitter: Recurring, loop: Loop) -> None:
    """Adds the members of a loop that others read to the emitter's values."""
    graph, types = emitter.model.graph, emitter.model.types
    there = emitter.meet(
        tuple(sorted(p for p in loop.outside if on_axis(types[p].clock, loop.clock)))
    )
    for path in loop.members:
        emitter.there[path] = emitter.gated(path, there)
    same_clock = all(types[p].clock == loop.clock for p in loop.members)
    gated = any(emitter.there[p].gates for p in loop.members)
    if same_clock and not gated:
        lstm = match_lstm(graph, types, loop) if _alike(graph, loop) else None
        if lstm is not None and emitter.can_fuse(loop) and _has_steps(emitter, lstm, loop):
            return _emit_lstm(emitter, loop, lstm)
        total = match_sum(graph, loop)
        if total is not None and on_axis(types[total.x].clock, loop.clock) and not loop.backwards:
            return _emit_sum(emitter, loop, total)
    return _Scanned(emitter, loop).emit()


def _alike(graph: Graph, loop: Loop) -> bool:
    """Whether all of a recurrence runs on one side."""
    return len({graph[path].attrs.get("on") for path in loop.members}) == 1


def _has_steps(emitter: Recurring, body: LstmBody, loop: Loop) -> bool:
    types = emitter.model.types
    return any(on_axis(types[p].clock, loop.clock) for p in body.inputs)


# --- LSTM -----------------------------------------------------------------------------------


def _emit_lstm(emitter: Recurring, loop: Loop, body: LstmBody) -> None:
    x = _row(emitter, loop, body)
    mask = emitter.there[body.h].inner
    axis = 1 + loop.axis
    if loop.backwards:
        x = emitter.call(frames.reversed_within, x, mask, axis)
    outer = tuple(range(1, axis))
    flat = x if not outer else emitter.method("flatten", x, 0, axis - 1)
    leaves = emitter.model.leaves
    if "on" in emitter.model.graph[body.dense].attrs:
        path, module = leaves.integer_lstm(body, sorted(loop.members))
    else:
        path, module = leaves.lstm(body)
    emitter.fused.append(body.h)
    state = emitter.lstm_state(body)
    options = {} if body.projection is None else {"projection": _projection(emitter, body)}
    found = emitter.module(path, module, flat, *state, hint=f"{path}.lstm", **options)
    y = emitter.item(found, 0, body.h)
    if outer:
        y = emitter.call(frames.unfolded, y, x, axis, hint=body.h)
    if loop.backwards:
        y = emitter.call(frames.reversed_within, y, mask, axis)
    node = emitter.model.graph[body.h]
    emitter.data[body.h] = rounded_if(emitter, node, y)
    emitter.keep_lstm(body, emitter.item(found, 1), emitter.item(found, 2))


def _row(emitter: Recurring, loop: Loop, body: LstmBody) -> fx.Node:
    """What comes in at every step, in one row."""
    types = emitter.model.types
    rows = []
    for path in body.inputs:
        x = emitter.spread(emitter.outside(path, loop), types[path].clock, loop.clock)
        wide = len(frame_shape(types[path])) > 1
        rows.append(emitter.method("flatten", x, 2 + loop.axis) if wide else x)
    return rows[0] if len(rows) == 1 else emitter.call(frame.joined, tuple(rows), -1)


def _projection(emitter: Recurring, body: LstmBody) -> fx.Node:
    """The projection's weight, as the value of its module."""
    assert body.projection is not None
    from .emit import attach

    path, module = emitter.model.leaves.of(emitter.model.graph[body.projection])
    place = attach(emitter.root, path, module)
    held = (name for name in ("weight", "scale", "codebook") if hasattr(module, name))
    weight, *quantised = (emitter.fx.get_attr(f"{place}.{name}") for name in held)
    if not quantised:
        return weight
    return emitter.call(snapped, weight, quantised[0], quantised[1] if quantised[1:] else None)


# --- running sums ---------------------------------------------------------------------------


def _emit_sum(emitter: Recurring, loop: Loop, body: SumBody) -> None:
    x = emitter.outside(body.x, loop)
    emitter.data[body.total] = x
    mask = emitter.mask(body.total) or emitter.call(frames.all_there, x, 2 + loop.axis)
    start = emitter.sum_state(body)
    total = emitter.call(running_sum, x, mask, 1 + loop.axis, start, hint=body.total)
    emitter.data[body.total] = total
    emitter.keep_sum(body, total)


# --- anything else --------------------------------------------------------------------------


class _Scanned:
    """A scan: the body's graph, its registers, and who reads what."""

    def __init__(self, emitter: Recurring, loop: Loop) -> None:
        self.emitter, self.loop = emitter, loop
        self.graph, self.types = emitter.model.graph, emitter.model.types
        rank = {path: n for n, path in enumerate(self.graph.nodes)}
        outside = sorted(loop.outside, key=rank.__getitem__)
        self.steps = [p for p in outside if on_axis(self.types[p].clock, loop.clock)]
        self.outer = [p for p in outside if p not in self.steps]
        self.wanted = sorted(self._read(), key=rank.__getitem__)

    def _read(self) -> set[str]:
        """What is read outside, and what stands behind views that are: a step looks through."""
        found = {p for p in self.loop.members if self._is_read(p)}
        todo = [*found]
        while todo:
            node = self.graph[todo.pop()]
            behind = self.loop.members.intersection(node.inputs) - found
            if node.op in VIEWS:
                found |= behind
                todo += behind
        return found

    def _is_read(self, path: str) -> bool:
        roots = {*self.graph.outputs.values(), *self.graph.losses.values()}
        return path in roots or not self.loop.members.issuperset(self.graph.readers[path])

    def emit(self) -> None:
        emitter, loop = self.emitter, self.loop
        axis = 1 + loop.axis
        back = tuple(steps_back(self.graph[p]) for p in loop.shifts)
        module = Scan(self._body(), axis, loop.backwards, back)
        emitter.scanned.append(loop)
        outer, steps = (
            tuple(emitter.outside(p, loop) for p in paths) for paths in (self.outer, self.steps)
        )
        registers = tuple(self._register(shift, steps[0]) for shift in loop.shifts)
        taken = tuple(emitter.taken(shift, loop) for shift in loop.shifts)
        place = f"{common_path(loop.members)}.scan{len(emitter.scanned)}"
        found = emitter.module(place, module, outer, steps, registers, taken, hint=place)
        made, kept = emitter.item(found, 0), emitter.item(found, 1)
        for n, path in enumerate(self.wanted):
            emitter.data[path] = emitter.made(path, emitter.item(made, n, path), loop)
        for n, shift in enumerate(loop.shifts):
            emitter.keep_register(shift, emitter.item(kept, n))

    def _register(self, shift: str, like: fx.Node) -> fx.Node:
        emitter, node = self.emitter, self.graph[shift]
        held = emitter.register_state(shift)
        if held is not None:
            return held
        depth = max(steps_back(node))
        dims = frame_shape(register_type(node, self.types))
        empty = emitter.call(frames.register, like, 1 + self.loop.axis, depth, dims)
        if len(node.inputs) == 1:
            return empty
        start = emitter.data[node.inputs[1]]
        return emitter.call(frames.started, empty, start, 1 + self.loop.axis)

    def _body(self) -> fx.GraphModule:
        """One step as a graph of its own."""
        body = self.emitter.body()
        for path in (*self.outer, *self.steps):
            body.data[path] = body.placeholder(path)
            body.there[path] = There()
        for path in self.loop.shifts:
            body.data[path] = body.placeholder(path)
            body.there[path] = There()
        body.run(self.loop.body)
        into = [body.data[self.graph[p].inputs[0]] for p in self.loop.shifts]
        read = [body.data[p] for p in self.wanted]
        return body.finish(tuple(into + read), "Body")


def steps_back(node: Node) -> tuple[int, ...]:
    """How many steps ago each tap of a shift was, oldest first."""
    if node.op != "window":
        return (cast(int, node.attrs["frames"]),)
    past, future, by = (cast(int, node.attrs[n]) for n in ("past", "future", "by"))
    return tuple(-offset * by for offset in range(-past, future + 1))


def register_type(node: Node, types: object) -> Type:
    """What one frame of a shift's register is."""
    from dataclasses import replace

    kinds = cast("dict[str, Type]", types)
    return replace(kinds[node.path], taps=None) if node.op == "window" else kinds[node.path]


def common_path(paths: frozenset[str]) -> str:
    """The longest dotted path that values have in common."""
    parts = [path.split(".") for path in paths]
    shared = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return ".".join(shared) or "recurrence"


__all__ = ["Planner", "common_path", "emit_loop", "index_rank", "register_type", "steps_back"]
