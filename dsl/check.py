"""Checking a model: the text, its graph, and every pipeline it declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..compiler.diagnostics import AsrcError, Bag, Diagnostic
from ..compiler.facts import Facts
from ..compiler.graph import Graph
from ..compiler.manager import Result
from ..compiler.source import Source
from . import syntax
from .elaborate import Elaborated, Elaborator
from .evaluator import Claim
from .headers import check_headers
from .modules import Library
from .parse import parse_module
from .pipelines import Plan, plans
from .resolve import check_names


@dataclass(frozen=True)
class Model:
    """A model that was read: its graph before any pass, its pipelines, and all that was found."""

    source: Source
    syntax: syntax.Module
    graph: Graph | None
    claims: tuple[Claim, ...]
    plans: Mapping[str, Plan]
    diagnostics: tuple[Diagnostic, ...]
    results: Mapping[str, Result] = field(default_factory=dict)

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.diagnostics if d.severity == "error"]

    @property
    def ok(self) -> bool:
        return self.graph is not None and not self.errors


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
    found = plans(module, elaborated.constants, bag) if elaborated else {}
    graph = elaborated.graph if elaborated and not bag.errors else None
    if graph is not None and not _well_formed(graph, bag):
        graph = None
    claims = elaborated.claims if elaborated else ()
    return Model(source, module, graph, claims, found, tuple(bag))


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


def _well_formed(graph: Graph, bag: Bag) -> bool:
    """Whether all facts can be inferred, from types to state."""
    facts = Facts(graph)
    try:
        facts.types, facts.timing, facts.demand, facts.macs  # noqa: B018
        facts.held_frame, facts.held_step  # noqa: B018
    except AsrcError as error:
        bag.extend(error.diagnostics)
        return False
    return True
