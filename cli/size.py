"""`asrc size`: where the bytes of a compiled model are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .estimates import show_estimates
from .terminal import common, look, show_json, show_table, show_text

if TYPE_CHECKING:
    from ..runtime.sizes import Size, Sizes


@click.command("size")
@click.argument("artefact", type=click.Path(path_type=Path))
@common
def command(artefact: Path) -> None:
    """Reconcile the bytes of a compiled model with the bits of its types.

    For each program: weights, their bytes at the bits that their types say and as an accelerator
    codes them, headers left out, codebooks, scales and biases beside them; then what is stored, one
    byte a weight, as constants and in the `.tflite` file, the values that a step needs at once, and
    the weight stream that each machine's own compiler makes of it. Then operators by kind, what the
    host computes and why, estimates for each machine with SRAM, flash and DRAM, each of its own
    compiler or of asrc, and what it leaves out, and all parts of the file, whose bytes in it,
    compressed, are with headers and digest the whole file.
    """
    from ..runtime.sizes import sizes

    found = sizes(artefact)
    if look().json:
        show_json(_plain(found))
        return
    machines = list(dict.fromkeys(on for size in found.programs for on in size.streams))
    head = ("program", "weights", "typed", "coded", "beside", "sum", "stored", ".tflite", "alive")
    show_table((*head, *machines), [_row(size, machines) for size in found.programs])
    kinds = dict.fromkeys(kind for size in found.programs for kind in size.operators)
    counts = [(k, *(str(size.operators.get(k, "")) for size in found.programs)) for k in kinds]
    show_table(("operators", *(size.program for size in found.programs)), counts)
    rows = [(path, held.op or "", held.reason) for path, held in found.host.items()]
    show_table(("on the host", "operator", "because"), rows, left=3)
    show_estimates(found.estimates)
    _show_parts(found)


def _show_parts(found: Sizes) -> None:
    """The largest in the file first; they and the rest add up to it."""
    parts = sorted(found.parts.items(), key=lambda item: -item[1].packed)
    rows = [(name, f"{part.packed:,}", f"{part.own:,}") for name, part in parts]
    rows.append(("(headers of the archive, digest)", f"{found.rest:,}", ""))
    show_table(("part", "bytes in the file", "by itself"), rows)
    show_text(f"sum: {found.file:,} bytes")


def _row(size: Size, machines: list[str]) -> tuple[str, ...]:
    stored = (size.stored, size.file, size.alive)
    numbers = (size.weights, size.typed, size.coded, size.beside, size.total, *stored)
    streams = (size.streams.get(on) for on in machines)
    return (
        size.program,
        *(f"{n:,}" for n in numbers),
        *("" if n is None else f"{n:,}" for n in streams),
    )


def _plain(found: Sizes) -> dict[str, object]:
    from dataclasses import asdict

    programs = {size.program: {**asdict(size), "total": size.total} for size in found.programs}
    return {**asdict(found), "programs": programs, "rest": found.rest}
