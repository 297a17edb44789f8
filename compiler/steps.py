"""What a pass did: the graph and its facts on both sides, and the time it took."""

from __future__ import annotations

from dataclasses import dataclass

from .facts import Facts
from .spec import Call


@dataclass(frozen=True)
class Step:
    """One pass that ran; `seconds` is the CPU time of the pass alone."""

    call: Call
    before: Facts
    after: Facts
    seconds: float

    @property
    def changed(self) -> bool:
        """Whether the pass made another graph, names and provenance aside."""
        old, new = self.before.graph, self.after.graph
        return (old.nodes, old.outputs, old.losses) != (new.nodes, new.outputs, new.losses)
