"""`asrc bench`: how fast models are on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .terminal import common, look, show_json, show_table

if TYPE_CHECKING:
    from ..runtime.bench import Timed

PATH = click.Path(path_type=Path)


@click.command("bench")
@click.argument("models", type=PATH, nargs=-1, required=True)
@click.option("--streams", type=click.IntRange(1), multiple=True, default=(1,), show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1), default=15.0, show_default=True,
              help="How long whole utterances are.")  # fmt: skip
@click.option("--for", "budget", type=click.FloatRange(0), default=5.0, show_default=True,
              help="Seconds that a line of the table takes.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@common
def command(
    models: tuple[Path, ...], streams: tuple[int, ...], seconds: float, budget: float, threads: int
) -> None:
    """Time models on this machine, in turns, on noise.

    MODELS are folders that `asrc train` made and files that `asrc compile` made. Timed are a step
    of a stream, a label (predictor and joint), and the encoder on whole utterances, each for every
    number of --streams at once; of integer programs, each alone, on LiteRT too. A model beside
    another has the ratio of its median to that of the first, for the same amount of sound.

    This says how fast, not how right: recognise with `asrc eval`.
    """
    from ..runtime.bench import jobs, timed
    from ..runtime.threads import use_threads

    use_threads(threads)
    counts = tuple(dict.fromkeys(streams))
    found = {by: work for path in models for by, work in jobs(path, counts, seconds).items()}
    rows = list(timed(found, budget))
    if look().json:
        show_json([_plain(row) for row in rows])
        return
    head = ("what", "by", "median, ms", "least, ms", "turns", "ratio", "audio s/s")
    show_table(head, [_row(row, rows) for row in rows], left=2)


def _row(row: Timed, rows: list[Timed]) -> tuple[str, ...]:
    first = next(one for one in rows if one.what == row.what)
    return (
        row.what,
        row.by,
        f"{1000 * row.median:.3f}",
        f"{1000 * row.least:.3f}",
        str(len(row.times)),
        "" if row is first else f"{row.beside(first):.2f}",
        f"{row.faster:.1f}" if row.audio else "",
    )


def _plain(row: Timed) -> dict[str, object]:
    return {
        "what": row.what,
        "by": row.by,
        "median": row.median,
        "least": row.least,
        "turns": len(row.times),
        "audio": row.audio,
    }
