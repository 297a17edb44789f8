"""`stream`: the graph as a step graph, audio in pieces and state from each to the next.

`stream()`            steps as short as possible: the hyperperiod of all strides and chunks
`stream(step=320ms)`  steps of this length, a multiple of that

The values stay as they are, for the step is derived from them: which frames of each a step makes
and which it hands on follows from their facts (`compiler/facts/schedule.py`). The graph is marked
with its step, its text lists the state, and backends lower the step of that length. What cannot be
streamed is refused: an output that waits for the end, attention whose past grows without bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.facts import Facts
from ..compiler.facts.reads import timeline
from ..compiler.graph import Graph
from ..compiler.passtable import KEEPS
from ..compiler.protocol import Weights
from ..compiler.spec import OptionError
from ..compiler.units import Quantity


@dataclass(frozen=True)
class Stream:
    """Marks a graph with the length of its steps; `None` is the shortest that there is."""

    name: ClassVar[str] = "stream"
    keeps: ClassVar[frozenset[str]] = frozenset(KEEPS)

    step: Quantity | None = None

    def run(self, graph: Graph, weights: Weights | None) -> tuple[Graph, Weights | None]:
        """Raises AsrcError E0303 or E0404 where the graph cannot be streamed, E0803 where nothing
        of it is made of frames, E0805 where the step is no multiple of the shortest."""
        facts = Facts(replace(graph, step=None))
        shortest = facts.schedule.seconds
        facts.label_schedule  # noqa: B018
        if all(timeline(facts.types[path]) != "frames" for path in graph.outputs.values()):
            raise AsrcError(diagnostic("E0803", f"`{graph.name}` has no output with frames"))
        marked = replace(graph, step=shortest if self.step is None else self.step.value)
        try:
            Facts(marked).schedule  # noqa: B018
        except AsrcError as error:
            raise OptionError("step", error) from None
        return marked, weights
