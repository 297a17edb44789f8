"""asrc: a graph compiler for streaming speech recognition.

    import asrc

    model = asrc.load("models/rnnt.asr")          # text to graph, budgets checked
    facts = model.facts
    facts.lookahead(facts.graph.outputs["encoder"])   # Fraction(3, 200): 15 ms, exactly

Names are loaded when they are first used: importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .compiler.diagnostics import AsrcError, Diagnostic
    from .compiler.facts import Facts
    from .compiler.graph import Graph, Node
    from .compiler.irread import parse_graph
    from .compiler.irtext import print_graph
    from .compiler.manager import Result, run_pipeline
    from .dsl.check import Model, check_model, load, read_model
    from .dsl.render import render

_HOMES = {
    "AsrcError": "compiler.diagnostics",
    "Diagnostic": "compiler.diagnostics",
    "Facts": "compiler.facts",
    "Graph": "compiler.graph",
    "Model": "dsl.check",
    "Node": "compiler.graph",
    "Result": "compiler.manager",
    "check_model": "dsl.check",
    "load": "dsl.check",
    "parse_graph": "compiler.irread",
    "print_graph": "compiler.irtext",
    "read_model": "dsl.check",
    "render": "dsl.render",
    "run_pipeline": "compiler.manager",
}

__all__ = [
    "AsrcError",
    "Diagnostic",
    "Facts",
    "Graph",
    "Model",
    "Node",
    "Result",
    "check_model",
    "load",
    "parse_graph",
    "print_graph",
    "read_model",
    "render",
    "run_pipeline",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
