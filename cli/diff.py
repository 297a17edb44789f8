"""`asrc diff`: where a compiled model leaves what it was compiled from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .guard import FAILED
from .terminal import common, look, show_json, show_table, show_text

if TYPE_CHECKING:
    from ..runtime.differences import Difference, First

PATH = click.Path(path_type=Path)


@click.command("diff")
@click.argument("artefact", type=PATH)
@click.argument("audio", type=PATH)
@click.option("--run", type=PATH, help="What was compiled: a folder that `asrc train` made.")
@click.option("--float", "float_", type=PATH, help="The float model it was tuned from; else RUN.")
@click.option("--op", "every", is_flag=True, help="The signal-to-error ratio of every value.")
@common
@click.pass_context
def command(
    context: click.Context,
    artefact: Path,
    audio: Path,
    run: Path | None,
    float_: Path | None,
    every: bool,
) -> None:
    """Compare four ways to compute the encoder on one recording.

    The integer program here, LiteRT's reference kernels on its file, with --run the graph as it is
    in training with integers, and the float model. The first three must agree in every code of
    every operator and step; the first value and frame that does not is named (exit status 1).
    Against the float model each value has a ratio of signal to error: --op shows all, in the order
    in which they are computed, so that it is seen where the error comes in.
    """
    from ..runtime.audio import read_audio
    from ..runtime.compiled import read_compiled
    from ..runtime.differences import differences
    from ..runtime.recogniser import read_recogniser

    samples = read_audio(audio, read_compiled(artefact).rate)
    recogniser = None if run is None else read_recogniser(run)
    floats = recogniser if float_ is None else read_recogniser(float_)
    found = differences(artefact, samples, recogniser, floats)
    if look().json:
        show_json(_plain(found))
    else:
        _show(found, every)
    if found.litert or found.training:
        context.exit(FAILED)


def _show(found: Difference, every: bool) -> None:
    rows = [("LiteRT", found.compared["LiteRT"], found.litert)]
    if "training" in found.compared:
        rows.append(("training", found.compared["training"], found.training))
    show_table(
        ("against", "codes", "first difference"),
        [(name, f"{count:,}", _first(first)) for name, count, first in rows],
    )
    if every and found.snr:
        ratios = [(path, f"{db:.1f}") for path, db in found.snr.items()]
        show_table(("value", "dB against float"), ratios)
    elif found.snr:
        path, db = min(found.snr.items(), key=lambda item: item[1])
        show_text(f"against float: {db:.1f} dB at least, in {path}; --op shows every value")
    show_text(f"{found.steps} steps")


def _first(found: First | None) -> str:
    if found is None:
        return "none"
    return f"{found.value}, {found.unit} {found.at}: {found.codes} codes"


def _plain(found: Difference) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(found)
