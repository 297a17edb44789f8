"""Calls to passes and back: `build` makes the pass that a call names, `to_call` prints one.

Both are driven by the schema in `passtable.py`. Every mistake in a call is reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

from .diagnostics import AsrcError, Diagnostic, Label, diagnostic
from .nearest import did_you_mean
from .passtable import Entry, Option, lookup
from .protocol import Pass
from .source import Span
from .spec import Call, OptionError, Value, show
from .units import Quantity

SELECTOR = re.compile(r"[A-Za-z_*]\w*(\.(\w+|\*))*", re.ASCII)


def build(call: Call) -> Pass:
    """The pass that a call names, with its options.

    Raises AsrcError: E0804 no such pass, E0805 wrong options, E0206 a number without its unit.
    """
    entry = lookup(call.name, call.span)
    values = check_options(call, entry)
    try:
        return cast(Pass, entry.load()(**values))
    except AsrcError as error:
        raise blame(error, call) from None


def to_call(made: Pass) -> Call:
    """The call that makes a pass again; options at their defaults are left out."""
    args: list[Value] = []
    options: dict[str, Value] = {}
    for option in lookup(made.name).options:
        value = getattr(made, option.name)
        if not option.required and value == option.default:
            continue
        if option.positional and not options:
            args.append(value)
        else:
            options[option.name] = value
    return Call(made.name, tuple(args), options)


def blame(error: AsrcError, call: Call, text: str = "") -> AsrcError:
    """The same error, pointing first at the call, or at the option, that the fix belongs to."""
    span = _place(call, error.option) if isinstance(error, OptionError) else call.span
    if span is None:
        return AsrcError(*error.diagnostics)
    return AsrcError(
        *(
            replace(d, labels=(Label(span, text), *(x for x in d.labels if x.span != span)))
            for d in error.diagnostics
        )
    )


def _place(call: Call, option: str) -> Span | None:
    """Where an option stands, with or without its name."""
    names = [o.name for o in lookup(call.name).options if o.positional]
    by_name = option in call.places or option not in names
    return call.place(option if by_name else names.index(option))


def check_options(call: Call, entry: Entry) -> dict[str, Value]:
    """A call's options by name. Raises AsrcError with every mistake in the call."""
    checker = _Checker(call, entry, {}, [])
    checker.run()
    if checker.mistakes:
        raise AsrcError(*checker.mistakes)
    return checker.values


@dataclass
class _Checker:
    call: Call
    entry: Entry
    values: dict[str, Value]
    mistakes: list[Diagnostic]

    def run(self) -> None:
        for key, option, value in self._given():
            if option.name in self.values:
                self._mistake(key, f"`{option.name}` is given twice")
            self.values[option.name] = value
            found = _KINDS[option.kind](option, value)
            if found is not None:
                code, message, help = found
                self._mistake(key, f"`{option.name}` {message}", help, code)
        self._check_missing()

    def _given(self) -> Iterator[tuple[int | str, Option, Value]]:
        """What was given, positional options first; unknown ones are reported."""
        places = [o for o in self.entry.options if o.positional]
        for index, value in enumerate(self.call.args):
            if index < len(places):
                yield index, places[index], value
            else:
                self._surplus(index, value, len(places))
        for name, value in self.call.options.items():
            option = self.entry.option(name)
            if option is None:
                self._unknown(name)
            else:
                yield name, option, value

    def _surplus(self, index: int, value: Value, allowed: int) -> None:
        known = ", ".join(f"{o.name}=" for o in self.entry.options if not o.positional)
        count = f"{allowed} option{'' if allowed == 1 else 's'}" if allowed else "none"
        message = f"`{show(value)}` has no name; `{self.call.name}` takes {count} without one"
        self._mistake(index, message, f"by name there are {known}" if known else "")

    def _unknown(self, name: str) -> None:
        known = [o.name for o in self.entry.options]
        listed = f"it has {', '.join(known)}" if known else "it has none"
        message = f"`{self.call.name}` has no option `{name}`"
        self._mistake(name, message, did_you_mean(name, known) or listed)

    def _check_missing(self) -> None:
        for option in self.entry.options:
            if option.required and option.name not in self.values:
                message = f"`{self.call.name}` needs `{option.name}`: {option.doc}"
                self._mistake(
                    "", message, f"for example `{self.call.name}({_EXAMPLES[option.kind]})`"
                )

    def _mistake(self, key: int | str, message: str, help: str = "", code: str = "E0805") -> None:
        self.mistakes.append(diagnostic(code, message, self.call.place(key), help=help))


# --- kinds ---------------------------------------------------------------------------------------

Refusal = tuple[str, str, str]
"""Code, message after the option's name, help."""


def _wrong(message: str, help: str = "") -> Refusal:
    return "E0805", message, help


def _selector(option: Option, value: Value) -> Refusal | None:
    if isinstance(value, str) and SELECTOR.fullmatch(value):
        return None
    return _wrong(f"selects values by name, not {show(value)}", "such as `encoder.body.*`")


def _choice(option: Option, value: Value) -> Refusal | None:
    if value in option.choices and isinstance(value, str):
        return None
    near = did_you_mean(str(value), option.choices)
    return _wrong(f"is one of {', '.join(option.choices)}, not {show(value)}", near)


def _int(option: Option, value: Value) -> Refusal | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return _wrong(f"is a whole number, not {show(value)}")
    return _below(option, Fraction(value))


def _real(option: Option, value: Value) -> Refusal | None:
    if isinstance(value, bool) or not isinstance(value, int | Fraction):
        return _wrong(f"is a number, not {show(value)}")
    return _below(option, Fraction(value))


def _below(option: Option, value: Fraction) -> Refusal | None:
    if option.low is None or value >= option.low:
        return None
    return _wrong(f"is at least {option.low}, not {show(value)}")


def _bool(option: Option, value: Value) -> Refusal | None:
    return None if isinstance(value, bool) else _wrong(f"is true or false, not {show(value)}")


def _text(option: Option, value: Value) -> Refusal | None:
    return None if isinstance(value, str) else _wrong(f"is a text, not {show(value)}")


def _time(option: Option, value: Value) -> Refusal | None:
    if isinstance(value, int | Fraction) and not isinstance(value, bool):
        return "E0206", "is a time and needs its unit", f"write `{show(value)}ms`"
    if not isinstance(value, Quantity) or value.dimension != "time":
        return _wrong(f"is a time, not {show(value)}", "such as `320ms`")
    if value.value < 0 or (value.value == 0 and option.low is None):
        return _wrong(f"is {'not negative' if option.low == 0 else 'longer than 0ms'}, not {value}")
    return None


def _span(option: Option, value: Value) -> Refusal | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return _below(option, Fraction(value))
    if isinstance(value, Quantity):
        return _time(option, value)
    return _wrong(f"is a time or a number of frames, not {show(value)}", "such as `2560ms` or `64`")


_KINDS: dict[str, Callable[[Option, Value], Refusal | None]] = {
    "selector": _selector,
    "choice": _choice,
    "int": _int,
    "real": _real,
    "bool": _bool,
    "text": _text,
    "time": _time,
    "span": _span,
}

_EXAMPLES = {
    "selector": "encoder",
    "choice": "...",
    "int": "4",
    "real": "0.5",
    "bool": "true",
    "text": '"..."',
    "time": "320ms",
    "span": "2560ms",
}
