"""Checking a model: the text, its graph, and every pipeline it declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..compiler.budget_check import check_budgets, check_causal, check_within
from ..compiler.diagnostics import AsrcError, Bag, Diagnostic, Label
from ..compiler.facts import Facts
from ..compiler.graph import Graph
from ..compiler.manager import Options, Result, run_pipeline
from ..compiler.source import Source
from . import syntax
from .elaborate import Elaborated, Elaborator
from .evaluator import Claim
from .headers import check_headers
from .load import load_source
from .modules import Library
from .parse import parse_expression, parse_module
from .pipelines import Plan, plans, unknown_pipeline
from .resolve import check_names

RECURRENCES = ("E0209", "E0305", "E0306")
"""Mistakes that only the whole graph shows; they do not follow from others."""

UNBOUNDED = ("E0303", "E0404")
"""A model with pipelines leaves its masks to them, so that these wait for a pipeline."""


@dataclass(frozen=True)
class Model:
    """A model that was read: its facts before any pass, its pipelines, and all that was found.

    `facts` is `None` where mistakes leave no whole graph.
    """

    source: Source
    syntax: syntax.Module
    facts: Facts | None
    claims: tuple[Claim, ...]
    plans: Mapping[str, Plan]
    diagnostics: tuple[Diagnostic, ...]
    results: Mapping[str, Result] = field(default_factory=dict)

    @property
    def graph(self) -> Graph | None:
        return None if self.facts is None else self.facts.graph

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.diagnostics if d.severity == "error"]

    @property
    def ok(self) -> bool:
        return self.facts is not None and not self.errors


def load(path: str | Path, settings: Mapping[str, str] | None = None) -> Model:
    """Read and check a model file; `settings` override its parameters, as text (`{"D": "320"}`).

    Raises AsrcError with every mistake of the file, or with why it cannot be read.
    """
    place = Path(path)
    given = {name: setting(name, text) for name, text in (settings or {}).items()}
    model = check_model(read_model(load_source(place), given, place.parent))
    if model.errors:
        raise AsrcError(*model.errors)
    return model


def setting(name: str, text: str) -> syntax.Expr:
    """A parameter's value as text, such as `--set D=320` gives. Raises AsrcError."""
    bag = Bag()
    found = parse_expression(Source(f"--set {name}", text), bag)
    if found is None:
        raise AsrcError(*bag.errors)
    return found


def read_model(
    source: Source,
    settings: Mapping[str, syntax.Expr] | None = None,
    folder: Path | None = None,
) -> Model:
    """Parse and elaborate; no budget is checked and no pipeline runs."""
    bag = Bag()
    module = parse_module(source, bag)
    check_headers(module, bag)
    check_names(module, bag)
    elaborated = _elaborate(module, settings or {}, folder, bag)
    facts = _facts(elaborated.graph, source, bag) if elaborated else None
    found = plans(module, elaborated.constants, bag) if elaborated else {}
    claims = elaborated.claims if elaborated else ()
    return Model(source, module, facts, claims, found, tuple(bag))


def _elaborate(
    module: syntax.Module,
    settings: Mapping[str, syntax.Expr],
    folder: Path | None,
    bag: Bag,
) -> Elaborated | None:
    try:
        return Elaborator(module, Library(folder, bag), bag).run(settings)
    except AsrcError as error:
        bag.extend(error.diagnostics)
        return None


def _facts(graph: Graph, source: Source, bag: Bag) -> Facts | None:
    """The facts of a model without mistakes, from types to state.

    Where something failed already, recurrences of the rest are checked all the same.
    """
    facts, whole = Facts(graph), not bag.errors
    try:
        facts.types  # noqa: B018
        if whole:
            facts.macs, facts.held_frame, facts.held_step  # noqa: B018
    except AsrcError as error:
        found = (d for d in error.diagnostics if whole or d.code in RECURRENCES)
        bag.extend(_at_call(item, graph, source) for item in found)
        return None
    return facts if whole else None


def _at_call(item: Diagnostic, graph: Graph, source: Source) -> Diagnostic:
    """A mistake in a library's block, seen from where the model calls it."""
    if item.span is None or item.span.source is source:
        return item
    paths = [node.path for node in graph if node.span == item.span]
    calls = [
        Label(scope.span, f"in this `{scope.name}`")
        for scope in graph.scopes.values()
        if scope.span is not None and scope.span.source is source and scope.kind == "block"
        if any(f"{path}.".startswith(f"{scope.path}.") for path in paths)
    ]
    return replace(item, labels=(*calls[-1:], *item.labels))


def check_model(model: Model, only: str | None = None, options: Options | None = None) -> Model:
    """Check budgets and claims, on the bare graph and after each pipeline, or after `only` one.

    The model returned holds the results by pipeline and all diagnostics.
    """
    if model.facts is None:
        return model
    bag = Bag()
    bag.extend(model.diagnostics)
    if only is not None and only not in model.plans:
        bag.add(unknown_pipeline(only, None, model.plans))
        return replace(model, diagnostics=tuple(bag))
    if only is None:
        bag.extend(_bare(model, model.facts))
    results: dict[str, Result] = {}
    for name in model.plans if only is None else (only,):
        result = _run(model, model.facts, model.plans[name], options, bag)
        if result is not None:
            results[name] = result
    return replace(model, results=results, diagnostics=tuple(bag))


def _bare(model: Model, facts: Facts) -> Iterator[Diagnostic]:
    """What does not hold before any pass."""
    found = [*check_budgets(facts, facts.graph.budgets), *_claims(model, facts)]
    yield from (d for d in found if not (model.plans and d.code in UNBOUNDED))


def _run(
    model: Model, facts: Facts, plan: Plan, options: Options | None, bag: Bag
) -> Result | None:
    try:
        result = run_pipeline(facts.graph, plan.calls, plan.budgets, options=options, facts=facts)
        bag.extend(result.diagnostics)
        bag.extend(_claims(model, result.facts))
    except AsrcError as error:
        bag.extend(error.diagnostics)
        return None
    return result


def _claims(model: Model, facts: Facts) -> Iterator[Diagnostic]:
    """`within` and `causal` where a value still exists under its name."""
    for claim in model.claims:
        if claim.path not in facts.graph.nodes:
            continue
        if claim.within is not None:
            found = check_within(facts, claim.path, claim.within, claim.span)
            yield from () if found is None else (found,)
        if claim.causal:
            found = check_causal(facts, claim.path, claim.span)
            yield from () if found is None else (found,)
