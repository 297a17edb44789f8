"""Which input frames an output frame may read: the reads of the facts, followed to the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf

from ...compiler.facts import Facts
from ...compiler.facts.gates import Gates, infer_gates
from ...compiler.facts.reads import SAME, Index

Span = tuple[Index, Index]
"""The first and the last frame."""

Spans = dict[str, Span]


@dataclass(frozen=True)
class Reach:
    facts: Facts

    @cached_property
    def gates(self) -> Gates:
        return infer_gates(self.facts.graph, self.facts.types)

    def of(self, path: str, i: int) -> Spans:
        """The first and last frame of each input that frame `i` of a value may read.

        Both never decrease from frame to frame, so it is enough to follow the two ends.
        """
        spans: Spans = {path: (i, i)}
        for group in reversed(self.facts.graph.waves):
            touched = [spans[p] for p in group if p in spans]
            if touched:
                span = min(s[0] for s in touched), max(s[1] for s in touched)
                self._through(group, span, spans)
        return {p: span for p, span in spans.items() if self.facts.graph[p].op == "input"}

    def _through(self, group: tuple[str, ...], span: Span, spans: Spans) -> None:
        """From a value, or the values of a recurrence, to what they read."""
        graph, reads = self.facts.graph, self.facts.timing.reads
        if any(reads.at(p, 0) is not SAME for p in group if p in graph.cycle_shifts):
            span = -inf, span[1]
        for path in group:
            self._to_flags(path, span, spans)
            for slot, source in enumerate(graph[path].inputs):
                pattern = reads.at(path, slot)
                if pattern is not None and source not in group:
                    first, last = span
                    first = first if abs(first) == inf else pattern.first(int(first))
                    _widen(spans, source, (first, pattern.last(int(last))))

    def _to_flags(self, path: str, span: Span, spans: Spans) -> None:
        """A value that a flag lets run is there, or keeps its state, as the flag says."""
        for flag in {gate.flag for gate in self.gates.get(path, ())}:
            if self.facts.graph[flag].op == "input":
                _widen(spans, flag, span)
                continue
            for source, (_, last) in self.of(flag, int(span[1])).items():
                _widen(spans, source, (-inf, last))


def _widen(spans: Spans, path: str, span: Span) -> None:
    known = spans.get(path, (inf, -inf))
    spans[path] = min(span[0], known[0]), max(span[1], known[1])
