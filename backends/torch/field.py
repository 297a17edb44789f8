"""The receptive field, measured: which input frames change an output frame, phase by phase.

For each frame of an output in one hyperperiod, the last frame of each input that it may read
follows from who reads whom. Perturbed beyond it, the output frame must not change; perturbed in
that frame alone, it must, for the input that look-ahead waits for. Before the first frame that
may be read nothing may change it either. Equal means equal: to the last bit. What is missed is
measured again in double precision: a sample that its window hardly weighs may be lost in rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf

import torch
from torch import Tensor

from ...compiler.facts import Facts
from ...compiler.facts.reads import timeline
from ...compiler.types import Type, frame_period
from .emit import word
from .examples import Length, random_inputs
from .modes import doubled
from .parts import streamed
from .ports import value_name
from .reach import Reach
from .trial import Trial, Values

ROWS = 48
"""Perturbations in one batch."""

CONTEXT = Fraction(1)
"""So many seconds of the past are laid before the frames at most; `past.py` tries all of it."""

PHASES = 64


@dataclass(frozen=True, slots=True)
class Probe:
    """Frames `first .. end - 1` of an input are perturbed; what of it reaches frame `i`?"""

    kind: str
    input: str
    first: int
    end: int
    i: int


def measure_field(trial: Trial, exact: bool) -> tuple[float, str]:
    """By how many seconds (labels) the field is missed at most, and in words the first miss.

    Without `exact` it is no miss where the last frame that may be read changes nothing.
    """
    worst, words = _measure(trial, exact)
    if words and trial.lowered.like.dtype != torch.float64:
        with doubled(trial.lowered):
            return _measure(trial, exact)
    return worst, words


def _measure(trial: Trial, exact: bool) -> tuple[float, str]:
    worst, words, reach = 0.0, "", Reach(trial.lowered.facts)
    graph = trial.lowered.facts.graph
    parts = (streamed(graph, trial.lowered.parts[part].part) for part in trial.parts)
    for path in [path for part in parts for path in part.outputs]:
        for miss, said in Field.of(trial, reach, path).misses(exact):
            worst, words = max(worst, miss), words or said
    return worst, words


@dataclass(frozen=True)
class Field:
    """One output's frames `frames`, and the utterance in whose middle they lie."""

    trial: Trial
    reach: Reach
    path: str
    frames: range
    length: Length

    @staticmethod
    def of(trial: Trial, reach: Reach, path: str) -> Field:
        facts = trial.lowered.facts
        if timeline(facts.types[path]) == "labels":
            return Field(trial, reach, path, range(4, 6), Length(Fraction(1), 8))
        period = _period(facts.types[path])
        quantum = facts.step_seconds
        phases = min(PHASES, int(quantum / period))
        begin = ceil(_context(reach, path, quantum) / quantum) * int(quantum / period)
        frames = range(begin, begin + 2 * phases)
        ahead = facts.lookahead(path) or Fraction(0)
        seconds = frames[-1] * period + ahead + 2 * quantum
        return Field(trial, reach, path, frames, Length(seconds, 1))

    @property
    def facts(self) -> Facts:
        return self.trial.lowered.facts

    def misses(self, exact: bool) -> Iterator[tuple[float, str]]:
        """Seconds and words of what is not as inferred."""
        probes = [probe for i in self.frames for probe in self._probes(i)]
        changed = self._changed(probes)
        for probe, change in zip(probes, changed, strict=True):
            if change and probe.kind != "last":
                yield self._seen_too_far(probe)
        if exact:
            yield from self._not_reached(probes, changed)

    def _probes(self, i: int) -> Iterator[Probe]:
        for source, (first, last) in self.reach.of(self.path, i).items():
            count = self.length.frames(self.facts.types[source])
            yield Probe("last", source, int(last), int(last) + 1, i)
            yield Probe("beyond", source, int(last) + 1, count, i)
            if first > 0:
                yield Probe("before", source, 0, int(first), i)

    def _seen_too_far(self, probe: Probe) -> tuple[float, str]:
        edge = "after" if probe.kind == "beyond" else "before"
        at = probe.first if probe.kind == "beyond" else probe.end
        words = f"frame {probe.i} of `{self.name}` sees `{probe.input}` {edge} frame {at}"
        return float(_period(self.facts.types[probe.input])), words

    def _not_reached(
        self, probes: Sequence[Probe], changed: Sequence[bool]
    ) -> Iterator[tuple[float, str]]:
        """Phases in which the look-ahead is less than inferred, the slowest one of all apart."""
        need = self.facts.timing.needs[self.path]
        reached = {p.i: self._ends(p) for p, change in zip(probes, changed, strict=True) if change}
        waits = [reached[i] - (i + 1) * need.period for i in self.frames if i in reached]
        short = max(0, int(need.worst)) - max(0, *waits, 0)
        if short:
            tick = float(self.facts.timing.tick)
            words = f"`{self.name}` looks {short * tick * 1000:g}ms less ahead than inferred"
            yield short * tick, words

    def _ends(self, probe: Probe) -> int:
        """The instant, in ticks, at which the perturbed frame has arrived."""
        period = self.facts.timing.needs[probe.input].period
        return probe.end * period if probe.kind == "last" else 0

    @property
    def name(self) -> str:
        return value_name(self.facts.graph, self.path)

    # --- perturbing ---

    def _changed(self, probes: Sequence[Probe]) -> list[bool]:
        """Whether each probe reaches its output frame, whatever the flags say."""
        found = [False] * len(probes)
        for flags in flag_settings(self.facts):
            base = self._inputs(flags)
            before = self.trial.run(base)[self.name]
            for begin in range(0, len(probes), ROWS):
                some = probes[begin : begin + ROWS]
                after = self.trial.run(self._perturbed(base, some))[self.name]
                for row, probe in enumerate(some):
                    same = torch.equal(before[row, probe.i], after[row, probe.i])
                    found[begin + row] |= not same
        return found

    def _inputs(self, flags: float | None) -> Values:
        """The same utterance in every row."""
        trial = self.trial
        one = random_inputs(self.facts, [self.length], trial.seed, trial.lowered.like.dtype)
        for name, kind in self._kinds().items():
            if kind.elem == "flag" and flags is not None:
                one[name] = torch.full_like(one[name], flags)
        return {name: x.expand(ROWS, *x.shape[1:]) for name, x in one.items()}

    def _perturbed(self, base: Mapping[str, Tensor], probes: Sequence[Probe]) -> Values:
        found, kinds = dict(base), self._kinds()
        source = self.trial.random(4, probes[0].i)
        for row, probe in enumerate(probes):
            name = word(probe.input)
            if found[name] is base[name]:
                found[name] = base[name].clone()
            part = found[name][row, probe.first : probe.end]
            part.copy_(other_frames(part, kinds[name], source))
        return found

    def _kinds(self) -> dict[str, Type]:
        return {word(n.path): self.facts.types[n.path] for n in self.facts.graph if n.op == "input"}


def _period(kind: Type) -> Fraction:
    return frame_period(kind.clock) or Fraction(1)


def _context(reach: Reach, path: str, quantum: Fraction) -> Fraction:
    """How many seconds of the past to lay before the frames: the inferred context and a little
    more, but no more than `CONTEXT`."""
    far, types = 10**9, reach.facts.types
    period, spans = _period(types[path]), reach.of(path, far)
    begins = [first * float(_period(types[p])) for p, (first, _) in spans.items()]
    back = float((far + 1) * period) - min(begins)
    return min(CONTEXT, Fraction(back) + quantum) if back < inf else CONTEXT


def flag_settings(facts: Facts) -> tuple[float | None, ...]:
    """At random, all up and all down where there are flags."""
    flags = any(n.op == "input" and facts.types[n.path].elem == "flag" for n in facts.graph)
    return (None, 0.0, 1.0) if flags else (None,)


def other_frames(x: Tensor, kind: Type, source: torch.Generator) -> Tensor:
    """Other frames: far away, the opposite flag, another token."""
    match kind.elem:
        case "flag":
            return 1 - x
        case "token":
            return (x + 1) % (kind.vocab or 1)
    return x + 100 * torch.randn(x.shape, generator=source, dtype=x.dtype)
