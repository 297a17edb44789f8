"""A part of a graph as an integer program of one step.

Frames of a step, and which of them are kept, are those of the schedule (`compiler/facts`). Views
(windows, strides, shifts) make no operators: a reader takes the frames that it needs. What is kept
for other frames to read is multiplied by a flag of its own frames, an input of the program: frames
before the start and after the end of an utterance are zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...compiler.facts import Facts
from ...compiler.facts.reads import timeline
from ...compiler.graph import Node
from .build import Builder
from .filters import Filter, filters
from .formats import Code, Range, choose, within
from .lowering import Flag, Frames, Lowering, Timeline
from .program import Array, Program
from .rows import ROWS


@dataclass(frozen=True)
class Numbers:
    """Parameters: in float by name, as codes by the path that owns them; formats of all values."""

    floats: Mapping[str, Array]
    filters: Mapping[str, Filter]
    codes: Mapping[str, Code]


def numbers_of(facts: Facts, weights: Mapping[str, Array]) -> Numbers:
    """Of a quantised graph, by its weights and ranges."""
    graph = facts.graph
    ranges = {
        node.path: Range(*map(float, weights[f"{node.path}.range"]))
        for node in graph
        if f"{node.path}.range" in weights
    }
    codes = choose(graph, ranges) | within(graph, facts.types, weights)
    return Numbers(weights, filters(graph, weights), codes)


@dataclass(frozen=True)
class Lowered:
    """A program and how it is fed.

    frames   which frames of each input, and of each output, step 0 has; `count` of them a step
    flags    of each flag input the value whose frames it tells about, and its codes
    made     the tensor of each output
    """

    program: Program
    frames: Mapping[str, Frames]
    count: Mapping[str, int]
    flags: Mapping[str, Flag]
    made: Mapping[str, str]

    def flag(self, name: str, there: Sequence[bool] | Array) -> Array:
        """The codes of a flag input."""
        flag, shape = self.flags[name], self.program.tensors[name].shape
        return np.where(there, flag.there, flag.out).astype(np.int8).reshape(shape)


def lower(
    facts: Facts,
    timeline: Timeline,
    weights: Numbers,
    inputs: Sequence[str],
    outputs: Sequence[str],
    name: str,
) -> Lowered:
    """A program from some values to others; what makes the inputs stays outside."""
    codes, inside = weights.codes, _between(facts, inputs, outputs)
    work = Lowering(facts, timeline, weights.floats, weights.filters, codes, Builder(name))
    for path in inputs:
        shape = (1, len(work.frames(path)), *work.shape(path))
        work.made[path] = work.build.input(path, shape, codes[path])
    mine = [path for path in timeline.buffers if path in inside or path in inputs]
    for path in mine:
        work.open(path)
    for wave in facts.graph.waves:
        _emit(work, [facts.graph[path] for path in wave if path in inside])
    made = {path: work.take(path, work.frames(path)) for path in outputs}
    work.build.outputs += made.values()
    for path in mine:
        work.close(path)
    frames = {p: work.frames(p) for p in (*inputs, *outputs)}
    count = {path: timeline.count[path] for path in frames}
    frames |= {name: flag.frames for name, flag in work.flags.items()}
    count |= {name: timeline.count[flag.path] for name, flag in work.flags.items()}
    return Lowered(work.build.program(), frames, count, work.flags, made)


def _emit(work: Lowering, wave: Sequence[Node]) -> None:
    """A value, or those of one recurrence."""
    nodes = [node for node in wave if node.op in ROWS]
    if len(nodes) > 1 and max(len(work.frames(node.path)) for node in nodes) > 1:
        _in_turns(work, nodes)
        return
    for node in nodes:
        work.made[node.path] = _frames_of(work, node, work.frames(node.path))


def _in_turns(work: Lowering, nodes: Sequence[Node]) -> None:
    """A recurrence that has several frames in a step: one after the other."""
    work.turns |= {node.path: {} for node in nodes}
    for frame in sorted({frame for node in nodes for frame in work.frames(node.path)}):
        for node in nodes:
            if frame in work.frames(node.path):
                work.turns[node.path][frame] = _frames_of(work, node, (frame,))
    for node in nodes:
        done = work.turns.pop(node.path)
        parts = [done[frame] for frame in work.frames(node.path)]
        work.made[node.path] = work.build.concat(f"{node.path}.turns", parts, 1)


def _frames_of(work: Lowering, node: Node, frames: Frames) -> str:
    tensor = ROWS[node.op](work, node, frames)
    if timeline(work.facts.types[node.path]) is None:
        return work.build.settled(tensor)
    if node.path in work.buffers and work.timeline.flagged:
        return work.flagged(node.path, tensor, frames)
    return tensor


def _between(facts: Facts, inputs: Sequence[str], outputs: Sequence[str]) -> set[str]:
    graph = facts.graph
    needed = {*outputs, *graph.ancestors(outputs)}
    return {path for path in needed if path not in inputs} - set(graph.ancestors(inputs))
