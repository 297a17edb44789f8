"""Budgets while passes run: which hold now, and since which pass the others do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .budget_check import check_budget
from .budgets import Budget
from .diagnostics import Diagnostic
from .facts import Facts
from .source import Span
from .spec import Call


@dataclass
class BudgetWatch:
    """Budgets, each with the number of passes after which it is in force."""

    budgets: Sequence[tuple[int, Budget]]
    seen: int = 0
    now: dict[int, tuple[Diagnostic, ...]] = field(default_factory=dict)
    since: dict[int, Call | None] = field(default_factory=dict)

    def look(self, facts: Facts, places: Mapping[str, Span], call: Call | None = None) -> None:
        """Check all budgets in force after one more pass, or before the first one."""
        self.seen += call is not None
        for number, (start, budget) in enumerate(self.budgets):
            if start > self.seen:
                continue
            found = check_budget(facts, budget, places)
            if found and number not in self.since:
                self.since[number] = call if start < self.seen else None
            elif not found:
                self.since.pop(number, None)
            self.now[number] = found

    def broken(self) -> Iterator[Diagnostic]:
        """What does not hold now, with the pass after which it no longer did."""
        for number, found in self.now.items():
            call = self.since.get(number)
            for item in found:
                yield item if call is None else _since(item, call)


def _since(item: Diagnostic, call: Call) -> Diagnostic:
    noted = replace(item, notes=(*item.notes, f"it held before `{call}`"))
    known = any(label.span == call.span for label in item.labels)
    return noted if known else noted.at(call.span, "broken by this pass")
