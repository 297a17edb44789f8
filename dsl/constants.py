"""`param` and `let`: constants of a file, with the domains that `--set` must keep."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ..compiler.nearest import did_you_mean
from ..compiler.units import Quantity
from . import syntax
from .evaluator import Evaluator
from .scope import Place, Scope
from .values import Missing, Module, Value, describe, show_number

KINDS = {"int": None, "real": None, "time": "time", "rate": "rate", "size": "size"}
"""Kind of a parameter -> the dimension of its values."""


class Constants(Evaluator):
    def constants(
        self, parsed: syntax.Module, module: Module, settings: Mapping[str, syntax.Expr]
    ) -> None:
        """Evaluate a file's params and lets in order; `settings` override params."""
        for item in parsed.items:
            if isinstance(item, syntax.Param | syntax.Let):
                module.constants[item.name.name] = self._try(item, module, settings)
        params = [i.name.name for i in parsed.items if isinstance(i, syntax.Param)]
        for name, expr in settings.items():
            if name not in params:
                self.report(_no_param(name, expr, params))

    def _try(
        self,
        item: syntax.Param | syntax.Let,
        module: Module,
        settings: Mapping[str, syntax.Expr],
    ) -> Value:
        scope = Scope(module, "")
        try:
            if isinstance(item, syntax.Let):
                return self._number_of(item.value, scope)
            value = self._checked(item, item.default, scope)
            if item.name.name in settings:
                value = self._checked(item, settings[item.name.name], scope)
            return value
        except AsrcError as error:
            self.report(error)
            return Missing()

    def _number_of(self, expr: syntax.Expr, scope: Scope) -> Fraction | Quantity:
        value = self.value(expr, scope, Place("?"))
        if isinstance(value, Fraction | Quantity):
            return value
        raise AsrcError(
            diagnostic("E0107", f"a constant is a number, not {describe(value)}", expr.span)
        )

    def _checked(self, item: syntax.Param, expr: syntax.Expr, scope: Scope) -> Fraction | Quantity:
        """A parameter's value, inside its declared domain."""
        value = self._number_of(expr, scope)
        self._check_kind(item, value, expr)
        if item.multiple is not None:
            self._check_multiple(item, item.multiple, value, expr, scope)
        if item.domain is not None:
            self._check_domain(item, item.domain, value, expr, scope)
        return value

    def _check_kind(
        self, item: syntax.Param, value: Fraction | Quantity, expr: syntax.Expr
    ) -> None:
        kind = item.kind.name
        if kind not in KINDS:
            raise AsrcError(
                diagnostic(
                    "E0101",
                    f"there is no kind `{kind}`",
                    item.kind.span,
                    help=did_you_mean(kind, KINDS) or f"kinds are {', '.join(KINDS)}",
                )
            )
        dimension = value.dimension if isinstance(value, Quantity) else None
        whole = kind != "int" or (isinstance(value, Fraction) and value.denominator == 1)
        if dimension != KINDS[kind] or not whole:
            article = "an" if kind == "int" else "a"
            raise AsrcError(_outside(item, expr, f"{show_number(value)} is not {article} {kind}"))

    def _check_multiple(
        self,
        item: syntax.Param,
        multiple: syntax.Expr,
        value: Fraction | Quantity,
        expr: syntax.Expr,
        scope: Scope,
    ) -> None:
        bound = self._number_of(multiple, scope)
        step = _size(bound)
        if step <= 0 or _size(value) % step:
            why = f"{show_number(value)} is not a multiple of {show_number(bound)}"
            raise AsrcError(_outside(item, expr, why))

    def _check_domain(
        self,
        item: syntax.Param,
        domain: syntax.Range,
        value: Fraction | Quantity,
        expr: syntax.Expr,
        scope: Scope,
    ) -> None:
        low = self._number_of(domain.low, scope)
        high = self._number_of(domain.high, scope)
        if not _size(low) <= _size(value) <= _size(high):
            shown = f"{show_number(low)}..{show_number(high)}"
            raise AsrcError(_outside(item, expr, f"{show_number(value)} is not in {shown}"))


def _size(value: Fraction | Quantity) -> Fraction:
    return value.value if isinstance(value, Quantity) else value


def _outside(item: syntax.Param, expr: syntax.Expr, why: str) -> Diagnostic:
    found = diagnostic("E0110", f"`{item.name.name}`: {why}", expr.span, "given here")
    return found.at(item.span, "declared here")


def _no_param(name: str, expr: syntax.Expr, params: list[str]) -> AsrcError:
    near = did_you_mean(name, params)
    listed = f"the model's parameters are {', '.join(params)}" if params else "it has none"
    return AsrcError(
        diagnostic("E0101", f"there is no parameter `{name}`", expr.span, help=near or listed)
    )
