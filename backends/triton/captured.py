"""Streams whose step is recorded once and played again: a CUDA graph for each number of quanta.

A step of few rows is some hundred launches, and launching takes longer than they do. So everything
that goes from step to step stays in the same memory: what is pushed is copied in, states and ages
move where they are, and a step is one call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from ..torch.stepmodule import StepModule
from ..torch.stepping import UNENDED
from ..torch.streams import Block, Streams
from .kernels.overlap import overlapping

Made: TypeAlias = dict[str, Block]
Call: TypeAlias = Callable[[], Made]
Capture: TypeAlias = Callable[[Call], Call]
"""A call as one that does the same work on the same memory, and gives what it made."""


def cuda_graph(call: Call) -> Call:
    """Twice as it is, so that all is compiled and measured; then recorded.

    Its kernels overlap: in what is recorded nothing writes to weights.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    graph = torch.cuda.CUDAGraph()
    with overlapping():
        with torch.cuda.stream(side):
            for _ in range(2):
                call()
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            made = call()

    def replay() -> Made:
        graph.replay()
        return made

    return replay


@dataclass(frozen=True, slots=True)
class Recorded:
    """A step of some quanta: what its inputs are copied to, and the call."""

    feeds: Mapping[str, Tensor]
    call: Call


@dataclass
class CapturedStreams(Streams):
    """As `Streams`; no tensor that carries something is ever replaced by another."""

    capture: Capture = cuda_graph
    recorded: dict[int, Recorded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.moving = torch.ones_like(self.age, dtype=torch.bool)
        self.ends = {name: end.clone() for name, end in self.ends.items()}

    def restart(self, streams: Tensor) -> None:
        self.age.masked_fill_(streams, 0)
        for end in self.ends.values():
            end.masked_fill_(streams, UNENDED)

    def end(self, name: str, lengths: Tensor) -> None:
        self.ends[name].copy_(lengths)

    @torch.no_grad()
    def step(
        self, feeds: Mapping[str, Tensor], multiple: int = 1, moving: Tensor | None = None
    ) -> Made:
        """As `Streams.step`; what it gives is the caller's own."""
        if multiple not in self.recorded:
            self.recorded[multiple] = self._record(feeds, multiple)
        step = self.recorded[multiple]
        for name, x in feeds.items():
            step.feeds[name].copy_(x)
        self._say(moving)
        return {
            name: Block(block.data.clone(), block.there.clone(), block.first.clone())
            for name, block in step.call().items()
        }

    def _say(self, moving: Tensor | None) -> None:
        if moving is None:
            self.moving.fill_(True)
        else:
            self.moving.copy_(moving)

    def _record(self, feeds: Mapping[str, Tensor], multiple: int) -> Recorded:
        """Recording may run the step; the streams are as before."""
        room = {name: x.clone() for name, x in feeds.items()}
        kept = self.age.clone(), {name: x.clone() for name, x in self.state.items()}
        step = self.step_of(multiple)
        call = self.capture(lambda: self._run(step, room, multiple))
        self.age.copy_(kept[0])
        for name, x in kept[1].items():
            self.state[name].copy_(x)
        return Recorded(room, call)

    def _run(self, step: StepModule, feeds: Mapping[str, Tensor], multiple: int) -> Made:
        made = step.module(*self.arguments(step, feeds))
        count = len(step.outputs)
        data = [x.clone() for x in made[:count]]  # it may be a view of a state, which moves on
        there = [mask & self.moving.unsqueeze(1) for mask in made[count : 2 * count]]
        first = [out.start + self.age * out.count for out in step.outputs]
        after = step.moved(self.age, self.state, made[2 * count :], self.moving)
        for name, x in after.items():  # all are there: a new state may be a view of an old one
            if x is not self.state[name]:
                self.state[name].copy_(x)
        self.age += multiple * self.moving
        blocks = map(Block, data, there, first)
        return dict(zip((out.name for out in step.outputs), blocks, strict=True))
