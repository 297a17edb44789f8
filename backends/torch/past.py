"""The context, measured: the first input frame that an output frame may read, phase by phase.

An utterance is longer than the whole context. Perturbed before the first frame that may be read,
an output frame must not change by a bit; perturbed in that frame alone, it must, so that no context
is inferred that is longer than it is. A context without bound has no first frame.

Whether the first frame is read is decided by the perturbation where it comes through. It may be
lost in rounding: what passes through the far end of the attention of many layers weighs little
beside what is near. Then the derivative decides, in double precision: it stands alone, not beside
larger numbers, and is zero where nothing is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, inf

import torch
from torch import Tensor

from ...compiler.facts import Facts
from ...compiler.facts.reads import timeline
from ...compiler.types import Type, frame_period
from .emit import word
from .examples import Length, random_inputs
from .field import flag_settings, other_frames
from .modes import doubled, evaluating
from .parts import streamed
from .ports import value_name
from .reach import Reach
from .trial import Trial, Values

SECONDS = 160
"""So much audio is run at once."""

LONGEST = 240
"""Contexts of more seconds or labels are not tried."""

FAR = 10**9
"""A frame that has its whole context before it."""

Stretch = tuple[str, int, int]
"""An input, and from where to where it is perturbed."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Frame `first` of an input is the first that frame `i` of an output may read."""

    path: str
    i: int
    input: str
    first: int


def measure_past(trial: Trial, exact: bool) -> tuple[float, str]:
    """By how many seconds (labels) the context is missed at least, and in words the first miss.

    Without `exact` it is no miss where the first frame that may be read changes nothing.
    """
    worst, words, reach = 0.0, "", Reach(trial.lowered.facts)
    for part in trial.parts:
        for miss, said in Past(trial, reach, part).misses(exact):
            worst, words = max(worst, miss), words or said
    return worst, words


@dataclass(frozen=True)
class Past:
    """The outputs of one part."""

    trial: Trial
    reach: Reach
    part: str

    def misses(self, exact: bool) -> Iterator[tuple[float, str]]:
        """Seconds and words of what is not as inferred."""
        early = self._seen_early(self.edges)
        unread = self._unread(self.edges) if exact else []
        with doubled(self.trial.lowered):
            early = self._seen_early(early)
            unread = [edge for edge in unread if not self._derives(edge)]
        for edge in early:
            yield self._said(edge, "sees `{input}` before frame {first}")
        for edge in unread:
            yield self._said(edge, "does not read `{input}` as early as inferred, frame {first}")

    def _said(self, edge: Edge, words: str) -> tuple[float, str]:
        said = words.format(input=edge.input, first=edge.first)
        return float(self._period(edge.input)), f"frame {edge.i} of `{self._name(edge)}` {said}"

    # --- where contexts begin ---

    @cached_property
    def edges(self) -> list[Edge]:
        """Of every output, input and phase."""
        phases = ((path, i) for path in self._outputs for i in self._phases(path))
        return [
            Edge(path, i, source, int(first))
            for path, i in phases
            for source, (first, _) in self.reach.of(path, i).items()
            if first > 0 and self._back(path, source) <= LONGEST
        ]

    @cached_property
    def _outputs(self) -> list[str]:
        part = streamed(self._facts.graph, self.trial.lowered.parts[self.part].part)
        return [path for path in part.outputs if timeline(self._facts.types[path]) is not None]

    def _phases(self, path: str) -> range:
        """The frames of one step, behind the longest context."""
        count = int(self._step / self._period(path))
        begin = ceil(self._longest / self._step) * count
        return range(begin, begin + count)

    @cached_property
    def _longest(self) -> Fraction:
        """Of the contexts that are tried, in whole steps and one more."""
        backs = [self._back(p, q) for p in self._outputs for q in self.reach.of(p, FAR)]
        return Fraction(max((b for b in backs if b <= LONGEST), default=0)) + self._step

    def _back(self, path: str, source: str) -> float:
        """The context in seconds or labels; infinite without a bound."""
        first, _ = self.reach.of(path, FAR)[source]
        if first == -inf:
            return inf
        return float((FAR + 1) * self._period(path) - int(first) * self._period(source))

    @cached_property
    def _length(self) -> Length:
        facts = self._facts
        end = self._longest + 2 * self._step
        if self.part == "labels":
            return Length(Fraction(1), int(end))
        ahead = max((facts.lookahead(path) or Fraction(0) for path in self._outputs), default=0)
        return Length(end + ahead, 1)

    @property
    def _step(self) -> Fraction:
        return Fraction(1) if self.part == "labels" else self._facts.step_seconds

    @property
    def _facts(self) -> Facts:
        return self.trial.lowered.facts

    def _period(self, path: str) -> Fraction:
        return frame_period(self._facts.types[path].clock) or Fraction(1)

    def _name(self, edge: Edge) -> str:
        return value_name(self._facts.graph, edge.path)

    # --- perturbing ---

    def _seen_early(self, edges: Sequence[Edge]) -> list[Edge]:
        """Those whose output changes with what lies before them."""
        changed = self._changed(edges, lambda edge: (edge.input, 0, edge.first))
        return [edge for edge, change in zip(edges, changed, strict=True) if change]

    def _unread(self, edges: Sequence[Edge]) -> list[Edge]:
        """Those whose output does not change with them."""
        changed = self._changed(edges, self._at)
        return [edge for edge, change in zip(edges, changed, strict=True) if not change]

    def _at(self, edge: Edge) -> Stretch:
        """The frame itself. A window of `logmel` begins with a weight of zero: two samples."""
        graph = self._facts.graph
        windowed = any(graph[p].op == "logmel" for p in graph.readers[edge.input])
        return edge.input, edge.first, edge.first + 1 + windowed

    def _changed(self, edges: Sequence[Edge], where: Callable[[Edge], Stretch]) -> list[bool]:
        """Whether each output frame changes, whatever the flags say."""
        rows = list(dict.fromkeys(where(edge) for edge in edges))
        size = max(1, int(SECONDS / self._length.seconds))
        found = [False] * len(edges)
        for flags in flag_settings(self._facts):
            for begin in range(0, len(rows), size):
                some = rows[begin : begin + size]
                here = [where(edge) in some for edge in edges]
                before, after = self._runs(some, flags)
                for n, edge in enumerate(edges):
                    if here[n]:
                        at, name = (some.index(where(edge)), edge.i), self._name(edge)
                        found[n] |= not torch.equal(before[name][at], after[name][at])
        return found

    def _runs(self, rows: Sequence[Stretch], flags: float | None) -> tuple[Values, Values]:
        """What comes of the same utterance in every row, and of it perturbed, row by row."""
        base = {
            name: x.expand(len(rows), *x.shape[1:]).clone()
            for name, x in self._inputs(flags).items()
        }
        before = self.trial.run(base)
        source = self.trial.random(5)
        for row, (path, begin, end) in enumerate(rows):
            part = base[word(path)][row, begin:end]
            part.copy_(other_frames(part, self._facts.types[path], source))
        return before, self.trial.run(base)

    def _inputs(self, flags: float | None) -> Values:
        trial, dtype = self.trial, self.trial.lowered.like.dtype
        found = random_inputs(self._facts, [self._length], trial.seed, dtype)
        for name, kind in self._kinds().items():
            if kind.elem == "flag" and flags is not None:
                found[name] = torch.full_like(found[name], flags)
        return found

    def _kinds(self) -> dict[str, Type]:
        graph, types = self._facts.graph, self._facts.types
        return {word(n.path): types[n.path] for n in graph if n.op == "input"}

    # --- the derivative ---

    def _derives(self, edge: Edge) -> bool:
        """Whether an output frame has a derivative by the first frame; false for what is no
        number, a token or a flag."""
        if self._facts.types[edge.input].elem in ("token", "flag"):
            return False
        settings = flag_settings(self._facts)
        return any(bool(self._derivative(edge, flags).any()) for flags in settings)

    def _derivative(self, edge: Edge, flags: float | None) -> Tensor:
        given, trial = self._inputs(flags), self.trial
        name, begin, end = self._at(edge)
        x = given[word(name)].requires_grad_()
        with torch.enable_grad(), evaluating(trial.lowered):
            y = trial.lowered(given)[self._name(edge)][0, edge.i]
            weights = torch.randn(y.shape, generator=trial.random(6), dtype=y.dtype)
            (found,) = torch.autograd.grad((y * weights).sum(), x)
        return found[0, begin:end]
