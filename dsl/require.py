"""`require` statements: from syntax to budgets."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from ..compiler.budgets import Arithmetic, Budget, Literal, Measure, Term
from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.measure import check_figure
from ..compiler.nearest import did_you_mean
from ..compiler.units import Quantity
from . import syntax
from .arithmetic import literal
from .selectors import selector
from .values import Missing, Value

VARIANTS = {"state": ("frame", "step")}


def budget(item: syntax.Require, constants: Mapping[str, Value]) -> Budget:
    """A budget. Names in it are figures, or constants of the file."""
    left = _term(item.left, constants)
    if isinstance(item.right, syntax.Range):
        low, high = _term(item.right.low, constants), _term(item.right.high, constants)
        return Budget(left, "in", low, high, item.span)
    return Budget(left, item.op, _term(item.right, constants), None, item.span)


def _term(expr: syntax.Expr, constants: Mapping[str, Value]) -> Term:
    match expr:
        case syntax.Number() | syntax.Quantity():
            value = literal(expr)
            if isinstance(value, Quantity):
                return Literal(value.value, value.dimension, expr.span)
            return Literal(value, "number", expr.span)
        case syntax.Binary() if expr.op != "^":
            left, right = _term(expr.left, constants), _term(expr.right, constants)
            return Arithmetic(expr.op, left, right, expr.span)
        case syntax.Name():
            return _name(expr, constants)
        case syntax.Call(callee=syntax.Name()):
            return _measure(expr)
    raise AsrcError(
        diagnostic(
            "E0107",
            "a budget compares figures and numbers",
            expr.span,
            help="`require lookahead(encoder) <= 320ms`",
        )
    )


def _variants(figure: str) -> str:
    known = VARIANTS.get(figure)
    return f"there are {' and '.join(f'`{word}`' for word in known)}" if known else ""


def _name(expr: syntax.Name, constants: Mapping[str, Value]) -> Term:
    value = constants.get(expr.name)
    if isinstance(value, Missing):
        raise AsrcError()
    if isinstance(value, Quantity):
        return Literal(value.value, value.dimension, expr.span)
    if isinstance(value, Fraction):
        return Literal(value, "number", expr.span)
    check_figure(expr.name, expr.span)
    return Measure(expr.name, None, None, expr.span)


def _measure(expr: syntax.Call) -> Measure:
    callee = expr.callee
    assert isinstance(callee, syntax.Name)
    check_figure(callee.name, callee.span)
    if not 1 <= len(expr.args) <= 2 or any(a.name is not None for a in expr.args):
        raise AsrcError(diagnostic("E0106", f"`{callee.name}` takes a selection", expr.span))
    chosen = selector(expr.args[0].value)
    variant = None
    if len(expr.args) == 2:
        variant = selector(expr.args[1].value)
        known = VARIANTS.get(callee.name, ())
        if variant not in known:
            raise AsrcError(
                diagnostic(
                    "E0106",
                    f"`{callee.name}` has no variant `{variant}`",
                    expr.args[1].span,
                    help=did_you_mean(variant, known) or _variants(callee.name),
                )
            )
    return Measure(callee.name, chosen, variant, expr.span)
