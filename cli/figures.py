"""Figures as people read them: `+15ms`, `37.4 KiB`, `29.41 M`, `617.7 M/s`."""

from __future__ import annotations

from fractions import Fraction

from ..compiler.facts import Range
from ..compiler.report import Bound, Figures, LayerRow
from ..compiler.units import format_time, show_bytes, show_count

HEAD = ("look-ahead", "state(frame)", "parameters", "MACs")
SUMMARY = ("look-ahead", "state(frame)", "state(step)", "parameters", "MACs")
NONE = "-"


def cells(found: Figures) -> tuple[str, str, str, str]:
    """The cells under `HEAD`."""
    return lookahead(found), state(found.frame), parameters(found.params), macs(found.cost)


def summary(found: Figures) -> tuple[str, ...]:
    """The cells under `SUMMARY`."""
    first, second, *rest = cells(found)
    return first, second, state(found.step), *rest


def path_text(row: LayerRow) -> str:
    """`encoder.body.1..12 (x12)`."""
    copies = row.entry.copies
    return f"{row.entry.path} (x{copies})" if copies > 1 else row.entry.path


def type_text(row: LayerRow) -> str:
    return ", ".join(map(str, row.types))


def lookahead(found: Figures) -> str:
    if found.lookahead is None:
        return NONE
    low, high = found.lookahead
    if low == high:
        return _ahead(high)
    return f"{_ahead(low)}..{_ahead(high).removeprefix('+')}"


def _ahead(value: Bound) -> str:
    return "unbounded" if value is None else f"+{format_time(value)}"


def state(bits: Bound | int) -> str:
    if bits is None:
        return "grows"
    return show_bytes(bits) if bits else NONE


def parameters(count: int) -> str:
    return show_count(count) if count else NONE


def macs(cost: Range) -> str:
    """What falls due, and when: `617.7 M/s`, `8.356 M/label`; between branches `2 M..6 M/s`."""
    parts = (
        _due(cost.best.second, cost.worst.second, "s"),
        _due(cost.best.label, cost.worst.label, "label"),
        _due(cost.best.joint, cost.worst.joint, "joint"),
        _due(cost.best.utterance, cost.worst.utterance, "utterance"),
        "grows" if cost.worst.unbounded else "",
    )
    return " + ".join(filter(None, parts)) or NONE


def _due(low: Fraction, high: Fraction, unit: str) -> str:
    if not high:
        return ""
    least = "" if low == high else f"{show_count(low)}.."
    return f"{least}{show_count(high)}/{unit}"
