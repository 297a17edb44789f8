"""Rows of an account: what adds up to a figure, equal contributions together, largest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from .graph import Node
from .source import Span

MAX_ROWS = 8


@dataclass(frozen=True, slots=True)
class Row:
    """Several values of one place in the model's text, and what they add together."""

    nodes: tuple[Node, ...]
    what: str
    amount: Fraction

    @property
    def span(self) -> Span | None:
        return self.nodes[0].span


def pattern(path: str) -> str:
    """`encoder.body.*.Ffn` of `encoder.body.3.Ffn`: values that differ only in a repetition."""
    return ".".join("*" if part.isdecimal() else part for part in path.split("."))


def grouped(items: Iterable[tuple[Node, str, Fraction]]) -> list[Row]:
    """One row for each description and repeated path, largest first. Rows sum to the items."""
    groups: dict[tuple[str, str], list[tuple[Node, Fraction]]] = {}
    for node, what, amount in items:
        groups.setdefault((what, pattern(node.path)), []).append((node, amount))
    rows = [
        Row(
            tuple({n.path: n for n, _ in found}.values()),
            what,
            sum((a for _, a in found), Fraction(0)),
        )
        for (what, _), found in groups.items()
    ]
    return sorted(rows, key=lambda row: -row.amount)


def texts(rows: Sequence[Row]) -> list[str]:
    """`12 x attention over the whole utterance (line 34)`, with file names where needed."""
    sources = {row.span.source.name for row in rows if row.span is not None}
    named = len(sources) > 1 or any(name.startswith("std.") for name in sources)
    return [f"{_times(row)}{row.what}{_where(row.span, named)}" for row in rows]


def _times(row: Row) -> str:
    return f"{len(row.nodes)} x " if len(row.nodes) > 1 else ""


def _where(span: Span | None, several: bool) -> str:
    if span is None:
        return ""
    return f" ({span.source.name}:{span.line})" if several else f" (line {span.line})"


def lines(rows: Sequence[Row], show: Callable[[Fraction], str]) -> tuple[str, ...]:
    """Rows as text with aligned amounts; the smallest are summed up when there are many."""
    shown, rest = rows[:MAX_ROWS], rows[MAX_ROWS:]
    amounts = [show(row.amount) for row in shown]
    cells = list(zip(amounts, texts(shown), strict=True))
    if rest:
        cells.append((show(sum((r.amount for r in rest), Fraction(0))), f"{len(rest)} others"))
    width = max((len(amount) for amount, _ in cells), default=0)
    return tuple(f"{amount:>{width}}  {text}" for amount, text in cells)
