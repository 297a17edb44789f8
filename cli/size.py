"""`asrc size`: where the bytes of a compiled model are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

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
    the weight stream that each machine's own compiler makes of it. Then its operators, by kind.
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
    others = sorted(found.others.items(), key=lambda item: -item[1])
    show_table(("other parts", "bytes"), [(name, f"{count:,}") for name, count in others])
    show_text(f"{artefact}: {found.file:,} bytes, its parts compressed")


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
    return {"programs": programs, "others": dict(found.others), "file": found.file}
