"""`asrc run`: a program of a compiled model, on codes from a file."""

from __future__ import annotations

from pathlib import Path

import click

from .terminal import common, look, show_json, show_text

PATH = click.Path(path_type=Path)


@click.command("run")
@click.argument("artefact", type=PATH)
@click.argument("program")
@click.option("--inputs", type=PATH, help="Codes (safetensors); the golden ones, if not given.")
@click.option("--out", type=PATH, required=True, help="Outputs and states after every step.")
@click.option("--on", "place", type=click.Choice(["asrc", "litert", "triton"]), default="asrc",
              show_default=True, help="Here; LiteRT's reference kernels; Triton's.")  # fmt: skip
@common
def command(artefact: Path, program: str, inputs: Path | None, out: Path, place: str) -> None:
    """Run one integer program of a compiled model, for whoever brings it to a device.

    PROGRAM is encoder, predictor or joint. Each input is an array by name, its first axis the
    steps; so is each output and each state in what comes out. To hear words, use `asrc transcribe`.
    """
    from ..runtime.programs import run_program

    steps = run_program(artefact, program, inputs, out, place)
    if look().json:
        show_json({"program": program, "steps": steps, "out": str(out)})
    else:
        show_text(f"{out}: {steps} steps of {program}")
