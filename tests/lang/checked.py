"""The whole check of one file, and the graphs that it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from asrc.compiler.diagnostics import AsrcError, Bag, Diagnostic
from asrc.compiler.facts import Facts
from asrc.compiler.graph import Graph
from asrc.compiler.passcall import build
from asrc.compiler.source import Source
from asrc.dsl import syntax
from asrc.dsl.elaborate import Elaborator
from asrc.dsl.headers import check_headers
from asrc.dsl.modules import Library
from asrc.dsl.parse import parse_module
from asrc.dsl.pipelines import plans
from asrc.dsl.resolve import check_names


@dataclass(frozen=True)
class Checked:
    syntax: syntax.Module
    graph: Graph
    constants: Mapping[str, object]
    diagnostics: tuple[Diagnostic, ...]
    graphs: Mapping[str, Graph] = field(default_factory=dict)

    def graph_after(self, pipeline: str | None) -> Graph:
        return self.graphs[pipeline] if pipeline else self.graph


def check(source: Source, settings: Mapping[str, object], folder: Path) -> Checked:
    bag = Bag()
    module = parse_module(source, bag)
    check_headers(module, bag)
    check_names(module, bag)
    elaborated = Elaborator(module, Library(folder, bag), bag).run(settings)
    found = plans(module, elaborated.constants, bag)
    graphs = {}
    if not bag.errors:
        try:
            f = Facts(elaborated.graph)
            f.types, f.timing, f.demand, f.macs, f.held_frame, f.held_step
        except AsrcError as error:
            bag.extend(error.diagnostics)
    if not bag.errors:
        for name, plan in found.items():
            graph = elaborated.graph
            try:
                for call in plan.calls:
                    graph, _ = build(call).run(graph, None)
                graphs[name] = graph
            except AsrcError as error:
                bag.extend(error.diagnostics)
    return Checked(module, elaborated.graph, elaborated.constants, tuple(bag), graphs)
