"""A part of a graph as an integer program of one step.

Frames of a step, and which of them are kept, are those of the schedule (`compiler/facts`). Views
(windows, strides, shifts) make no operators: a reader takes the frames that it needs. What is kept
for other frames to read is multiplied by a flag of its own frames, an input of the program: frames
before the start and after the end of an utterance are zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...compiler.facts import Facts
from ...compiler.graph import Node
from .build import Builder
from .formats import VIEWS, Code
from .lowering import Frames, Lowering, Timeline
from .program import Array, Program
from .rows import ROWS


@dataclass(frozen=True)
class Lowered:
    """A program and how it is fed.

    frames   which frames of each input, and of each output, step 0 has; `count` of them a step
    flags    of each flag input the value whose frames it tells about
    made     the tensor of each output
    """

    program: Program
    frames: Mapping[str, Frames]
    count: Mapping[str, int]
    flags: Mapping[str, str]
    made: Mapping[str, str]


def lower(
    facts: Facts,
    timeline: Timeline,
    weights: Mapping[str, Array],
    codes: Mapping[str, Code],
    inputs: Sequence[str],
    outputs: Sequence[str],
    name: str,
    bits: int = 8,
) -> Lowered:
    """A program from some values to others; what makes the inputs stays outside."""
    graph = facts.graph
    inside = _between(facts, inputs, outputs)
    work = Lowering(facts, timeline, weights, codes, Builder(name, bits))
    for path in inputs:
        shape = (1, len(work.frames(path)), *work.shape(path))
        work.made[path] = work.build.input(path, shape, codes[path])
    mine = [path for path in timeline.buffers if path in inside or path in inputs]
    for path in mine:
        work.open(path)
    for path in graph.order:
        if path in inside and graph[path].op not in VIEWS:
            _emit(work, graph[path])
    made = {path: work.take(path, work.frames(path)) for path in outputs}
    work.build.outputs += made.values()
    for path in mine:
        work.close(path)
    frames = {p: work.frames(p) for p in (*inputs, *outputs)}
    frames |= {flag: work.frames(path) for flag, path in work.flags.items()}
    count = {p: timeline.count[work.flags.get(p, p)] for p in frames}
    return Lowered(work.build.program(), frames, count, work.flags, made)


def _emit(work: Lowering, node: Node) -> None:
    tensor = ROWS[node.op](work, node, work.frames(node.path))
    if node.path in work.buffers and work.timeline.flagged:
        tensor = work.flagged(node.path, tensor)
    work.made[node.path] = tensor


def _between(facts: Facts, inputs: Sequence[str], outputs: Sequence[str]) -> set[str]:
    graph = facts.graph
    needed = {*outputs, *graph.ancestors(outputs)}
    return {path for path in needed if path not in inputs} - set(graph.ancestors(inputs))
