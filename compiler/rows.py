"""Rows of an account: what adds up to a figure, equal contributions together, largest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from .graph import Node

MAX_ROWS = 8


@dataclass(frozen=True, slots=True)
class Row:
    """Several values of one place in the model's text, and what they add together."""

    nodes: tuple[Node, ...]
    what: str
    amount: Fraction

    @property
    def text(self) -> str:
        times = f"{len(self.nodes)} x " if len(self.nodes) > 1 else ""
        span = self.nodes[0].span if self.nodes else None
        return f"{times}{self.what}{f' (line {span.line})' if span else ''}"


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


def lines(rows: list[Row], show: Callable[[Fraction], str]) -> tuple[str, ...]:
    """Rows as text with aligned amounts; the smallest are summed up when there are many."""
    shown, rest = rows[:MAX_ROWS], rows[MAX_ROWS:]
    cells = [(show(row.amount), row.text) for row in shown]
    if rest:
        cells.append((show(sum((r.amount for r in rest), Fraction(0))), f"{len(rest)} others"))
    width = max((len(amount) for amount, _ in cells), default=0)
    return tuple(f"{amount:>{width}}  {text}" for amount, text in cells)
