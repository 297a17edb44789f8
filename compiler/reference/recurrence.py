"""Recurrences, one step after the other along one axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

import numpy as np

from ..graph import Graph, Node
from ..types import Clock, Finite, Type
from .plan import Loop, Plan
from .value import (
    Array,
    Index,
    Mask,
    Value,
    absent_like,
    blank,
    concatenate,
    element,
    frame_shape,
    index_rank,
    initial,
    select,
)

Values = dict[str, Value]


class Run(Protocol):
    """Who computes what stands in a loop, in numbers of type `dtype`."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def solve(self, plan: Plan, values: Values) -> None: ...

    def taken(self, path: str, values: Mapping[str, Value], index: Index) -> Mask: ...


class Register:
    """The frames that one shift still has to hand on, newest first.

    Steps on which what it holds does not run (a switch's branch that is not taken) leave it be.
    """

    def __init__(self, node: Node, empty: Value, start: Array | float) -> None:
        self.node = node
        self.start = start
        self.back = _steps_back(node)
        self.held = [empty] * max(self.back)

    def read(self) -> Value:
        """What the shift gives on this step; whether that is there, its readers know."""
        taps = [self.held[k - 1] for k in self.back]
        frames = [select(tap.present, tap.data, self.start) for tap in taps]
        data = np.stack(frames, -1) if self.node.op == "window" else frames[0]
        return Value(data, np.ones_like(taps[0].present))

    def push(self, frame: Value, taken: Mask) -> None:
        moved = [frame, *self.held[:-1]]
        self.held = [_either(taken, new, old) for new, old in zip(moved, self.held, strict=True)]


def _steps_back(node: Node) -> tuple[int, ...]:
    """How many steps ago each tap was, oldest first."""
    if node.op != "window":
        return (cast(int, node.attrs["frames"]),)
    past, future, by = (cast(int, node.attrs[n]) for n in ("past", "future", "by"))
    return tuple(-offset * by for offset in range(-past, future + 1))


def _either(taken: Mask, new: Value, old: Value) -> Value:
    return Value(select(taken, new.data, old.data), np.where(taken, new.present, old.present))


def unroll(graph: Graph, types: Mapping[str, Type], loop: Loop, values: Values, run: Run) -> None:
    """Adds the values of a loop's members to `values`."""
    index = _index(types, loop, values)
    registers = {p: _register(graph[p], types[p], index, values, run) for p in loop.shifts}
    steps: list[Values] = []
    for step in _order(loop, index):
        frame = dict(_at(types, loop, values, step))
        frame |= {path: register.read() for path, register in registers.items()}
        run.solve(loop.body, frame)
        for path, register in registers.items():
            held = graph[path].inputs[0]
            source = frame[held]
            register.push(source, run.taken(held, frame, source.present.shape))
            frame[path] = blank(Value(frame[path].data, source.present), source.data.dtype)
        steps.append(frame)
    if loop.backwards:
        steps.reverse()
    for path in loop.members:
        values[path] = _joined(types[path], [frame[path] for frame in steps], loop, index)


def _index(types: Mapping[str, Type], loop: Loop, values: Values) -> Index:
    """The extents of the loop's axis and of those outside it."""
    shapes = [
        values[path].present.shape[: loop.axis + 1]
        for path in loop.outside
        if on_axis(types[path].clock, loop.clock)
    ]
    return tuple(max(extents) for extents in zip(*shapes, strict=True))


def on_axis(clock: Clock, axis: Clock) -> bool:
    """Whether values on a clock have the innermost axis of another."""
    while clock != axis and isinstance(clock, Finite):
        clock = clock.outer
    return clock == axis


def _register(node: Node, kind: Type, index: Index, values: Values, run: Run) -> Register:
    here = (*index[:-1], 1)
    held = replace(kind, taps=None) if node.op == "window" else kind
    blanks = np.zeros(here + frame_shape(held), element(kind, run.dtype))
    empty = Value(blanks, np.zeros(here, bool))
    start = values[node.inputs[1]] if len(node.inputs) > 1 else None
    return Register(node, empty, initial(start, held))


def _order(loop: Loop, index: Index) -> range:
    return range(index[-1])[::-1] if loop.backwards else range(index[-1])


def _at(
    types: Mapping[str, Type], loop: Loop, values: Values, step: int
) -> Iterator[tuple[str, Value]]:
    """What the loop reads from outside, at one step."""
    for path in loop.outside:
        along = on_axis(types[path].clock, loop.clock)
        yield path, values[path].at(loop.axis, step) if along else values[path]


def _joined(kind: Type, steps: list[Value], loop: Loop, index: Index) -> Value:
    if steps:
        return concatenate(steps, loop.axis)
    shape = (*index, *(0,) * (index_rank(kind.clock) - len(index)))
    return absent_like(Value(np.zeros(shape + frame_shape(kind)), np.zeros(shape, bool)))
