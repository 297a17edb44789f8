"""Reading one line of IR text, piece by piece, with errors at the exact column."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from .diagnostics import AsrcError, diagnostic
from .irtext import WORD
from .source import Source, Span
from .units import UNITS

T = TypeVar("T")

_SPACE = re.compile(r"[ \t\r]*")
_INT = re.compile(r"-?\d{1,30}(?!\d)", re.ASCII)
_NUMBER = re.compile(r"(-?\d{1,30}(?:\.\d{1,30})?)(?:/(\d{1,30}))?(?!\d)", re.ASCII)
_UNIT = re.compile("|".join(sorted(UNITS, key=len, reverse=True)))
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(slots=True)
class Cursor:
    """A place in a line; `start` is the line's first character in the source."""

    source: Source
    line: str
    start: int
    at: int = 0

    def fail(self, message: str, at: int | None = None, help: str = "") -> AsrcError:
        """E0010 from `at` (by default, here) to the end of the piece."""
        begin = self.start + (self.at if at is None else at)
        end = max(begin + 1, self.start + (self.at if at is not None else 0))
        return AsrcError(diagnostic("E0010", message, Span(self.source, begin, end), help=help))

    def since(self, at: int) -> Span:
        return Span(self.source, self.start + at, self.start + self.at)

    # --- pieces ---

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.line, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def skip(self) -> None:
        self.match(_SPACE)

    def peek(self, text: str) -> bool:
        self.skip()
        return self.line.startswith(text, self.at)

    def take(self, text: str) -> bool:
        """Step over `text` if it comes next."""
        found = self.peek(text)
        self.at += len(text) if found else 0
        return found

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.fail(f"`{text}` is expected here")

    def end(self) -> bool:
        self.skip()
        return self.at >= len(self.line)

    def finish(self) -> None:
        if not self.end():
            raise self.fail("the line should end here")

    # --- values ---

    def word(self, what: str) -> str:
        """A name, plain or in quotes."""
        if self.peek('"'):
            return self.string(what)
        found = self.match(WORD)
        if found is None:
            raise self.fail(f"{what} is expected here")
        return found.group()

    def string(self, what: str) -> str:
        self.skip()
        begin, found = self.at, self.match(_STRING)
        try:
            if found is not None:
                return str(json.loads(found.group()))
        except json.JSONDecodeError:
            pass
        raise self.fail(f"{what} in quotes is expected here", begin)

    def int(self, what: str, low: int = 0) -> int:
        self.skip()
        begin, found = self.at, self.match(_INT)
        if found is None:
            raise self.fail(f"{what}, a whole number, is expected here")
        if int(found.group()) < low:
            raise self.fail(f"{what} must be at least {low}", begin)
        return int(found.group())

    def number(self, what: str) -> Fraction:
        self.skip()
        begin, found = self.at, self.match(_NUMBER)
        if found is None:
            raise self.fail(f"{what}, a number, is expected here")
        below = int(found.group(2) or 1)
        if not below:
            raise self.fail("division by zero", begin)
        return Fraction(found.group(1)) / below

    def quantity(self, what: str) -> tuple[Fraction, str]:
        """A number with or without a unit, in base units, and its dimension."""
        value = self.number(what)
        unit = self.match(_UNIT)
        if unit is None:
            return value, "number"
        dimension, scale = UNITS[unit.group()]
        return value * scale, dimension

    def listed(self, read: Callable[[], T], close: str) -> list[T]:
        """Comma-separated pieces up to `close`; the opening bracket is behind us."""
        found: list[T] = []
        while not self.take(close):
            if found:
                self.expect(",")
            found.append(read())
        return found
