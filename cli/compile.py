"""`asrc compile`: a trained model as one file for a target."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .terminal import common, look, show_json, show_table, show_text

if TYPE_CHECKING:
    from ..runtime.recogniser import Recogniser
    from ..runtime.samples import Samples

PATH = click.Path(path_type=Path)


@click.command("compile")
@click.argument("model", type=PATH)
@click.option("--target", type=click.Choice(["nna", "triton"]), required=True)
@click.option("--calibrate", type=PATH, help="A manifest to take ranges from.")
@click.option("--utterances", type=click.IntRange(1), default=64, show_default=True)
@click.option("--weights", "bits", type=click.IntRange(1, 8), help="Bits; nna: 8, triton: float.")
@click.option("--coded", type=float, help="nna: of --weights, bits in the coded weight stream.")
@click.option("--machine", multiple=True, help="An accelerator, or its `.toml` file.")
@click.option(
    "--optimise", type=click.Choice(["performance", "size"]), help="What --machine is compiled for."
)
@click.option("--exact", is_flag=True, help="triton: the integers of nna, on kernels.")
@click.option("--out", type=PATH, required=True, help="The artefact, such as model.asrc.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@common
def command(
    model: Path,
    target: str,
    calibrate: Path | None,
    utterances: int,
    bits: int | None,
    coded: float | None,
    machine: tuple[str, ...],
    optimise: str | None,
    exact: bool,
    out: Path,
    threads: int,
) -> None:
    """Compile a trained transducer into one file: integer programs for an accelerator, or a model
    that runs on Triton kernels on a GPU.

    MODEL is a folder that `asrc train` made. For `nna`, weights and activations of a float model
    become int8, accumulators int16; ranges come from real audio, --utterances of the manifest at
    equal distances; weights of fewer than 8 bits share a codebook in each tensor, with --coded one
    whose indices take so many bits in the accelerator's coded stream. A model that was trained
    after `substitute` and `quantize` has all of this already and is compiled as it is. What stays
    on the host is listed with the reason. `asrc transcribe` and `asrc eval` take the file.

    With --machine, which may be repeated, Vela compiles the programs for that accelerator as well;
    times and memory are its estimates for one step. Of a machine that is known by its rates alone,
    such as generic-8bit, they are asrc's own. Vela minds speed, and with --optimise size memory
    and the size of weights: an Ethos-U85 then streams weights of two to four values in fewer bits.

    For `triton`, values stay in float; with --weights, weights become codebooks that kernels read
    in so many bits. Which kernel makes which value is listed, and what PyTorch computes and why.
    With --exact, the file holds the integer programs that `nna` has, and every code of them is
    the same on the GPU.
    """
    _check(target, bits, coded, exact)
    if optimise and not machine:
        raise click.UsageError("--optimise is what --machine is compiled for, and there is none")
    if target == "triton" and not exact:
        _for_triton(model, bits, out)
        return
    bits = 8 if bits is None else bits
    from ..compiler.artefact import write_artefact
    from ..runtime.calibration import graph_inputs
    from ..runtime.compiled import compiled, for_machines, needs_audio, read_compiled
    from ..runtime.recogniser import read_recogniser
    from ..runtime.threads import use_threads

    use_threads(threads)
    recogniser = read_recogniser(model)
    if calibrate is None and needs_audio(recogniser, bits):
        raise click.UsageError("a float model needs --calibrate: real audio gives the ranges")
    heard = [] if calibrate is None else _heard(recogniser, calibrate, utterances)
    inputs = graph_inputs(recogniser.lowered, recogniser.vocabulary, heard)
    limit = None if coded is None else Fraction(str(coded))
    parts = compiled(recogniser, inputs, bits, "triton" if exact else "asrc", limit)
    write_artefact(out, for_machines(parts, machine, optimise == "size"))
    found = read_compiled(out)
    if look().json:
        figures = {**_figures(found.programs), "estimates": _plain(found.estimates)}
        show_json({"artefact": str(out), "bytes": out.stat().st_size, **figures})
        return
    _show(found.programs, found.manifest["host"])
    if found.estimates:
        _show_estimates(found.estimates)
    show_text(f"{out}: {out.stat().st_size:,} bytes")


def _check(target: str, bits: int | None, coded: float | None, exact: bool) -> None:
    """Raises UsageError for options that do not go together."""
    if exact and target != "triton":
        raise click.UsageError("--exact is for --target triton; the integers of nna are exact")
    if coded is not None and not 1 < coded <= (bits or 8) < 8:
        raise click.UsageError("--coded is more than 1 and at most --weights, 2 to 7 bits then")
    if coded is not None and target == "triton" and not exact:
        raise click.UsageError("--coded is for integer programs: their weights are coded")


def _for_triton(model: Path, bits: int | None, out: Path) -> None:
    from ..compiler.artefact import write_artefact
    from ..runtime.fast import compiled_fast
    from ..runtime.recogniser import read_recogniser

    parts = compiled_fast(read_recogniser(model), bits)
    report = json.loads(parts["manifest.json"])["kernels"]
    write_artefact(out, parts)
    if look().json:
        show_json({"artefact": str(out), "bytes": out.stat().st_size, "kernels": report})
        return
    rows = [(part, *row) for part, values in report.items() for row in _by_kernel(values)]
    show_table(("part", "made by", "values", "such as"), rows, left=2)
    show_text(f"{out}: {out.stat().st_size:,} bytes")


def _by_kernel(values: dict[str, str]) -> list[tuple[str, str, str]]:
    """Kernels or reasons, of how many values, and the first of these."""
    kinds = dict.fromkeys(values.values())
    made = {kind: [value for value, by in values.items() if by == kind] for kind in kinds}
    return [(kind, str(len(paths)), paths[0]) for kind, paths in made.items()]


def _heard(recogniser: Recogniser, manifest: Path, count: int) -> list[tuple[Samples, str]]:
    from ..training.cache import AudioCache
    from ..training.manifest import read_manifest

    everything = read_manifest(manifest)
    cache = AudioCache(recogniser.rate, channels=recogniser.channels)
    chosen = everything[:: max(1, len(everything) // count)][:count]
    return [(cache.read(utterance), utterance.text) for utterance in chosen]


def _figures(programs: Any) -> dict[str, Any]:
    return {name: lowered.program.figures() for name, lowered in programs.items()}


def _show(programs: Any, host: dict[str, str]) -> None:
    rows = [
        (name, str(f["operators"]), f"{f['weights']:,}", f"{f['state']:,}")
        for name, f in _figures(programs).items()
    ]
    show_table(("program", "operators", "bytes of weights", "bytes of state"), rows)
    show_table(("on the host", "because"), sorted(host.items()), left=2)


def _plain(estimates: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {on: {n: asdict(e) for n, e in of.items()} for on, of in estimates.items()}


def _show_estimates(estimates: Any) -> None:
    head = ("estimates", "by", "us a step", "KiB of SRAM", "bits a weight", "off the accelerator")
    rows = [
        (
            f"{on} {name}",
            e.by,
            f"{1e6 * e.seconds:.0f}",
            f"{e.sram / 1024:.1f}",
            f"{e.bits:.2f}",
            str(e.elsewhere),
        )
        for on, programs in estimates.items()
        for name, e in programs.items()
    ]
    show_table(head, rows, left=2)
