"""Diagnostics as data: a stable code, a message, labelled spans and a fix.

The renderers (graphical, plain, JSON) live in `dsl/render.py`; every floor may make diagnostics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from .source import Span


@dataclass(frozen=True, slots=True)
class Label:
    """A span with a few words on why it matters."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake (E code) or warning (W code).

    The first label is the primary one: the place where the fix goes. `notes` are facts,
    one a line; `help` is what to write instead.
    """

    code: str
    message: str
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: tuple[str, ...] = ()

    @property
    def severity(self) -> str:
        return "warning" if self.code.startswith("W") else "error"

    @property
    def span(self) -> Span | None:
        return self.labels[0].span if self.labels else None

    def at(self, span: Span | None, text: str = "") -> Diagnostic:
        """The same diagnostic with one more label."""
        return self if span is None else replace(self, labels=(*self.labels, Label(span, text)))

    def __str__(self) -> str:
        place = f"{self.span}: " if self.span else ""
        return f"{place}{self.severity}[{self.code}]: {self.message}"


def diagnostic(
    code: str, message: str, span: Span | None = None, text: str = "", *, help: str = ""
) -> Diagnostic:
    """A diagnostic with at most one label and one help line, the common case."""
    labels = (Label(span, text),) if span is not None else ()
    return Diagnostic(code, message, labels, help=(help,) if help else ())


class AsrcError(Exception):
    """A user's mistake. Carries diagnostics; the command line prints them, never a traceback."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("\n".join(str(d) for d in diagnostics))
        self.diagnostics = diagnostics


class Bag:
    """Collects diagnostics of one run; the same code at the same place is kept once."""

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], Diagnostic] = {}

    def add(self, item: Diagnostic) -> None:
        span = item.span
        place = (span.source.name, span.start, span.end) if span else (item.message,)
        self._seen.setdefault((item.code, *place), item)

    def extend(self, items: Iterable[Diagnostic]) -> None:
        for item in items:
            self.add(item)

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(sorted(self._seen.values(), key=_order))

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self if d.severity == "error"]


def _order(item: Diagnostic) -> tuple[str, int, str]:
    span = item.span
    return (span.source.name, span.start, item.code) if span else ("", -1, item.code)
