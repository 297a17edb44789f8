"""A part of a model as a step, `(inputs, state) -> (outputs, state)`: no state is hidden."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, fx

from ...compiler.facts.schedule import Schedule
from ...compiler.graph import Node
from ...compiler.reference import index_rank
from . import stepping
from .emit import Model, There
from .framewise import rounded_if
from .offline import Offline
from .parts import Part
from .ports import Port, input_name, place_outputs, plan, value_name
from .recurrent import select
from .step import State, Step, distance_range


@dataclass(frozen=True, slots=True)
class Feed:
    """An input of a step: frames `start + age * count ..` of the stream, `frames` at once."""

    name: str
    start: int
    count: int
    frames: int


@dataclass(frozen=True, slots=True)
class Made:
    """An output of a step, like a feed; with `<name>_there`, which of the frames are there."""

    name: str
    start: int
    count: int
    frames: int


@dataclass(frozen=True)
class StepModule:
    """One step, `multiple` schedules long.

    `module(age, *feeds, *ends, *given, *cached, *states)` returns outputs, presence of each, and
    the new states. `prepare` makes what depends on parameters alone (`cached`), once.
    """

    part: Part
    multiple: int
    module: fx.GraphModule
    prepare: fx.GraphModule
    feeds: tuple[Feed, ...]
    given: tuple[Port, ...]
    cached: tuple[str, ...]
    states: tuple[State, ...]
    outputs: tuple[Made, ...]
    fused: tuple[str, ...]
    scanned: tuple[str, ...]

    @property
    def warm_up(self) -> int:
        """After how many steps no frame of a step lies before the stream's start."""
        lines: tuple[Feed | Made, ...] = (*self.feeds, *self.outputs)
        return max((-(line.start // line.count) for line in lines), default=0)

    @property
    def held_values(self) -> int:
        """Numbers in the state of one stream, the bits of flags apart."""
        kept = (s for s in self.states if s.kind != "flags")
        return sum(len(s.frames) * prod(s.shape) for s in kept)

    def moved(
        self,
        age: Tensor,
        old: Mapping[str, Tensor],
        new: Sequence[Tensor],
        moving: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The states after a step that gave these, of streams that were `age` steps old; those
        that are not `moving` (`[B]`, bool) keep their old ones. A step on kernels may write new
        numbers where the old ones were."""
        pairs = zip(self.states, new, strict=True)
        return {s.name: self._after(s, age, old[s.name], x, moving) for s, x in pairs}

    def _after(
        self, state: State, age: Tensor, old: Tensor, new: Tensor, moving: Tensor | None
    ) -> Tensor:
        return new if moving is None else select(moving, new, old)


def lower_step(model: Model, part: Part, schedule: Schedule, multiple: int = 1) -> StepModule:
    """A part as a step. The state is laid out alike for every `multiple`."""
    step = Step(model, part, schedule, multiple)
    age = step.placeholder("age")
    feeds = tuple(_feeds(step, part))
    ends = [step.placeholder(f"{feed.name}_end") for feed in feeds]
    _read_feeds(step, part, feeds, ends, age)
    given = tuple(_given(step, part))
    cached = tuple(_cached(step, part))
    step.open(age)
    step.run(plan(model, part, without=_made_beforehand(model, part)))
    outputs = tuple(_made(step, part))
    nodes = tuple(step.data[path] for path in _made_paths(step, part))
    masks = tuple(_there(step, path) for path in _made_paths(step, part))
    kept = step.close()
    module = step.finish((*nodes, *masks, *kept), f"{part.name.capitalize()}Step")
    scanned = tuple(sorted(min(loop.members) for loop in step.scanned))
    return StepModule(
        part,
        multiple,
        module,
        _prepare(model, step, part, cached),
        feeds,
        given,
        cached,
        tuple(step.states.values()),
        outputs,
        tuple(step.fused),
        scanned,
    )


# --- inputs ---------------------------------------------------------------------------------


def _streams(step: Step, part: Part) -> list[str]:
    """Inputs and flags that come frame by frame."""
    flags = {g.flag for p in part.members for g in step.model.gates.get(p, ())}
    paths = dict.fromkeys((*part.inputs, *sorted(flags - part.members)))
    return [p for p in paths if step.on_line(p)]


def _feeds(step: Step, part: Part) -> Iterator[Feed]:
    for path in _streams(step, part):
        name, line = input_name(step.model.graph, path), step.lines[path]
        step.data[path] = step.placeholder(name)
        yield Feed(name, line.start, line.count, line.count * step.multiple)


def _read_feeds(
    step: Step, part: Part, feeds: tuple[Feed, ...], ends: list[fx.Node], age: fx.Node
) -> None:
    """What lies outside the stream is zero, whatever it was."""
    step.age = age
    for path, end in zip(_streams(step, part), ends, strict=True):
        step.there[path] = There(length=end)
        frames, every = step.frames[path], step.all_frames(path)
        read = step.picked(step.data[path], every, frames)
        there = step.call(stepping.present, age, frames, step.lines[path].count, end)
        step.data[path] = step.call(select, there, read, 0)


def _given(step: Step, part: Part) -> Iterator[Port]:
    """What is known for the whole utterance."""
    graph, types = step.model.graph, step.model.types
    for path in part.inputs:
        if step.on_line(path):
            continue
        name = input_name(graph, path)
        step.data[path] = step.placeholder(name)
        step.there[path] = There()
        yield Port(path, name, "value")
        if index_rank(types[path].clock):
            step.there[path] = There(inner=step.placeholder(f"{name}_there"))
            yield Port(path, f"{name}_there", "there")


def _made_beforehand(model: Model, part: Part) -> frozenset[str]:
    """What depends on parameters alone, beyond parameters as they are."""
    return frozenset(p for p in part.free if not _is_plain(model.graph[p]))


def _is_plain(node: Node) -> bool:
    return node.op in ("weight", "constant")


def _cached(step: Step, part: Part) -> Iterator[str]:
    graph, before = step.model.graph, _made_beforehand(step.model, part)
    for path in graph.order:
        if path in before and part.members.intersection(graph.readers[path]):
            step.data[path] = step.placeholder(path)
            step.there[path] = There()
            yield path


class _Prepare(Offline):
    """Values over the distances that the step's attention meets."""

    def __init__(self, model: Model, step: Step) -> None:
        super().__init__(model, frozenset())
        self.step = step
        self.like = self.placeholder("like")

    def emit(self, node: Node) -> fx.Node:
        if node.op != "positions":
            return super().emit(node)
        self.there[node.path] = There()
        low, high = distance_range(self.step, _attention(self.model, node))
        n = node.attrs["n"]
        made = self.call(stepping.distances, low, high, n, self.like, hint=node.path)
        return rounded_if(self, node, made)


def _attention(model: Model, node: Node) -> Node:
    """The attention that positions are for."""
    readers = [n for n in model.graph if n.op == "attend" and len(n.inputs) == 5]
    return next(n for n in readers if node.path in model.graph.ancestors([n.inputs[4]]))


def _prepare(model: Model, step: Step, part: Part, cached: tuple[str, ...]) -> fx.GraphModule:
    emitter = _Prepare(model, step)
    emitter.run(plan(model, part, without=part.members))
    return emitter.finish(tuple(emitter.data[path] for path in cached), "Prepare")


# --- outputs --------------------------------------------------------------------------------


def _made_paths(step: Step, part: Part) -> list[str]:
    return [path for path in part.outputs if step.on_line(path)]


def _made(step: Step, part: Part) -> Iterator[Made]:
    for path in _made_paths(step, part):
        line = step.lines[path]
        assert line.wanted == (True,), path
        name = value_name(step.model.graph, path)
        yield Made(name, line.start, line.count, line.count * step.multiple)


def _there(step: Step, path: str) -> fx.Node:
    mask = step.mask_at(path, step.frames[path])
    return step.call(_everywhere, step.data[path]) if mask is None else mask


def _everywhere(x: Tensor) -> Tensor:
    return x.new_ones(x.shape[:2], dtype=torch.bool)


def empty_states(module: StepModule, batch: int, like: Tensor) -> dict[str, Tensor]:
    """The state of streams that have not begun."""
    found = {}
    for state in module.states:
        shape = (batch, len(state.frames), *state.shape)
        found[state.name] = torch.zeros(shape, dtype=_dtype(state, like), device=like.device)
    return found


def _dtype(state: State, like: Tensor) -> torch.dtype:
    if state.kind == "flags":
        return torch.bool
    return torch.int64 if state.elem == "token" else like.dtype


__all__ = ["Feed", "Made", "StepModule", "empty_states", "lower_step", "place_outputs"]
