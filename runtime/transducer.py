"""A lowered model as the transducer that decoders drive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ..backends.torch.lowered import Lowered
from ..backends.torch.ports import Port
from ..backends.torch.stepmodule import empty_states
from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.facts import Facts
from ..compiler.graph import Graph
from ..compiler.types import Label, Stream, base_clock
from .decode.hypothesis import Clock
from .decode.protocol import Heads, State


@dataclass(frozen=True, slots=True)
class Roles:
    """Who is who in a transducer, by the names of values.

    `audio` and `previous` are the inputs; `frames` are the values of the frames' clock that the
    joint reads, `labels` is the predictor's output; `heads` are the joint's outputs.
    """

    audio: str
    previous: str
    frames: tuple[str, ...]
    labels: str
    heads: tuple[str, ...]
    labels_count: int

    @property
    def blank(self) -> int:
        """The class after all labels."""
        return self.labels_count


def find_roles(lowered: Lowered) -> Roles:
    """The roles of a model's values. Raises AsrcError E1008 where it is no transducer."""
    missing = [p for p in ("frames", "labels", "lattice") if p not in lowered.parts]
    if missing:
        raise no_transducer(lowered.facts.graph, "it has no encoder, predictor and joint")
    lattice, facts = lowered.parts["lattice"], lowered.facts
    values = [port for port in lattice.inputs if port.kind == "value"]
    frames = [p for p in values if isinstance(base_clock(facts.types[p.path].clock), Stream)]
    labels = [p for p in values if isinstance(base_clock(facts.types[p.path].clock), Label)]
    if len(labels) != 1 or not frames:
        raise no_transducer(facts.graph, "its joint does not read one predictor and frames")
    previous = _only_input(lowered, "labels", "token")
    count = facts.types[previous.path].vocab
    assert count is not None
    return Roles(
        _only_input(lowered, "frames", "real").name,
        previous.name,
        tuple(p.name for p in frames),
        labels[0].name,
        tuple(p.name for p in lattice.outputs),
        count,
    )


def _only_input(lowered: Lowered, part: str, elem: str) -> Port:
    """The one model input of a part that is audio, or the previous label."""
    graph, types = lowered.facts.graph, lowered.facts.types
    ports = [p for p in lowered.parts[part].inputs if p.kind == "value"]
    found = [p for p in ports if graph[p.path].op == "input" and types[p.path].elem == elem]
    if len(found) != 1:
        what = "audio" if elem == "real" else "previous label"
        raise no_transducer(graph, f"it has {len(found)} inputs of {what}, not one")
    return found[0]


def no_transducer(graph: Graph, reason: str) -> AsrcError:
    message = f"`{graph.name}` cannot be trained or run as a transducer: {reason}"
    return AsrcError(diagnostic("E1008", message))


def clock_of(facts: Facts, path: str) -> Clock:
    """Period and look-ahead of a value's frames."""
    base = base_clock(facts.types[path].clock)
    assert isinstance(base, Stream)
    return Clock(base.period, facts.lookahead(path) or Fraction(0))


class LoweredTransducer:
    """The joint and the predictor of a model, for `runtime.decode`.

    `given` are values that are known for whole utterances (a catalogue's keys), for one stream.
    """

    def __init__(self, lowered: Lowered, given: Mapping[str, Tensor] | None = None) -> None:
        self.lowered, self.given = lowered, dict(given or {})
        self.roles = find_roles(lowered)
        self.step = lowered.step("labels")
        tensors = (t for t in lowered.tensors().values() if t.is_floating_point())
        self.like = next(tensors).detach().new_zeros(1)
        self.cached = self.step.prepare(self.like) if self.step.cached else ()

    def joint(self, frames: Mapping[str, Tensor], labels: Tensor) -> Heads:
        """Log-probabilities of N pairs of frames and predictor outputs."""
        values = {name: x.unsqueeze(1) for name, x in frames.items()}
        values[self.roles.labels] = labels.unsqueeze(1)
        lattice = self.lowered.parts["lattice"]
        for port in lattice.inputs:
            if port.kind == "length":
                values[port.name] = labels.new_ones(len(labels), dtype=torch.int64)
            elif port.name not in values:
                values[port.name] = self._given(port.name, len(labels))
        found = {name: x[:, 0, 0] for name, x in lattice(values).items()}
        if len(self.roles.heads) == 1:
            return found[self.roles.heads[0]]
        return {name.rpartition("_")[2]: x for name, x in found.items()}

    def _given(self, name: str, batch: int) -> Tensor:
        x = self.given[name]
        return x.expand(batch, *x.shape[1:])

    def predictor_start(self, batch: int) -> tuple[Tensor, State]:
        state: State = dict(empty_states(self.step, batch, self.like))
        state["age"] = torch.zeros(batch, dtype=torch.int64, device=self.like.device)
        start = torch.zeros(batch, dtype=torch.int64, device=self.like.device)
        return self.predictor_step(start, state)

    def predictor_step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        age = state["age"]
        found = self.step.module(
            age,
            tokens.view(-1, 1, 1),
            torch.full_like(age, 1 << 40),
            *(self._given(port.name, len(tokens)) for port in self.step.given),
            *self.cached,
            *(state[s.name] for s in self.step.states),
        )
        count = len(self.step.outputs)
        names = [made.name for made in self.step.outputs]
        kept = dict(zip((s.name for s in self.step.states), found[2 * count :], strict=True))
        return found[names.index(self.roles.labels)][:, 0], {**kept, "age": age + 1}
