"""`asrc convert`: a trained model with weights of another precision, to keep or to send."""

from __future__ import annotations

from pathlib import Path

import click

from .terminal import common, look, show_json, show_text

PATH = click.Path(path_type=Path)
PRECISIONS = ("float32", "float16", "bfloat16", "int8")


@click.command("convert")
@click.argument("model", type=PATH)
@click.option("--out", type=PATH, required=True, help="A folder for the converted model.")
@click.option("--weights", "precision", type=click.Choice(PRECISIONS), default="float16")
@common
def command(model: Path, out: Path, precision: str) -> None:
    """Store a trained model's weights in another precision; it still computes in float32.

    MODEL is a folder that `asrc train` made. Half precision is half the size, int8 a quarter: its
    matrices are codes with a step for each row. `asrc eval` says what the rounding costs, which is
    usually nothing.
    """
    import torch

    from ..runtime.recogniser import read_recogniser, write_recogniser

    recogniser = read_recogniser(model)
    write_recogniser(out, recogniser, dtype=getattr(torch, precision))
    size = sum(path.stat().st_size for path in out.iterdir())
    if look().json:
        show_json({"model": str(out), "weights": precision, "bytes": size})
    else:
        show_text(f"{out}: {size:,} bytes, weights in {precision}")
