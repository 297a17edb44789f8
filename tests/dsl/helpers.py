"""What the tests of the language share: parsing a text, and trees without their places."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from asrc.compiler.diagnostics import Bag, Diagnostic
from asrc.compiler.source import Source, Span
from asrc.dsl.parse import parse_module
from asrc.dsl.syntax import Module

SEEDS = {path.stem: path.read_text("utf-8") for path in (Path(__file__).parent / "data").iterdir()}


def parsed(text: str) -> tuple[Module, list[Diagnostic]]:
    bag = Bag()
    return parse_module(Source("m.asr", text), bag), list(bag)


def tree(text: str) -> Any:
    """The declarations of a text that parses, without spans."""
    module, errors = parsed(text)
    assert not errors, [str(error) for error in errors]
    return without_spans(module.items)


def without_spans(node: Any) -> Any:
    """A node as nested tuples that compare by structure, wherever the node stands."""
    if isinstance(node, tuple):
        return tuple(map(without_spans, node))
    if not is_dataclass(node):
        return node
    values = (getattr(node, f.name) for f in fields(node))
    return type(node).__name__, *(without_spans(v) for v in values if not isinstance(v, Span))
