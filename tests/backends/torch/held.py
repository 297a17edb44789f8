"""A graph as PyTorch modules, held to the NumPy reference and to its own stream, in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asrc.backends.torch.emit import word
from asrc.backends.torch.examples import Length
from asrc.backends.torch.lowered import Lowered, lower
from asrc.backends.torch.ports import value_name
from asrc.backends.torch.trial import Differences, Trial, compare, drawn, streamed
from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.compiler.graph import Graph
from asrc.compiler.ops import VIEWS
from asrc.compiler.reference import Value, evaluate, random_weights

LIMIT = 1e-9
LENGTHS = (Length(Fraction(57, 100), 5), Length(Fraction(41, 100), 3))


def with_random_weights(graph: Graph | Facts, seed: int = 1) -> tuple[Lowered, Mapping[str, Any]]:
    """In float64 and evaluation, with the weights that the reference is given."""
    lowered = lower(graph).double().eval()
    weights = random_weights(lowered.facts.graph, lowered.facts.types, seed)
    with torch.no_grad():
        for name, tensor in lowered.tensors().items():
            tensor.copy_(torch.from_numpy(np.asarray(weights[name])))
    return lowered, weights


@dataclass(frozen=True)
class Held:
    """A graph with random weights and random utterances; `check` compares everything."""

    graph: Graph
    lengths: Sequence[Length] = LENGTHS
    seed: int = 1

    @cached_property
    def _model(self) -> tuple[Lowered, Mapping[str, Any]]:
        return with_random_weights(self.graph, self.seed)

    @property
    def lowered(self) -> Lowered:
        return self._model[0]

    @property
    def facts(self) -> Facts:
        return self.lowered.facts

    @cached_property
    def trial(self) -> Trial:
        return Trial(self.lowered, tuple(self.lengths), self.seed)

    def check(self) -> Held:
        self.check_reference()
        if self.streams:
            self.check_stream()
        return self

    # --- the reference ---

    def check_reference(self) -> None:
        """Each utterance of a batch with NaN in its padding against the reference, alone."""
        with torch.no_grad():
            made = self.lowered(with_nan(self.trial.inputs))
        for row in range(len(self.lengths)):
            wanted = self.reference(row)
            for path in {**self.graph.outputs, **self.graph.losses}.values():
                name = value_name(self.graph, path)
                gap = difference(made[name][row], wanted[path])
                assert gap < LIMIT, f"{name} of utterance {row} is {gap:.1e} off the reference"
                check_length(name, made, row, wanted[path])

    def reference(self, row: int) -> Mapping[str, Value]:
        inputs = {n.path: self.given(word(n.path), row) for n in self.graph if n.op == "input"}
        return evaluate(self.graph, self._model[1], inputs, types=self.facts.types)

    def given(self, name: str, row: int) -> Any:
        """An input of one utterance, as the reference takes it."""
        values = self.trial.inputs
        data = values[name][row].numpy()
        if f"{name}_length" in values:
            return data[: int(values[f"{name}_length"][row])]
        return (data, values[f"{name}_there"][row].numpy()) if f"{name}_there" in values else data

    # --- the stream ---

    @property
    def streams(self) -> bool:
        try:
            return bool((self.facts.schedule, self.facts.label_schedule))
        except AsrcError:
            return False

    def check_stream(self) -> None:
        """Random pushes, and everything at once; what is kept is what the facts say."""
        gaps = Differences("", LIMIT)
        for part in self.trial.parts:
            for sizes in self._cuts():
                compare(gaps, streamed(self.trial, part, sizes), self.trial.values, "in a stream")
        assert not gaps.words, gaps.words
        self.check_state()

    def _cuts(self) -> Iterator[Iterator[int]]:
        yield drawn((0, 1, 2, 5, 17, 40), torch.Generator().manual_seed(self.seed))
        yield repeat(1 << 30)

    def check_state(self) -> None:
        steps = [self.lowered.step(part, 1) for part in self.trial.parts]
        if any(self.graph[state.path].op in VIEWS for step in steps for state in step.states):
            return  # what a gated recurrence read last: see `Step.holding`
        held = sum(entry.values or 0 for entry in self.facts.held_step)
        assert sum(step.held_values for step in steps) == held


def with_nan(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inputs with two frames more, and no number or junk in all that is not there."""
    found = dict(values)
    for name, x in values.items():
        there = _there(values, name)
        if there is None:
            continue
        if f"{name}_length" in values:
            x = torch.cat([x, x[:, :2]], 1)
            there = torch.nn.functional.pad(there, (0, x.shape[1] - there.shape[1]))
        wide = there.reshape(there.shape + (1,) * (x.ndim - there.ndim))
        found[name] = torch.where(wide, x, float("nan") if x.is_floating_point() else 1 << 40)
    return found


def _there(values: Mapping[str, Tensor], name: str) -> Tensor | None:
    if f"{name}_length" in values:
        return torch.arange(values[name].shape[1]) < values[f"{name}_length"].unsqueeze(1)
    return values.get(f"{name}_there")


def difference(found: Tensor, wanted: Value) -> float:
    """The largest relative difference where the reference has something."""
    there = wanted.present
    if not there.any():
        return 0.0
    last = tuple(int(axis.max()) + 1 for axis in np.nonzero(there)) if there.ndim else ()
    part = tuple(slice(extent) for extent in last)
    mine, there, data = found.detach().numpy()[part], there[part], wanted.data[part]
    assert mine.shape == data.shape, f"{mine.shape} instead of {data.shape}"
    return float(np.abs(mine[there] - data[there]).max() / (1 + np.abs(data[there]).max()))


def check_length(name: str, made: Mapping[str, Tensor], row: int, wanted: Value) -> None:
    """A length counts the frames that are there, where they are there without gaps."""
    if f"{name}_length" in made and wanted.present.ndim == 1:
        count, length = int(wanted.present.sum()), int(made[f"{name}_length"][row])
        assert length == count or not wanted.present[:count].all(), f"{name} has {length} frames"
