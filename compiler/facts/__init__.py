"""Facts: everything the compiler knows about a graph before a weight exists.

`Facts(graph)` infers lazily; each fact is computed once, in time linear in the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod

from ..graph import Graph
from ..types import Type
from . import cached as _cached
from .contributors import Contribution, contributors
from .demand import Demand, infer_demand
from .duty import Range, branch_values, cost_range
from .formats import Format, infer_formats, parameter_format
from .macs import Cost, infer_macs
from .need import Timing, infer_timing
from .offsets import infer_offsets
from .params import Shapes, count, infer_params
from .recurrence import check_recurrences
from .schedule import Schedule, infer_schedule
from .shape import infer_types
from .state import Clockwork, Held, bits_held, infer_held, step_quantum

__all__ = ["Contribution", "Cost", "Facts", "Format", "Held", "Range", "Schedule"]


@dataclass(frozen=True)
class Facts:
    """All facts of one graph. Raises AsrcError on first use if the graph is not well-formed."""

    graph: Graph

    @cached_property
    def types(self) -> Mapping[str, Type]:
        types = infer_types(self.graph)
        check_recurrences(self.graph, types)
        return types

    @cached_property
    def timing(self) -> Timing:
        return infer_timing(self.graph, self.types)

    @cached_property
    def _best_timing(self) -> Timing:
        return infer_timing(self.graph, self.types, best=True)

    @cached_property
    def demand(self) -> Mapping[str, Demand]:
        return infer_demand(self.graph, self.timing)

    @cached_property
    def _step(self) -> Clockwork:
        timing = infer_timing(self.graph, self.types, patient=True)
        return Clockwork(self.graph, self.types, timing, self.demand)

    @cached_property
    def _frame(self) -> Clockwork:
        timing = infer_timing(self.graph, self.types, quantum=False, patient=True)
        return Clockwork(self.graph, self.types, timing, infer_demand(self.graph, timing))

    @cached_property
    def held_step(self) -> tuple[Held, ...]:
        return infer_held(self._step, step=True)

    @cached_property
    def held_frame(self) -> tuple[Held, ...]:
        return infer_held(self._frame, step=False)

    @cached_property
    def step_seconds(self) -> Fraction:
        """The compiled step quantum in seconds."""
        return step_quantum(self._step) * self.timing.tick

    @cached_property
    def schedule(self) -> Schedule:
        """How the frames run as a stream. Raises AsrcError E0303 or E0404 where they cannot."""
        return infer_schedule(self._step)

    @cached_property
    def label_schedule(self) -> Schedule:
        """How the labels run, one by one. Raises AsrcError E0404 where they cannot."""
        return infer_schedule(self._step, "labels")

    @cached_property
    def formats(self) -> Mapping[str, Format]:
        return infer_formats(self.graph, self.types)

    @cached_property
    def params(self) -> Mapping[str, Shapes]:
        return infer_params(self.graph, self.types)

    @cached_property
    def macs(self) -> Mapping[str, Cost]:
        return infer_macs(self.graph, self.types, self.demand, self.timing.reads, self.offsets)

    @cached_property
    def branches(self) -> Mapping[str, tuple[frozenset[str], frozenset[str]]]:
        return branch_values(self.graph)

    @cached_property
    def offsets(self) -> Mapping[str, int | None]:
        """Values over relative positions -> how many offsets their attention can see."""
        return infer_offsets(self.graph, self.types, self.timing.reads)

    @cached_property
    def cached(self) -> Mapping[str, int | None]:
        """Static values that frames read, computed once an utterance: value -> numbers kept."""
        return _cached.infer_cached(self.graph, self.types, self.offsets, self.demand)

    # --- figures over a selection ---

    def lookahead(self, path: str, *, best: bool = False) -> Fraction | None:
        """Algorithmic look-ahead of a value in seconds, `None` when unbounded.

        Worst case, or with `best` the case in which every switch takes its quicker branch.
        """
        return (self._best_timing if best else self.timing).lookahead(path)

    def contributors(self, path: str) -> list[Contribution]:
        return contributors(self.graph, self.timing, path)

    @cached_property
    def _training_only(self) -> set[str]:
        """What losses need and no output does: it is not part of the recogniser."""
        needed = self.graph.ancestors(self.graph.outputs.values())
        return self.graph.ancestors(self.graph.losses.values()) - needed

    def param_count(self, paths: Iterable[str]) -> int:
        """Parameters of the recogniser; what only a training loss needs does not count."""
        kept = self.params.keys() - self._training_only
        return sum(count(self.params[p]) for p in paths if p in kept)

    def weight_bits(self, paths: Iterable[str]) -> int:
        """Bits of the recogniser's parameters, in their formats."""
        kept = self.params.keys() - self._training_only
        return sum(
            prod(shape) * parameter_format(self.graph[path], name).bits
            for path in paths
            if path in kept
            for name, shape in self.params[path].items()
        )

    def held_bits(self, paths: Iterable[str], *, step: bool) -> Fraction | None:
        wanted = set(paths)
        held = self.held_step if step else self.held_frame
        return bits_held((h for h in held if h.path in wanted), lambda p: self.formats[p].bits)

    def cost(self, paths: Iterable[str]) -> Range:
        wanted = set(paths)
        return cost_range(self.graph, {p: c for p, c in self.macs.items() if p in wanted})
