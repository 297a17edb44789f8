"""Options of operators: from arguments as written to typed attributes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ..compiler.graph import Attr
from ..compiler.nearest import did_you_mean
from ..compiler.ops import OPS, Op, Option
from ..compiler.source import Span
from ..compiler.units import Quantity
from . import syntax
from .values import Missing, Symbol, Value, describe, show_number


def convert(name: str, option: Option, value: Value, span: Span) -> Attr:
    """A value as an option of its kind, or a coded refusal."""
    if isinstance(value, Missing):
        raise AsrcError()
    if option.kind in ("bool", "choice"):
        return _word(name, option, value, span)
    if isinstance(value, Quantity) and option.kind in _DIMENSIONS:
        return _quantity(name, _DIMENSIONS[option.kind], value, span)
    if option.kind in ("time", "rate"):
        raise AsrcError(_needs_unit(name, option.kind, value, span))
    if not isinstance(value, Fraction):
        raise AsrcError(_refuse("E0106", f"`{name}` is a number, not {describe(value)}", span))
    make = _real if option.kind == "real" else _int
    return make(name, option, value, span)


def _real(name: str, option: Option, value: Fraction, span: Span) -> Fraction:
    if option.admits(value):
        return value
    raise AsrcError(_out_of_range(name, option, value, span))


def _out_of_range(name: str, option: Option, value: Fraction, span: Span) -> Diagnostic:
    text = f"`{name}` is {option.range_text()}, not {show_number(value)}"
    return _refuse("E0005", text, span)


def _int(name: str, option: Option, value: Fraction, span: Span) -> int:
    if value.denominator != 1:
        raise AsrcError(
            _refuse("E0106", f"`{name}` is a whole number, not {show_number(value)}", span)
        )
    if not option.admits(value):
        raise AsrcError(_out_of_range(name, option, value, span))
    return int(value)


_DIMENSIONS = {"time": "time", "span": "time", "rate": "rate"}


def _quantity(name: str, dimension: str, value: Quantity, span: Span) -> Quantity:
    if value.dimension != dimension:
        text = f"`{name}` is a {dimension}, not a {value.dimension}"
        raise AsrcError(_refuse("E0206", text, span))
    if value.value < 0:
        raise AsrcError(_refuse("E0005", f"`{name}` cannot be negative", span))
    return value


def _needs_unit(name: str, dimension: str, value: Value, span: Span) -> Diagnostic:
    unit, example = ("ms", "25") if dimension == "time" else ("Hz", "80")
    number = show_number(value) if isinstance(value, Fraction) else example
    text = f"`{name}` is a {dimension} and needs its unit"
    return _refuse("E0206", text, span, f"write `{number}{unit}`")


def _word(name: str, option: Option, value: Value, span: Span) -> Attr:
    words = ("true", "false") if option.kind == "bool" else option.choices
    word = value.name if isinstance(value, Symbol) else value
    if not isinstance(word, str) or (words and word not in words):
        text = f"`{name}` is one of {', '.join(words)}"
        raise AsrcError(_refuse("E0106", text, span, did_you_mean(str(word), words)))
    return word == "true" if option.kind == "bool" else word


def _refuse(code: str, message: str, span: Span, help: str = "") -> Diagnostic:
    return diagnostic(code, message, span, help=help)


def unknown_option(op: str, name: syntax.Ident, known: Sequence[str]) -> AsrcError:
    listed = ", ".join(f"`{k}`" for k in known) or "no options"
    return AsrcError(
        diagnostic(
            "E0106",
            f"`{op}` has no option `{name.name}`",
            name.span,
            f"it has {listed}",
            help=did_you_mean(name.name, known),
        )
    )


def positional(op: Op) -> list[str]:
    """The options that may be given without their name: the first one."""
    return list(op.options)[:1]


def check_complete(op: Op, attrs: dict[str, Attr], span: Span) -> None:
    missing = [n for n, o in op.options.items() if o.required and n not in attrs]
    if missing:
        listed = ", ".join(f"`{n}`" for n in missing)
        example = ", ".join(f"{n}=..." for n in missing)
        raise AsrcError(
            diagnostic("E0106", f"`{op.name}` needs {listed}", span, help=f"`{op.name}({example})`")
        )


def weight_options(expr: syntax.Weight) -> dict[str, Attr]:
    """`weight[...](init=zeros)`."""
    option = OPS["weight"].options["init"]
    found: dict[str, Attr] = {}
    for arg in expr.args:
        if arg.name is None or arg.name.name != "init":
            name = arg.name or syntax.Ident(arg.span, arg.span.text)
            raise unknown_option("weight", name, ["init"])
        word = arg.value.name if isinstance(arg.value, syntax.Name) else ""
        found["init"] = convert("init", option, Symbol(word), arg.value.span)
    return found
