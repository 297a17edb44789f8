"""Pipelines: named lists of pass calls and budgets, with `from` inheritance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from ..compiler.budgets import Budget
from ..compiler.diagnostics import AsrcError, Bag, Diagnostic, diagnostic
from ..compiler.nearest import did_you_mean
from ..compiler.source import Source, Span
from ..compiler.spec import Call
from ..compiler.spec import Value as SpecValue
from ..compiler.units import Quantity
from . import syntax
from .arithmetic import Number, combine, literal, negate
from .parse import parse_calls
from .require import budget
from .selectors import selector
from .values import Missing, Value


@dataclass(frozen=True, slots=True)
class Plan:
    """A pipeline after inheritance. Each budget holds from its place to the end."""

    name: str
    calls: tuple[Call, ...]
    budgets: tuple[tuple[int, Budget], ...]


def plans(module: syntax.Module, constants: Mapping[str, Value], bag: Bag) -> dict[str, Plan]:
    """Every pipeline of a file. Mistakes go to the bag; a pipeline with one is left out."""
    declared: dict[str, syntax.Pipeline] = {}
    for item in module.items:
        if isinstance(item, syntax.Pipeline):
            if item.name.name in declared:
                first = declared[item.name.name].name.span
                found = diagnostic(
                    "E0102", f"pipeline `{item.name.name}` is defined twice", item.name.span
                )
                bag.add(found.at(first, "first here"))
            declared.setdefault(item.name.name, item)
    return _Plans(declared, constants, bag).all()


class _Plans:
    def __init__(
        self,
        declared: Mapping[str, syntax.Pipeline],
        constants: Mapping[str, Value],
        bag: Bag,
    ) -> None:
        self.declared = declared
        self.constants = constants
        self.bag = bag
        self.done: dict[str, Plan | None] = {}

    def all(self) -> dict[str, Plan]:
        found = {name: self._plan(name, ()) for name in self.declared}
        return {name: plan for name, plan in found.items() if plan is not None}

    def _plan(self, name: str, above: tuple[str, ...]) -> Plan | None:
        if name not in self.done:
            try:
                self.done[name] = self._build(self.declared[name], (*above, name))
            except AsrcError as error:
                self.bag.extend(error.diagnostics)
                self.done[name] = None
        return self.done[name]

    def _build(self, item: syntax.Pipeline, above: tuple[str, ...]) -> Plan:
        base = self._base(item, above)
        calls, budgets = list(base.calls), list(base.budgets)
        for step in item.steps:
            if isinstance(step, syntax.Require):
                budgets.append((len(calls), budget(step, self.constants)))
            else:
                calls.append(spec_call(step, self.constants))
        return Plan(item.name.name, tuple(calls), tuple(budgets))

    def _base(self, item: syntax.Pipeline, above: tuple[str, ...]) -> Plan:
        if item.base is None:
            return Plan("", (), ())
        name = item.base.name
        if name in above:
            raise AsrcError(
                diagnostic("E0806", f"pipeline `{name}` inherits from itself", item.base.span)
            )
        if name not in self.declared:
            raise AsrcError(unknown_pipeline(name, item.base, self.declared))
        plan = self._plan(name, above)
        if plan is None:
            raise AsrcError()
        return plan


def unknown_pipeline(name: str, at: syntax.Ident | None, known: Mapping[str, object]) -> Diagnostic:
    listed = ", ".join(f"`{k}`" for k in known)
    return diagnostic(
        "E0806",
        f"there is no pipeline `{name}`",
        at.span if at else None,
        help=did_you_mean(name, known) or (f"there are {listed}" if known else "the file has none"),
    )


def spec_call(call: syntax.PassCall, constants: Mapping[str, Value]) -> Call:
    """A pass call's syntax as data; the manager checks it against the pass's schema."""
    args: list[SpecValue] = []
    options: dict[str, SpecValue] = {}
    places: dict[int | str, Span] = {}
    for arg in call.args:
        places[len(args) if arg.name is None else arg.name.name] = arg.span
        value = _value(arg.value, constants)
        if arg.name is None:
            args.append(value)
        elif arg.op != "=" or arg.name.name in options:
            raise AsrcError(diagnostic("E0805", f"write `{arg.name.name}=...`, once", arg.span))
        else:
            options[arg.name.name] = value
    return Call(str(call.name), tuple(args), options, call.span, places)


def _value(expr: syntax.Expr, constants: Mapping[str, Value]) -> SpecValue:
    match expr:
        case syntax.Number() | syntax.Quantity():
            return _plain(literal(expr))
        case syntax.String(value=text):
            return text
        case syntax.Unary(op="-"):
            return _plain(negate(_number(expr.operand, constants)))
        case syntax.Binary():
            left, right = _number(expr.left, constants), _number(expr.right, constants)
            return _plain(combine(expr.op, left, right, expr.span))
        case syntax.Name(name="true" | "false"):
            return expr.name == "true"
        case syntax.Name():
            return _name(expr, constants)
    return selector(expr)


def _name(expr: syntax.Name, constants: Mapping[str, Value]) -> SpecValue:
    """A constant of the file, or a word."""
    value = constants.get(expr.name)
    if isinstance(value, Missing):
        raise AsrcError()
    return _plain(value) if isinstance(value, Fraction | Quantity) else expr.name


def _number(expr: syntax.Expr, constants: Mapping[str, Value]) -> Number:
    value = _value(expr, constants)
    if isinstance(value, bool | str | tuple) or value is None:
        raise AsrcError(diagnostic("E0206", "a number is needed here", expr.span))
    return Fraction(value) if isinstance(value, int) else value


def _plain(value: Number) -> SpecValue:
    """Whole numbers as ints, as a pass's options are."""
    if isinstance(value, Fraction) and value.denominator == 1:
        return int(value)
    return value


def parse_pass_text(text: str, name: str = "<command line>") -> tuple[Call, ...]:
    """Pass calls as typed on the command line. Raises AsrcError."""
    bag = Bag()
    found = parse_calls(Source(name, text), bag)
    if bag.errors:
        raise AsrcError(*bag.errors)
    return tuple(spec_call(call, {}) for call in found)
