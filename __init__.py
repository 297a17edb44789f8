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
    from .backends.torch.initialise import initialise
    from .backends.torch.lowered import Lowered, lower
    from .backends.torch.session import Session
    from .compiler.diagnostics import AsrcError, Diagnostic
    from .compiler.facts import Facts
    from .compiler.graph import Graph, Node
    from .compiler.irread import parse_graph
    from .compiler.irtext import print_graph
    from .compiler.manager import Result, run_pipeline
    from .dsl.check import Model, check_model, load, read_model
    from .dsl.render import render
    from .runtime.listener import Listener
    from .runtime.recogniser import Recogniser, read_recogniser

_HOMES = {
    "AsrcError": "compiler.diagnostics",
    "Diagnostic": "compiler.diagnostics",
    "Facts": "compiler.facts",
    "Graph": "compiler.graph",
    "Listener": "runtime.listener",
    "Lowered": "backends.torch.lowered",
    "Model": "dsl.check",
    "Node": "compiler.graph",
    "Recogniser": "runtime.recogniser",
    "Result": "compiler.manager",
    "Session": "backends.torch.session",
    "check_model": "dsl.check",
    "initialise": "backends.torch.initialise",
    "load": "dsl.check",
    "lower": "backends.torch.lowered",
    "parse_graph": "compiler.irread",
    "print_graph": "compiler.irtext",
    "read_model": "dsl.check",
    "read_recogniser": "runtime.recogniser",
    "render": "dsl.render",
    "run_pipeline": "compiler.manager",
}

__all__ = [
    "AsrcError",
    "Diagnostic",
    "Facts",
    "Graph",
    "Listener",
    "Lowered",
    "Model",
    "Node",
    "Recogniser",
    "Result",
    "Session",
    "check_model",
    "initialise",
    "load",
    "lower",
    "parse_graph",
    "print_graph",
    "read_model",
    "read_recogniser",
    "render",
    "run_pipeline",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
