"""Budgets: `require` statements as data. Evaluation is in `budget_check.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from .source import Span


@dataclass(frozen=True, slots=True)
class Literal:
    """A number or a quantity in base units (seconds, hertz, bits)."""

    value: Fraction
    dimension: str
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Measure:
    """`params(encoder)`, `state(encoder, step)`: a figure over a selection."""

    figure: str
    selector: str | None
    variant: str | None = None
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    op: str
    left: Term
    right: Term
    span: Span | None = field(default=None, compare=False)


Term = Literal | Measure | Arithmetic


@dataclass(frozen=True, slots=True)
class Budget:
    """`left op right`; `in` has bounds instead of `right`."""

    left: Term
    op: str
    right: Term
    upper: Term | None = None
    span: Span | None = field(default=None, compare=False)
