"""Pass calls as data, in the one spec grammar of files, command lines and Python.

`mask(encoder, chunk=320ms, left=2560ms)` is a `Call`; `str(call)` prints that text, exactly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from .diagnostics import AsrcError
from .source import Span
from .units import Quantity, format_number

Value = int | bool | str | Fraction | Quantity | tuple["Value", ...]
"""Selectors and choices are text; `("lut", 32)` is the term `lut(32)`."""

_WORD = re.compile(r"[A-Za-z_]\w*(\.(\w+|\*))*|\*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Call:
    """One pass call as written: `args` are positional, `options` go by name.

    `places` says where single arguments stand: by position, or by name for options.
    """

    name: str
    args: tuple[Value, ...] = ()
    options: Mapping[str, Value] = field(default_factory=dict)
    span: Span | None = field(default=None, compare=False)
    places: Mapping[int | str, Span] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        named = (f"{name}={show(value)}" for name, value in self.options.items())
        return f"{self.name}({', '.join([*map(show, self.args), *named])})"

    def place(self, key: int | str) -> Span | None:
        """Where one argument stands, or else the whole call."""
        return self.places.get(key, self.span)


class OptionError(AsrcError):
    """A mistake in one option's value, raised by a pass that does not know where it was written."""

    def __init__(self, option: str, error: AsrcError) -> None:
        super().__init__(*error.diagnostics)
        self.option = option


def show(value: Value) -> str:
    """An option's value as written: `320ms`, `5`, `0.5`, `encoder.body.*`, `lut(32)`."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | Fraction():
            return format_number(value)
        case str():
            return value if _WORD.fullmatch(value) else json.dumps(value)
        case tuple():
            return f"{value[0]}({', '.join(map(show, value[1:]))})"
    return str(value)
