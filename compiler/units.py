"""Exact quantities with units: times, rates, sizes, counts.

A quantity is a `Fraction` in its dimension's base unit: seconds for time, hertz for rates, bits
for sizes. `k M G %` only scale plain numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

_F = Fraction

UNITS: dict[str, tuple[str, Fraction]] = {
    "us": ("time", _F(1, 10**6)),
    "ms": ("time", _F(1, 1000)),
    "s": ("time", _F(1)),
    "Hz": ("rate", _F(1)),
    "kHz": ("rate", _F(1000)),
    "bit": ("size", _F(1)),
    "B": ("size", _F(8)),
    "KB": ("size", _F(8000)),
    "MB": ("size", _F(8 * 10**6)),
    "KiB": ("size", _F(8 * 1024)),
    "MiB": ("size", _F(8 * 1024**2)),
    "k": ("number", _F(1000)),
    "M": ("number", _F(10**6)),
    "G": ("number", _F(10**9)),
    "%": ("number", _F(1, 100)),
}
"""Unit as written -> (dimension, value in the base unit)."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with a physical dimension: `time` (s), `rate` (Hz) or `size` (bit)."""

    value: Fraction
    dimension: str

    def __str__(self) -> str:
        return format_quantity(self.value, self.dimension)


def seconds(value: Fraction | int) -> Quantity:
    return Quantity(Fraction(value), "time")


def format_number(value: Fraction | int) -> str:
    """`3`, `0.5`, `1/3`: exact, and a decimal where one ends within nine digits."""
    value = Fraction(value)
    if value.denominator == 1:
        return str(value.numerator)
    scaled = value * 10**9
    if scaled.denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    sign, digits = "-" if scaled < 0 else "", f"{abs(scaled.numerator):010d}"
    return f"{sign}{digits[:-9]}.{digits[-9:]}".rstrip("0")


def format_quantity(value: Fraction, dimension: str) -> str:
    """A quantity in the unit that a speech engineer would write, still exact."""
    if dimension == "time":
        return format_time(value)
    if dimension == "rate":
        kilo = value % 1000 == 0 and value
        return f"{format_number(value / 1000)}kHz" if kilo else f"{format_number(value)}Hz"
    if dimension == "size":
        return _format_bits(value)
    return format_number(value)


def format_time(value: Fraction) -> str:
    """`40ms`, `2560ms`, `62.5us`; exact."""
    millis = value * 1000
    if millis and abs(millis) < 1:
        return f"{format_number(millis * 1000)}us"
    return f"{format_number(millis)}ms"


def format_period(value: Fraction) -> str:
    """A clock period: sample clocks read as rates (`16kHz`), frames as times (`40ms`)."""
    if value < Fraction(1, 1000):
        return format_quantity(1 / value, "rate")
    return format_time(value)


def _format_bits(value: Fraction) -> str:
    for unit in ("MiB", "KiB", "B"):
        scaled = value / UNITS[unit][1]
        if scaled and scaled.denominator == 1:
            return f"{scaled}{unit}"
    return f"{format_number(value)}bit"


def show_bytes(bits: Fraction | int) -> str:
    """A size for people, rounded: `40.4 KiB`, `19.1 MiB`."""
    size = float(bits) / 8
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}" if unit != "B" else f"{size:.0f} B"
        size /= 1024
    return f"{size:.2f} GiB"


def show_count(value: Fraction | int | float) -> str:
    """A count for people, rounded: `40.02 M`, `618 k`."""
    number = float(value)
    for bound, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= bound:
            return f"{number / bound:.4g}{unit}"
    return f"{number:.4g}"
