"""Runs passes one after the other and holds each to its word.

After every pass the whole graph is inferred anew, the pass's `keeps` are compared with the graph
before, and the budgets are looked at, so that each mistake is blamed on the pass that made it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import process_time

from .budget_watch import BudgetWatch
from .budgets import Budget
from .diagnostics import AsrcError, Bag, Diagnostic, Label, diagnostic
from .facts import Facts
from .files import write_text
from .graph import Graph
from .irtext import print_graph
from .keeps import broken_numerics, broken_promise
from .passcall import blame, build
from .passtable import lookup
from .protocol import Pass, Reviewer, Weights
from .reproducer import Guard
from .source import Span
from .spec import Call
from .steps import Step

Numerics = Callable[[Graph, Weights | None, Graph, Weights | None], str | None]
"""Compares two graphs by running them; words on the first difference, or `None`."""


def _silent(text: str) -> None:
    return None


@dataclass(frozen=True)
class Options:
    """What to show and keep while passes run.

    `print_after` names passes; `keep_ir` is a folder for `00-source.asrir`, `01-mask.asrir`, ...;
    `crash_folder` is where a reproducer goes; `show` takes the texts to print.
    """

    print_after: frozenset[str] = frozenset()
    print_on_change: bool = False
    keep_ir: Path | None = None
    crash_folder: Path = field(default_factory=Path)
    numerics: Numerics | None = None
    show: Callable[[str], None] = _silent


@dataclass(frozen=True)
class Result:
    """The facts after all passes; `diagnostics` are budgets that do not hold, and warnings."""

    facts: Facts
    weights: Weights | None
    steps: tuple[Step, ...]
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def graph(self) -> Graph:
        return self.facts.graph


def run_pipeline(
    graph: Graph,
    calls: Sequence[Call],
    budgets: Sequence[tuple[int, Budget]] = (),
    *,
    weights: Weights | None = None,
    options: Options | None = None,
    facts: Facts | None = None,
) -> Result:
    """Run `calls` in order. `facts` are those of `graph`, if they are known already.

    A budget `(n, b)` is in force after the first `n` calls, the model's own from the start. A
    budget must hold in the end; the pass after which it no longer did is named.

    Raises AsrcError: E0804, E0805, E0206 a wrong call; E0802 wrong order; E0801 a promise not
    kept; E0999 an internal error in a pass, with a reproducer; and what a pass itself refuses.
    """
    passes = _build_all(calls)
    check_order(calls)
    known = facts or Facts(graph)
    return _Run(known, weights, options or Options(), budgets).all(calls, passes)


def _build_all(calls: Sequence[Call]) -> list[Pass]:
    """Every pass, or every mistake in every call."""
    made: list[Pass] = []
    mistakes: list[Diagnostic] = []
    for call in calls:
        try:
            made.append(build(call))
        except AsrcError as error:
            mistakes.extend(error.diagnostics)
    if mistakes:
        raise AsrcError(*mistakes)
    return made


def check_order(calls: Sequence[Call]) -> None:
    """Raises AsrcError E0802 where a pass runs before one that it must come after."""
    for index, call in enumerate(calls):
        wanted = lookup(call.name).after
        for later in calls[index + 1 :]:
            if later.name in wanted:
                found = diagnostic(
                    "E0802",
                    f"`{call.name}` must come after `{later.name}`",
                    call.span,
                    help=f"move `{call}` below `{later}`",
                )
                raise AsrcError(found.at(later.span, "this comes first"))


class _Run:
    """One run of a pipeline."""

    def __init__(
        self,
        facts: Facts,
        weights: Weights | None,
        options: Options,
        budgets: Sequence[tuple[int, Budget]],
    ) -> None:
        self.facts = facts
        self.weights = weights
        self.options = options
        self.watch = BudgetWatch([*((0, b) for b in facts.graph.budgets), *budgets])
        self.bag = Bag()
        self.changed_by: dict[str, Span] = {}
        self.steps: list[Step] = []

    def all(self, calls: Sequence[Call], passes: Sequence[Pass]) -> Result:
        self._keep("source")
        self.watch.look(self.facts, self.changed_by)
        for index, made in enumerate(passes):
            step = self._step(made, calls[index:])
            self.steps.append(step)
            self._show(step)
            self.watch.look(self.facts, self.changed_by, step.call)
        self.bag.extend(self.watch.broken())
        return Result(self.facts, self.weights, tuple(self.steps), tuple(self.bag))

    def _step(self, made: Pass, calls: Sequence[Call]) -> Step:
        call, before = calls[0], self.facts
        start = process_time()
        try:
            with Guard(before.graph, calls, self.options.crash_folder):
                graph, weights = made.run(before.graph, self.weights)
        except AsrcError as error:
            raise blame(error, call) from error.__cause__
        seconds = process_time() - start
        line = f"after {call}"
        after = Facts(graph.noted(line))
        with Guard(before.graph, calls, self.options.crash_folder):
            self._verify(made, call, before, after)
            if self.options.numerics is not None and "numerics" in made.keeps:
                self._compare(self.options.numerics, made, call, graph, weights)
        self._review(made, call, after)
        self._note_changes(call, before, after)
        self.facts, self.weights = after, weights
        return Step(call, before, after, seconds)

    def _verify(self, made: Pass, call: Call, before: Facts, after: Facts) -> None:
        """Raises AsrcError where the new graph is ill-typed or a promise is broken."""
        try:
            after.types  # noqa: B018
        except AsrcError as error:
            raise blame(error, call, "after this pass") from None
        broken = broken_promise(made, before, after, call.span)
        if broken is not None:
            raise AsrcError(broken)

    def _compare(
        self, numerics: Numerics, made: Pass, call: Call, graph: Graph, weights: Weights | None
    ) -> None:
        words = numerics(self.facts.graph, self.weights, graph, weights)
        if words is not None:
            raise AsrcError(broken_numerics(made, words, call.span))

    def _review(self, made: Pass, call: Call, after: Facts) -> None:
        if isinstance(made, Reviewer):
            for found in made.review(after.graph):
                first = (Label(call.span),) if call.span is not None else ()
                self.bag.add(replace(found, labels=(*first, *found.labels)))

    def _note_changes(self, call: Call, before: Facts, after: Facts) -> None:
        """Where each value's present options were written, for the labels of budgets."""
        if call.span is None:
            return
        for node in after.graph:
            old = before.graph.nodes.get(node.path)
            if old is None or old.attrs != node.attrs:
                self.changed_by[node.path] = call.span

    # --- what is shown and kept ---

    def _show(self, step: Step) -> None:
        wanted = step.call.name in self.options.print_after
        if wanted or (self.options.print_on_change and step.changed):
            self.options.show(print_graph(step.after.graph, step.after.types))
        self._keep(step.call.name)

    def _keep(self, name: str) -> None:
        if self.options.keep_ir is not None:
            path = self.options.keep_ir / f"{len(self.steps):02d}-{name}.asrir"
            write_text(path, print_graph(self.facts.graph, self.facts.types))
