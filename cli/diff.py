"""`asrc diff`: where a compiled model leaves what it was compiled from."""

from __future__ import annotations

from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .guard import FAILED
from .terminal import common, look, show_json, show_table, show_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..runtime.beside import First
    from ..runtime.differences import Difference, OfProgram

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
    """Compare four ways to compute a transducer on one recording.

    The integer programs here, LiteRT's reference kernels on their files, with --run the graph as it
    is in training with integers, and the float model. Predictor and joint get the labels that the
    integer programs hear. The first three must agree in every code of every operator and step; the
    first value, frame and label that do not are named (exit status 1). Against the float model each
    value has a ratio of signal to error: the least and the first below 20 dB are named, --op shows
    all, in the order in which they are computed; these need --run, too. Last come tensors whose
    codes saturate.
    """
    if run is None and (every or float_ is not None):
        _need_run("--op" if every else "--float")
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


def _need_run(option: str) -> NoReturn:
    """The float model is held against the graph in training, not against programs."""
    raise click.UsageError(
        f"{option} is about the model in training beside the float one: give --run and the folder"
        " that was compiled, and --float and the float one where that was trained in integers"
    )


MOST = 5
"""So many saturated tensors are shown; JSON has all."""


def _show(found: Difference, every: bool) -> None:
    rows = [row for name, one in found.programs.items() for row in _ways(name, one)]
    show_table(("program", "against", "codes", "first difference"), rows, left=2, trailing=1)
    if every and found.snr:
        ratios = [(path, f"{db:.1f}") for path, db in found.snr.items()]
        show_table(("value", "dB against float"), ratios)
    if found.snr:
        _show_ratios(found)
    _show_saturated(found)
    steps = found.programs["encoder"].steps
    show_text(f"{steps} steps, {len(found.labels)} labels")


def _ways(name: str, one: OfProgram) -> Iterator[tuple[str, str, str, str]]:
    for way, count in one.compared.items():
        first = one.litert if way == "LiteRT" else one.training
        yield name, way, f"{count:,}", _first(first)


def _show_ratios(found: Difference) -> None:
    from ..runtime.differences import ENOUGH

    path, db = min(found.snr.items(), key=lambda item: item[1])
    show_text(f"against float: {db:.1f} dB at least, in {path}; --op shows every value")
    if found.noisy:
        at = f"{found.noisy} ({floor(10 * found.snr[found.noisy]) / 10:.1f} dB)"
        show_text(f"the first below {ENOUGH:.0f} dB: {at}")


def _show_saturated(found: Difference) -> None:
    every = [item for one in found.programs.values() for item in one.saturated.items()]
    rows = [
        (path, f"{one.codes:,}", f"{100 * one.share:.2f} %", ", ".join(one.readers))
        for path, one in sorted(every, key=lambda item: item[1].rank)
    ]
    if rows:
        show_table(("saturated", "codes", "share", "read by"), rows[:MOST], trailing=1)
    if len(rows) > MOST:
        show_text(f"{len(rows) - MOST} more tensors saturate; --json has all")


def _first(found: First | None) -> str:
    if found is None:
        return "none"
    label = "" if found.label is None else f", label {found.label}"
    return f"{found.value}, {found.unit} {found.at}{label}: {found.codes} codes"


def _plain(found: Difference) -> dict[str, Any]:
    from dataclasses import asdict

    first = {"litert": found.litert, "training": found.training}
    shown = {name: one and asdict(one) for name, one in first.items()}
    return {**asdict(found), **shown, "noisy": found.noisy}
