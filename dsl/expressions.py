"""Expressions: names, arithmetic, learned constants, fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ..compiler.nearest import did_you_mean
from ..compiler.ops import SURFACE
from ..compiler.source import Span
from ..compiler.units import Quantity
from . import syntax
from .arithmetic import combine, literal, negate
from .evaluator import Evaluator
from .modules import standard_block
from .options import weight_options
from .scope import Place, Scope
from .time import Timed
from .values import Missing, Ref, Several, Symbol, Value

_OPS = {"+": "add", "-": "sub", "*": "mul", "/": "div"}
WORDS = ("true", "false")
SPECIAL = ("repeat", "residual", "along", "switch", "split")
"""Stages that are syntax rather than operators."""

_ELSEWHERE = {
    "linear": "dense", "affine": "dense", "fc": "dense", "silu": "swish", "subsample": "stride",
    "downsample": "stride", "reshape": "flatten", "batch_norm": "batchnorm",
}  # fmt: skip
"""What other toolkits call our operators, where the spelling is no help."""


class Expressions(Timed, Evaluator):
    def value(self, expr: syntax.Expr, scope: Scope, place: Place) -> Value:
        match expr:
            case syntax.Number() | syntax.Quantity():
                return literal(expr)
            case syntax.String(value=text):
                return text
            case syntax.Name():
                return self._lookup(expr, scope)
            case syntax.Incoming():
                return self._incoming(expr, scope)
        return self._compound(expr, scope, place)

    def _compound(self, expr: syntax.Expr, scope: Scope, place: Place) -> Value:
        match expr:
            case syntax.Unary() | syntax.Binary():
                return self._arithmetic(expr, scope, place)
            case syntax.Call():
                return self.call(expr, scope, place)
            case syntax.At() | syntax.Window():
                return self.shifted(expr, scope, place, None)
            case syntax.Pipe():
                inner = place.below()
                head = self.value(expr.head, scope, inner)
                return self.run_chain(expr.stages, head, scope, inner)
            case syntax.Field():
                return self._field(expr, scope)
            case syntax.Weight():
                return self._weight(expr, scope, place)
        raise AsrcError(
            diagnostic("E0107", "this belongs into a selector or a budget, not here", expr.span)
        )

    def _lookup(self, expr: syntax.Name, scope: Scope) -> Value:
        found = scope.lookup(expr.name)
        if isinstance(found, Missing):
            raise AsrcError()
        if found is not None:
            return found
        if expr.name in WORDS:
            return Symbol(expr.name)
        if expr.name in scope.later:
            raise AsrcError(before_definition(expr.name, expr.span, scope.later))
        if scope.block(expr.name) is not None or expr.name in SURFACE:
            return self.named(syntax.Ident(expr.span, expr.name), (), scope, Place("?"))
        _check_later_constant(expr, scope)
        known = [*scope.names, *scope.nets, *scope.module.constants, *scope.module.blocks]
        raise AsrcError(unknown_name(expr.name, expr.span, [*known, *SURFACE]))

    def _incoming(self, expr: syntax.Incoming, scope: Scope) -> Value:
        if scope.incoming is None:
            raise AsrcError(
                diagnostic(
                    "E0107",
                    "nothing is piped in here",
                    expr.span,
                    help="`in` stands for what `|>` brings into a block; a net has formals instead",
                )
            )
        return scope.incoming

    def _arithmetic(self, expr: syntax.Unary | syntax.Binary, scope: Scope, place: Place) -> Value:
        if isinstance(expr, syntax.Unary):
            return self._unary(expr, scope, place)
        inner = place.below()
        left = self.value(expr.left, scope, inner)
        right = self.value(expr.right, scope, inner)
        if isinstance(left, Fraction | Quantity) and isinstance(right, Fraction | Quantity):
            return combine(expr.op, left, right, expr.span)
        if expr.op == "^":
            raise AsrcError(diagnostic("E0107", "`^` works on numbers only", expr.span))
        inputs = [
            self.as_stream(left, inner, expr.left.span),
            self.as_stream(right, inner, expr.right.span),
        ]
        return self.node(_OPS[expr.op], inputs, {}, place, expr.span)

    def _unary(self, expr: syntax.Unary, scope: Scope, place: Place) -> Value:
        inner = place.below()
        value = self.value(expr.operand, scope, inner)
        if isinstance(value, Fraction | Quantity):
            return negate(value) if expr.op == "-" else value
        operand = self.as_stream(value, inner, expr.operand.span)
        if expr.op == "+":
            return operand
        minus = self.as_stream(Fraction(-1), inner, expr.span)
        return self.node("mul", [operand, minus], {}, place, expr.span)

    def _field(self, expr: syntax.Field, scope: Scope) -> Value:
        base = expr.base
        if isinstance(base, syntax.Name) and base.name in scope.nets:
            path = self._inside_net(f"{base.name}.{expr.name.name}")
            if path is not None:
                return path
        value = self.value(base, scope, Place("?"))
        if isinstance(value, Several) and expr.name.name in value.names:
            return value.refs[value.names.index(expr.name.name)]
        known = list(value.names) if isinstance(value, Several) else self._names_below(expr)
        raise AsrcError(unknown_name(expr.name.name, expr.name.span, known))

    def _inside_net(self, name: str) -> Ref | None:
        path = self.builder.outputs.get(name) or self.builder.names.get(name)
        return None if path is None else Ref(path)

    def _names_below(self, expr: syntax.Field) -> list[str]:
        base = expr.base.name if isinstance(expr.base, syntax.Name) else ""
        return [n[len(base) + 1 :] for n in self.builder.names if n.startswith(f"{base}.")]

    def _weight(self, expr: syntax.Weight, scope: Scope, place: Place) -> Ref:
        dims = tuple(self.whole(d, scope, "a dimension", 1) for d in expr.dims)
        attrs = weight_options(expr)
        return self.node("weight", (), {"dims": dims, **attrs}, place, expr.span)


def unknown_name(name: str, span: Span, known: Sequence[str]) -> Diagnostic:
    help = _standard_help(name) or did_you_mean(_ELSEWHERE.get(name.lower(), name), known)
    return diagnostic("E0101", f"nothing is called `{name}` here", span, help=help)


def _standard_help(name: str) -> str:
    """How to bring in the standard block that is meant by `Lstm`, `lstm` or `std.rnn.Lstm`."""
    found = standard_block(name.rpartition(".")[2])
    if found is None:
        return ""
    home, block = found
    return f"`use {home} ({block})` brings {'it in' if block == name else f'in `{block}`'}"


def _check_later_constant(expr: syntax.Name, scope: Scope) -> None:
    """Refuse a constant that the file defines further down."""
    for item in scope.module.source.items:
        if isinstance(item, syntax.Param | syntax.Let) and item.name.name == expr.name:
            message = f"`{expr.name}` is used before it is defined"
            found = diagnostic("E0103", message, expr.span, help="constants go from top to bottom")
            raise AsrcError(found.at(item.name.span, "defined here"))


def before_definition(name: str, span: Span, later: Mapping[str, Span]) -> Diagnostic:
    found = diagnostic(
        "E0103",
        f"`{name}` is used before it is defined",
        span,
        help=f"only its past is known here: `{name}[t-1]`",
    )
    return found.at(later[name], "defined here")
