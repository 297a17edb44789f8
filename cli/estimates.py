"""Estimates for machines as tables: what a step costs on each, and what it leaves to the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .terminal import show_table, show_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..backends.nna.machine import Estimate

    Estimates = Mapping[str, Mapping[str, Estimate]]
    """By machine and program."""

_HEAD = (
    *("estimates", "by", "us a step", "KiB of SRAM", "of flash", "of DRAM"),
    *("bits a weight", "off the accelerator"),
)


def show_estimates(estimates: Estimates) -> None:
    """Nothing where there are none."""
    if not estimates:
        return
    every = [(f"{on} {name}", e) for on, of in estimates.items() for name, e in of.items()]
    show_table(_HEAD, [_row(title, e) for title, e in every], left=2)
    if any(e.by == "asrc" for _, e in every):
        show_text("by asrc: from rates alone; flash is the stream of weights, and nothing else")
    if left := [row for title, e in every for row in _left(title, e)]:
        show_table(("not on the accelerator", "operators", "because"), left, trailing=1)
        show_text("estimates leave these out: their time on the host, and their weights")


def _row(title: str, e: Estimate) -> tuple[str, ...]:
    figures = (f"{1e6 * e.seconds:.1f}", *map(_kib, (e.sram, e.flash, e.dram)), f"{e.bits:.2f}")
    return (title, e.by, *figures, str(e.elsewhere))


def _kib(count: int | None) -> str:
    return "-" if count is None else f"{count / 1024:.1f}"


def _left(title: str, e: Estimate) -> Iterator[tuple[str, str, str]]:
    """Kinds with their counts; where these are not known, how many there are of all."""
    ours = e.by == "asrc"
    because = "the machine's description has none" if ours else "Vela leaves them on the CPU"
    for kind, count in e.lacking.items():
        yield f"{title}: {kind}", str(count), because
    if e.elsewhere and not e.lacking:
        yield title, str(e.elsewhere), because
