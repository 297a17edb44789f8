"""What a pass did: the graph and its facts on both sides, and the time it took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from .budgets import Measure
from .facts import Facts
from .measure import Amount, evaluate
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
        old, new = self.before.graph, self.after.graph
        return (old.nodes, old.outputs, old.losses) != (new.nodes, new.outputs, new.losses)

    def deltas(self) -> Iterator[tuple[str, Amount, Amount]]:
        """Every figure that the pass changed: its name, and what it was and is."""
        for name, figure in FIGURES.items():
            before, after = figure(self.before), figure(self.after)
            if before != after:
                yield name, before, after


def time_table(steps: Sequence[Step]) -> str:
    """A line a pass: CPU time, the call, and what changed."""
    return "\n".join(
        f"{step.seconds * 1000:8.2f} ms  {step.call}{_changes(step)}" for step in steps
    )


def _changes(step: Step) -> str:
    changes = [f"{name} {before} -> {after}" for name, before, after in step.deltas()]
    return f"  ({', '.join(changes)})" if changes else ""


def _values(facts: Facts) -> Amount:
    return Amount(Fraction(len(facts.graph)), "number")


def _figure(name: str) -> Callable[[Facts], Amount]:
    return lambda facts: evaluate(facts, Measure(name, None))


def _lookahead(facts: Facts) -> Amount:
    return evaluate(facts, Measure("lookahead", None)) if facts.graph.outputs else _NOTHING


_NOTHING = Amount(Fraction(0), "time")

FIGURES: dict[str, Callable[[Facts], Amount]] = {
    "values": _values,
    "look-ahead": _lookahead,
    "state": _figure("state"),
    "parameters": _figure("params"),
}
