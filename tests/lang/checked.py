"""The whole check of one file, and the graphs that it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asrc.compiler.diagnostics import Bag, Diagnostic
from asrc.compiler.graph import Graph
from asrc.compiler.source import Source
from asrc.dsl import syntax
from asrc.dsl.check import Model, check_model, read_model
from asrc.dsl.elaborate import Elaborated, Elaborator
from asrc.dsl.modules import Library


@dataclass(frozen=True)
class Checked:
    """A checked model; `elaborated` is what can be built of it although there are mistakes."""

    model: Model
    elaborated: Elaborated

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return self.model.diagnostics

    def graph_after(self, pipeline: str | None) -> Graph:
        """The graph after a pipeline that ran, or the model's own."""
        return self.model.results[pipeline].graph if pipeline else self.elaborated.graph


def check(source: Source, settings: Mapping[str, syntax.Expr], folder: Path) -> Checked:
    model = check_model(read_model(source, settings, folder))
    unheard = Bag()
    elaborator = Elaborator(model.syntax, Library(folder, unheard), unheard)
    return Checked(model, elaborator.run(settings))
