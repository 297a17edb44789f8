"""`asrc compile`: a trained model as one file for a target."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from .estimates import show_estimates
from .terminal import common, look, show_diagnostics, show_json, show_table, show_text

if TYPE_CHECKING:
    from ..backends.nna.program import Array
    from ..compiler.diagnostics import Diagnostic
    from ..compiler.spec import Call
    from ..runtime.recogniser import Recogniser
    from ..runtime.samples import Samples
    from ..training.cache import AudioCache
    from ..training.manifest import Utterance

PATH = click.Path(path_type=Path)


@click.command("compile")
@click.argument("model", type=PATH)
@click.option("--target", type=click.Choice(["nna", "triton"]), required=True)
@click.option("--calibrate", type=PATH, help="A manifest to take ranges from.")
@click.option("--utterances", type=click.IntRange(1), default=64, show_default=True)
@click.option("--weights", "bits", type=click.IntRange(1, 8), help="Bits; nna: 8, triton: float.")
@click.option("--passes", metavar="CALLS", help="In place of --weights: what passes quantise.")
@click.option("--coded", type=float, help="nna: of --weights, bits in the coded weight stream.")
@click.option("--machine", multiple=True, help="An accelerator, or its `.toml` file.")
@click.option(
    "--optimise", type=click.Choice(["performance", "size"]), help="What --machine is compiled for."
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    help="triton: of products and their weights; float32 without it.",
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
    passes: str | None,
    coded: float | None,
    machine: tuple[str, ...],
    optimise: str | None,
    precision: str | None,
    exact: bool,
    out: Path,
    threads: int,
) -> None:
    """Compile a trained transducer into one file: integer programs for an accelerator, or a model
    that runs on Triton kernels on a GPU.

    MODEL is a folder that `asrc train` made. For `nna`, weights and activations of a float model
    become int8, accumulators int16; ranges come from real audio, --utterances of the manifest at
    equal distances; weights of fewer than 8 bits share a codebook in each tensor, with --coded one
    whose indices take so many bits in the accelerator's coded stream. Without it, streams of
    tensors of 65,536 weights and more take no more than --weights of 1 to 5 bits if they can, for
    some tenths of a decibel; --coded as large as --weights has the least noise. Weights of one bit
    are of three values then, most of them zero; with --coded 1 they are of two. A model that was
    trained after `substitute` and `quantize` has all of this already and is compiled as it is;
    --weights with other bits is refused. What stays on the host is listed with the reason. `asrc
    transcribe` and `asrc eval` take the file.

    --passes, such as "quantize(encoder, weights=4), quantize(joint, weights=8)", run first, on the
    trained model, its batch norms folded; a later one for the same values counts. Weights of which
    they say nothing, nor a training before, have 8 bits.

    With --machine, which may be repeated, Vela compiles the programs for that accelerator as well;
    times and memory are its estimates for one step. Of a machine that is known by its rates alone,
    such as generic-8bit, they are asrc's own. Operators that a machine has not are named; estimates
    leave them out. Vela minds speed, or memory and the size of weights where most of these have at
    most four values, which an Ethos-U85 reads in two bits each otherwise; --optimise says which, or
    `optimise` in a description.

    For `triton`, values stay in float; with --weights, weights become codebooks that kernels read
    in so many bits. With --precision float16 or bfloat16, products are on tensor cores in that type
    and their weights are kept in it; sums and values stay in float32. Which kernel makes which
    value is listed, and what PyTorch computes and why.
    With --exact, the file holds the integer programs that `nna` has, and every code of them is
    the same on the GPU.
    """
    _check(target, bits, coded, exact, passes)
    if optimise and not machine:
        raise click.UsageError("--optimise is what --machine is compiled for, and there is none")
    from ..compiler.files import check_writable

    _check_folder(model)
    check_writable(out)
    if target == "triton" and not exact:
        _check_plain(machine, calibrate)
        _for_triton(model, bits, precision or "float32", out)
        return
    if precision is not None:
        raise click.UsageError("--precision is for --target triton in float, not for integers")
    from ..backends.nna.machine import chosen
    from ..compiler.artefact import write_artefact
    from ..runtime.compiled import for_machines, trained_bits
    from ..runtime.memory import keep_freed
    from ..runtime.recogniser import read_recogniser
    from ..runtime.threads import use_threads

    use_threads(threads)
    keep_freed()
    machines = chosen(machine, optimise and optimise.title())
    recogniser, calls = read_recogniser(model), _calls(passes)
    wanted = _Wanted(*_width(model, trained_bits(recogniser), bits, coded, calls), calls, exact)
    told: list[Diagnostic] = []
    parts, spent = _compiled(recogniser, calibrate, utterances, wanted, told.append)
    write_artefact(out, for_machines(parts, machines))
    _report(out, spent, told)


def _report(out: Path, spent: dict[str, Any], told: Sequence[Diagnostic]) -> None:
    """What was written, where the time went, what was warned of."""
    from ..dsl.render import as_dict
    from ..runtime.compiled import read_compiled

    found = read_compiled(out)
    spent |= {"machines": _compiling(found.estimates)}
    if look().json:
        figures = {**_figures(found.programs), "estimates": _plain(found.estimates)}
        sizes = {"artefact": str(out), "bytes": out.stat().st_size}
        warnings = [as_dict(each) for each in told]
        show_json({**sizes, **figures, "seconds": spent, "warnings": warnings})
        return
    show_diagnostics(told)
    _show(found.programs, found.manifest["host"])
    show_estimates(found.estimates)
    _show_times(spent)
    show_text(f"{out}: {out.stat().st_size:,} bytes")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What to compile a model to."""

    bits: int
    coded: Fraction | None
    passes: Sequence[Call]
    exact: bool


def _compiled(
    recogniser: Recogniser,
    calibrate: Path | None,
    count: int,
    wanted: _Wanted,
    warn: Callable[[Diagnostic], None],
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The parts of an artefact, and the seconds that ranges and all the rest took.

    Raises UsageError where ranges are missing and there is no audio."""
    from ..runtime.calibration import graph_inputs
    from ..runtime.compiled import compiled, needs_audio

    if calibrate is None and needs_audio(recogniser, wanted.bits, wanted.passes):
        raise click.UsageError("a float model needs --calibrate: real audio gives the ranges")
    heard = [] if calibrate is None else _heard(recogniser, calibrate, count)
    calibrating = graph_inputs(recogniser.lowered, recogniser.vocabulary, heard, calibrate)
    inputs, place = _Timed(calibrating), "triton" if wanted.exact else "asrc"
    parts = compiled(recogniser, inputs, wanted.bits, place, wanted.coded, wanted.passes, warn)
    whole = perf_counter() - inputs.start
    return parts, {"calibration": inputs.seconds, "programs": whole - inputs.seconds}


@dataclass
class _Timed:
    """Inputs, and the seconds until whoever takes them has done with the last one."""

    inputs: Iterable[Mapping[str, Array]]
    start: float = field(default_factory=perf_counter)
    seconds: float = 0.0

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        yield from self.inputs
        self.seconds = perf_counter() - self.start


def _calls(passes: str | None) -> tuple[Call, ...]:
    from ..dsl.pipelines import parse_pass_text

    return () if passes is None else parse_pass_text(passes, "--passes")


def _check_folder(model: Path) -> None:
    """Raises AsrcError E0008 where a file, such as a model's text, stands for a trained model."""
    from ..compiler.diagnostics import AsrcError, diagnostic

    if model.is_file():
        message = f"`{model}` is a file; what is compiled is a folder with weights"
        text = model if model.suffix == ".asr" else "MODEL.asr"
        help = f"`asrc train {text} --train DATA.jsonl --out RUN` makes one, `RUN/best`"
        raise AsrcError(diagnostic("E0008", message, help=help))


def _check(
    target: str, bits: int | None, coded: float | None, exact: bool, passes: str | None
) -> None:
    """Raises UsageError for options that do not go together."""
    from ..compiler.facts.numbers import FEWEST_CODED

    if passes is not None and (bits is not None or coded is not None):
        raise click.UsageError("--passes says it all: `quantize(weights=4, coded=3)`, for example")
    if passes is not None and target == "triton" and not exact:
        raise click.UsageError("--passes is for integer programs")
    if exact and target != "triton":
        raise click.UsageError("--exact is for --target triton; the integers of nna are exact")
    if coded is not None and not FEWEST_CODED <= coded <= (bits or 8) < 8:
        raise click.UsageError("--coded is 0.5 or more and at most --weights, 1 to 7 bits then")
    if coded is not None and target == "triton" and not exact:
        raise click.UsageError("--coded is for integer programs: their weights are coded")


def _check_plain(machine: tuple[str, ...], calibrate: Path | None) -> None:
    """Raises UsageError for what kernels in float have no use for."""
    for option, given in (("--machine", machine), ("--calibrate", calibrate)):
        if given:
            raise click.UsageError(f"{option} is for integer programs: --target nna, or --exact")


def _width(
    model: Path,
    has: Sequence[tuple[int, Fraction | None]],
    bits: int | None,
    coded: float | None,
    calls: Sequence[Call],
) -> tuple[int, Fraction | None]:
    """Bits of weights and of the coded stream: those asked for, or that a training gave to all."""
    if bits is None:
        return has[0] if len(has) == 1 and not calls else (8, None)
    asked = bits, None if coded is None else Fraction(str(coded))
    _check_trained(model, has, asked)
    return asked


def _check_trained(
    model: Path,
    has: Sequence[tuple[int, Fraction | None]],
    asked: tuple[int, Fraction | None],
) -> None:
    """Raises UsageError where all weights were trained in bits, and others are asked for."""
    from ..passes.quantize import widths

    bits, coded = asked
    for index, stream in (asked, widths(bits, coded)):
        if all(n == index and stream in (None, limit) for n, limit in has):
            return
    trained = " and ".join(
        f"{n} bit{'s' * (n > 1)}" + (f" coded in {float(limit):g}" if limit else "")
        for n, limit in has
    )
    calls = f"quantize(weights={bits}{f', coded={float(coded):g}' if coded else ''})"
    raise click.UsageError(
        f"`{model}` was trained with weights of {trained}, which --weights does not change:"
        f' leave it out, or make others of them after the training with --passes "{calls}"'
    )


def _for_triton(model: Path, bits: int | None, precision: str, out: Path) -> None:
    from ..compiler.artefact import write_artefact
    from ..runtime.compiled import trained_bits
    from ..runtime.fast import compiled_fast
    from ..runtime.recogniser import read_recogniser

    recogniser = read_recogniser(model)
    if bits is not None:
        _check_trained(model, trained_bits(recogniser), (bits, None))
    parts = compiled_fast(recogniser, bits, precision)
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
    count = min(count, len(everything))
    chosen = [everything[i * len(everything) // count] for i in range(count)]
    return [(_read(cache, utterance, manifest), utterance.text) for utterance in chosen]


def _read(cache: AudioCache, utterance: Utterance, manifest: Path) -> Samples:
    """Raises AsrcError E1001, which says of what utterance the recording is."""
    from ..compiler.diagnostics import AsrcError

    try:
        return cache.read(utterance)
    except AsrcError as error:
        note = f"it is of the utterance `{utterance.id}` of `{manifest}`"
        told = (replace(each, notes=(*each.notes, note)) for each in error.diagnostics)
        raise AsrcError(*told) from None


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


def _compiling(estimates: Any) -> dict[str, float]:
    """Seconds of the accelerators' own compilers, by machine."""
    ours = {on for on, of in estimates.items() if all(e.by == "asrc" for e in of.values())}
    return {
        on: sum(e.compiling for e in of.values()) for on, of in estimates.items() if on not in ours
    }


def _show_times(spent: Mapping[str, Any]) -> None:
    steps = {"calibration": "calibration", "codebooks and programs": "programs"}
    rows = [(step, "asrc", f"{spent[name]:.1f}") for step, name in steps.items()]
    rows += [(on, "Vela", f"{seconds:.1f}") for on, seconds in spent["machines"].items()]
    show_table(("time", "by", "seconds"), rows, left=2)
