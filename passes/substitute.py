"""`substitute`: the accelerator's operators in place of float ones.

`substitute()`          everything but what stays on the host
`substitute(encoder)`   a part alone: float operators elsewhere

Values are marked `on=nna`: every backend then computes them as the accelerator does, in integers.
What stays on the host stays as it is, with the reason (`compiler/placement.py`); what neither side
computes is refused. The operator set is ours; papers/nna-operators.md names none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..compiler.diagnostics import AsrcError
from ..compiler.facts import Facts
from ..compiler.graph import Graph
from ..compiler.placement import place
from ..compiler.protocol import Weights
from ..compiler.select import select
from ..compiler.spec import OptionError


@dataclass(frozen=True)
class Substitute:
    """Marks what the accelerator computes."""

    name: ClassVar[str] = "substitute"
    keeps: ClassVar[frozenset[str]] = frozenset(
        {"lookahead", "rate", "shapes", "parameters", "state"}
    )

    on: str | None = None

    def run(self, graph: Graph, weights: Weights | None) -> tuple[Graph, Weights | None]:
        """Raises AsrcError E0701 for what no side computes, E0803 where nothing is selected."""
        try:
            chosen = set(graph.nodes if self.on is None else select(graph, self.on))
        except AsrcError as error:
            raise OptionError("on", error) from None
        host = place(Facts(graph), chosen).host
        marked = (
            node.with_attrs(on="nna") if node.path in chosen and node.path not in host else node
            for node in graph
        )
        return graph.rewrite(marked), weights
