"""Streams: a step fed with audio of any length, for a batch of streams of any age."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .lowered import Lowered
from .stepmodule import StepModule, empty_states
from .stepping import UNENDED


@dataclass(frozen=True, slots=True)
class Block:
    """Frames that a step made: `[B, n, *dims]`, which of them are there, and where they stand.

    Frame `k` is frame `first[b] + k` of stream `b`.
    """

    data: Tensor
    there: Tensor
    first: Tensor


@dataclass
class Streams:
    """The state of a batch of streams that step together, each of its own age.

    `given` are values known for whole utterances (a catalogue's keys), by name.
    """

    lowered: Lowered
    batch: int
    given: Mapping[str, Tensor] = field(default_factory=dict)
    part: str = "frames"

    def __post_init__(self) -> None:
        step = self.step_of(1)
        self.like = self.lowered.like
        self.age = torch.zeros(self.batch, dtype=torch.int64, device=self.like.device)
        self.ends = {feed.name: torch.full_like(self.age, UNENDED) for feed in step.feeds}
        self.state = empty_states(step, self.batch, self.like)
        self.cached = step.prepare(self.like) if step.cached else ()

    def step_of(self, multiple: int) -> StepModule:
        return self.lowered.step(self.part, multiple)

    def restart(self, streams: Tensor) -> None:
        """Streams (`[B]`, bool) that begin anew at the next step."""
        self.age = torch.where(streams, 0, self.age)
        self.ends = {n: torch.where(streams, UNENDED, end) for n, end in self.ends.items()}

    def end(self, name: str, lengths: Tensor) -> None:
        """Where the streams of an input end, in frames; `UNENDED` where that is not known."""
        self.ends[name] = lengths

    @torch.no_grad()
    def step(
        self, feeds: Mapping[str, Tensor], multiple: int = 1, moving: Tensor | None = None
    ) -> dict[str, Block]:
        """One step: `feeds` has `[B, frames, *dims]` of each input.

        With a `multiple`, no stream may be younger than the step's `warm_up`. Streams that are
        not `moving` (`[B]`, bool) stay as they are, and none of their frames is there.
        """
        step = self.step_of(multiple)
        made = step.module(*self.arguments(step, feeds))
        count = len(step.outputs)
        first = [out.start + self.age * out.count for out in step.outputs]
        there = list(made[count : 2 * count])
        self._move(step, multiple, list(made[2 * count :]), moving)
        if moving is not None:
            there = [mask & moving.unsqueeze(1) for mask in there]
        blocks = map(Block, made[:count], there, first)
        return dict(zip((out.name for out in step.outputs), blocks, strict=True))

    def arguments(self, step: StepModule, feeds: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """What the step's module is called with."""
        return (
            self.age,
            *(feeds[feed.name] for feed in step.feeds),
            *(self.ends[feed.name] for feed in step.feeds),
            *(self.given[port.name] for port in step.given),
            *self.cached,
            *(self.state[state.name] for state in step.states),
        )

    def _move(
        self, step: StepModule, multiple: int, state: list[Tensor], moving: Tensor | None
    ) -> None:
        """The state and age that a step leaves."""
        self.state = step.moved(self.age, self.state, state, moving)
        self.age = self.age + (multiple if moving is None else multiple * moving)
