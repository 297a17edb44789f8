"""Selectors as text: `encoder.body.*.Ffn`."""

from __future__ import annotations

from ..compiler.diagnostics import AsrcError, diagnostic
from . import syntax


def selector(expr: syntax.Expr) -> str:
    """A selector's canonical text; refuses anything that is not names, dots and stars."""
    match expr:
        case syntax.Name(name=name):
            return name
        case syntax.Field():
            return f"{selector(expr.base)}.{expr.name.name}"
        case syntax.Each():
            return f"{selector(expr.base)}.*"
    raise AsrcError(
        diagnostic("E0107", "a selection is a dotted name", expr.span, help="`encoder.body.*`")
    )
