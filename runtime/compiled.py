"""A recogniser compiled for an accelerator: what the artefact holds, made and read again.

    manifest.json            rates, look-ahead, inputs, outputs and states of programs, who computes
                             what and why, how it was compiled, by which asrc, the card
    model.asrir, vocabulary  the whole graph, and what its labels spell
    front.asrir, front.safetensors  what the host makes of audio
    table.safetensors        rows of the embedding, as codes
    numbers.safetensors      ranges of values, scales and codebooks of weights

and for each of encoder, predictor and joint:

    <program>.json, <program>.safetensors  structure and constants
    <program>.tflite                       the same for LiteRT
    <program>.golden.safetensors           what it gives on inputs that are there, too
    <machine>/<program>.tflite             what the accelerator's own compiler made of it

`estimates.json` has that compiler's estimates, or ours; the manifest then says what the machines
are, and what they were optimised for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ..backends.nna.calibrate import calibrated, missing
from ..backends.nna.estimate import estimated
from ..backends.nna.golden import recorded
from ..backends.nna.lower import Lowered as Steady
from ..backends.nna.machine import Estimate, Machine, Plain, Vela, description, settled, vela
from ..backends.nna.program import Array, Program
from ..backends.nna.saved import packed, restored, saved
from ..backends.nna.tflite import tflite
from ..backends.nna.transducer import Ends, Programs, compile_transducer, front_end
from ..backends.torch.lowered import Lowered
from ..backends.torch.weights import load_weights
from ..compiler.artefact import read_artefact
from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ..compiler.facts import Facts
from ..compiler.facts.numbers import WEIGHTED, is_range
from ..compiler.graph import Attr, Graph
from ..compiler.irread import parse_graph
from ..compiler.irtext import print_graph
from ..compiler.manager import run_pipeline
from ..compiler.protocol import Weights
from ..compiler.spec import Call
from ..compiler.types import Stream, base_clock
from ..passes.dce import Dce
from ..passes.fold_norm import FoldNorm
from ..passes.quantize import Quantize, as_noted
from ..passes.substitute import Substitute
from .contents import (
    KIND,
    NAMES,
    arrays_of,
    checked,
    damaged,
    estimates_of,
    part_of,
    reading,
)
from .decode import Clock
from .fitting import Parts, strays
from .integer import IntegerSteps, IntegerTransducer, Pace
from .places import PLACES, at
from .recogniser import Recogniser
from .running import Running
from .transducer import clock_of, no_transducer
from .vocabulary import Vocabulary, parse_vocabulary

Warn = Callable[[Diagnostic], None]


@dataclass(frozen=True)
class Compiled:
    """An artefact, read and ready; see `Recognises`. `manifest` is its `manifest.json`;
    `estimates` are those of compilers, by machine and program."""

    manifest: Mapping[str, Any]
    vocabulary: Vocabulary
    front: Lowered
    programs: Mapping[str, Steady]
    table: Array
    estimates: Mapping[str, Mapping[str, Estimate]]

    @property
    def rate(self) -> int:
        return int(self.manifest["rate"])

    @property
    def channels(self) -> int:
        return int(self.manifest["channels"])

    def run(self) -> Running:
        """One stream in integers. Raises AsrcError E1206 where they are for kernels that cannot run
        here."""
        encoder, predictor, joint = (self.programs[name] for name in NAMES)
        said = self.manifest
        periods = {name: Fraction(text) for name, text in said["periods"].items()}
        features, output = said["features"], next(iter(encoder.made))
        pace = Pace(periods[features], {f: periods[f] for f in encoder.flags}, periods[output])
        make = partial(at, said.get("on", PLACES[0]))
        steps = IntegerSteps(self.front, encoder, features, pace, make)
        model = IntegerTransducer(predictor, joint, said["row"], self.table, make)
        clock = Clock(periods[output], Fraction(said["lookahead"]))
        return Running(steps, model, said["audio"], (output,), clock)


def compiled(
    recogniser: Recogniser,
    utterances: Iterable[Mapping[str, Array]],
    bits: int = 8,
    on: str = PLACES[0],
    coded: Fraction | None = None,
    passes: Sequence[Call] = (),
    warn: Warn | None = None,
) -> dict[str, bytes]:
    """The parts of an artefact, whose programs run at one of `places.PLACES`.

    A float model is quantised first, its batch norms folded: weights of `bits`, `coded` in so many,
    ranges from utterances (inputs of the graph by path). One that was trained in integers is what
    it is, and what `passes` say counts before either. Raises AsrcError E0701 for what no side
    computes, E1008 for what is no plain transducer, and what the passes raise; `warn` is told of
    norms that the utterances make too coarse (W0602).
    """
    facts, weights = quantised_model(recogniser, utterances, bits, coded, passes, warn)
    programs = compile_transducer(facts, ends_of(recogniser), weights)
    graph = front_end(facts.graph, programs.features)
    front, kept = Dce().run(graph, weights)
    assert kept is not None
    parts = {
        "model.asrir": print_graph(facts.graph, facts.types).encode(),
        "vocabulary": recogniser.vocabulary.data(),
        "front.asrir": print_graph(front, Facts(front).types).encode(),
        "front.safetensors": packed(kept),
        "table.safetensors": packed({"rows": programs.table}),
        "numbers.safetensors": packed({n: weights[n] for n in missing(facts, {})}),
        "manifest.json": _json(
            _manifest(recogniser, facts, programs)
            | {"bits": bits, "options": _options(bits, coded, passes), "on": on}
        ),
    }
    for name in NAMES:
        lowered: Steady = getattr(programs, name)
        parts |= saved(lowered, name)
        parts[f"{name}.golden.safetensors"] = packed(recorded(lowered))
        parts[f"{name}.tflite"] = tflite(lowered.program)
    return parts


def quantised_model(
    recogniser: Recogniser,
    utterances: Iterable[Mapping[str, Array]],
    bits: int,
    coded: Fraction | None = None,
    passes: Sequence[Call] = (),
    warn: Warn | None = None,
) -> tuple[Facts, dict[str, Array]]:
    """The graph as the accelerator has it, its weights with ranges, scales and codebooks."""
    facts, weights = _narrow(recogniser, bits, coded, passes)
    return facts, {**calibrated(facts, weights, utterances, warn), **weights}


def needs_audio(recogniser: Recogniser, bits: int, passes: Sequence[Call] = ()) -> bool:
    """Whether any range has yet to be taken; one that was trained in integers has all."""
    return any(is_range(name) for name in missing(*_narrow(recogniser, bits, passes=passes)))


def with_numbers(
    recogniser: Recogniser, bits: int, numbers: Mapping[str, Array], graph: Graph | None = None
) -> Lowered:
    """A trained model as it is in training with integers, with an artefact's ranges and scales.

    `graph` is the artefact's, which counts before `bits`: it has what its passes noted. Raises
    AsrcError E1006 where the artefact is of another model.
    """
    facts, weights = _narrow(recogniser, bits)
    if graph is not None:
        facts, weights = Facts(graph), _unwidened(weights, facts.graph, graph)
    whole = {name: torch.from_numpy(np.array(x)) for name, x in {**weights, **numbers}.items()}
    found = Lowered(facts)
    try:
        load_weights(found, whole, "the artefact's numbers")
    except AsrcError as error:
        raise _another_model(error) from None
    return found.eval()


def _another_model(error: AsrcError) -> AsrcError:
    message = f"the artefact was compiled from another model: {error.diagnostics[0].message}"
    help = "give the folder that `asrc compile` was given, such as RUN/best"
    return AsrcError(diagnostic("E1006", message, help=help))


def _narrow(
    recogniser: Recogniser,
    bits: int,
    coded: Fraction | None = None,
    passes: Sequence[Call] = (),
) -> tuple[Facts, Weights]:
    """The graph as the accelerator has it; what passes have noted, in training or now, stays so."""
    graph, weights = recogniser.facts.graph, _weights(recogniser.lowered)
    folded: Weights | None = weights
    for each in (FoldNorm("batchnorm"), Substitute()):
        graph, folded = each.run(graph, folded)
    assert folded is not None
    graph, folded = _passed(graph, folded, passes) if passes else (graph, folded)
    whole, _ = Quantize(weights=bits, coded=coded).run(graph, None)
    noted = whole.rewrite(as_noted(node, graph[node.path]) for node in whole)
    return Facts(noted), folded


def trained_bits(recogniser: Recogniser) -> list[tuple[int, Fraction | None]]:
    """What a training gave to all weights, bits and those of the coded stream, without repeats;
    nothing where some have yet to be quantised, such as norms that become filters only now."""
    graph = recogniser.facts.graph
    if not any("weights" in node.attrs for node in graph):
        return []
    for each in (FoldNorm("batchnorm"), Substitute()):
        graph, _ = each.run(graph, None)
    every = [node.attrs for node in graph if node.op in WEIGHTED]
    if not all("weights" in attrs for attrs in every):
        return []
    bits = (cast("int", attrs["weights"]) for attrs in every)
    limits = (cast("Fraction | None", attrs.get("coded")) for attrs in every)
    return list(dict.fromkeys(zip(bits, limits, strict=True)))


def _passed(graph: Graph, weights: Weights, passes: Sequence[Call]) -> tuple[Graph, Weights]:
    """After the passes, without scales and codebooks of weights that these made others of."""
    found = run_pipeline(graph, passes, weights=weights)
    assert found.weights is not None
    return found.graph, _unwidened(found.weights, graph, found.graph)


def _unwidened(weights: Weights, before: Graph, after: Graph) -> Weights:
    """Without the scales and codebooks of weights whose notes differ in the two graphs."""
    was = {node.path: _width(node.attrs) for node in before}
    others = [node.path for node in after if _width(node.attrs) != was.get(node.path)]
    stale = {f"{path}.{name}" for path in others for name in ("scale", "codebook")}
    return {name: x for name, x in weights.items() if name not in stale}


def _width(attrs: Mapping[str, Attr]) -> tuple[Attr, ...]:
    return attrs.get("weights"), attrs.get("coded"), attrs.get("per", "row")


def for_machines(parts: Mapping[str, bytes], machines: Sequence[Machine]) -> dict[str, bytes]:
    """The parts, and programs compiled for accelerators by their own compiler, with its estimates;
    for an accelerator that has none, our estimates.

    They are `<machine>/<program>.tflite` and `estimates.json`; `machines` of the manifest says what
    each is. Raises AsrcError E0704 where its compiler does not take a program or its memory is too
    small.
    """
    if not machines:
        return dict(parts)
    found, steps = dict(parts), {name: restored(parts, name).program for name in NAMES}
    machines = [settled(on, steps.values()) for on in machines]
    estimates: dict[str, dict[str, Any]] = {on.name: {} for on in machines}
    for on, name in product(machines, NAMES):
        if isinstance(on.how, Plain):
            estimate = estimated(steps[name], on)
        else:
            found[f"{on.name}/{name}.tflite"], estimate = vela(parts[f"{name}.tflite"], on)
        estimates[on.name][name] = asdict(estimate)
    said = {on.name: {**description(on), "by": _by(on)} for on in machines}
    manifest = {**json.loads(parts["manifest.json"]), "machines": said}
    return {**found, "estimates.json": _json(estimates), "manifest.json": _json(manifest)}


def _by(on: Machine) -> str:
    """Whose the estimates are, and of which version."""
    package, name = ("ethos-u-vela", "Vela") if isinstance(on.how, Vela) else ("asrc", "asrc")
    return f"{name} {_version(package)}".rstrip()


def _version(package: str) -> str:
    """Nothing where it is not installed: a bare checkout has none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _json(plain: Mapping[str, Any]) -> bytes:
    return (json.dumps(plain, indent=1) + "\n").encode()


def _weights(lowered: Lowered) -> dict[str, Array]:
    return {name: x.detach().float().cpu().numpy() for name, x in lowered.tensors().items()}


def ends_of(recogniser: Recogniser) -> Ends:
    """What its joint reads, and its head. Raises AsrcError E1008 for no plain transducer."""
    roles, lowered = recogniser.roles, recogniser.lowered
    ports = [port for part in lowered.parts.values() for port in part.outputs]
    paths = {port.name: port.path for port in ports}
    if len(roles.frames) != 1 or len(roles.heads) != 1:
        raise no_transducer(lowered.facts.graph, "its joint reads several values, or has two heads")
    return Ends(paths[roles.frames[0]], paths[roles.labels], paths[roles.heads[0]])


def paces(facts: Facts, programs: Programs) -> Pace:
    """How far apart frames of the encoder's inputs and outputs are."""
    encoder = programs.encoder
    (output,) = encoder.made
    flags = {name: _period(facts, flag.path) for name, flag in encoder.flags.items()}
    return Pace(_period(facts, programs.features), flags, _period(facts, output))


def _manifest(recogniser: Recogniser, facts: Facts, programs: Programs) -> dict[str, Any]:
    encoder = programs.encoder
    (output,) = encoder.made
    values = {programs.features: programs.features, output: output}
    values |= {name: flag.path for name, flag in encoder.flags.items()}
    return {
        "kind": KIND,
        "audio": recogniser.roles.audio,
        "rate": recogniser.rate,
        "channels": recogniser.channels,
        "features": programs.features,
        "row": programs.row,
        "periods": {name: str(_period(facts, path)) for name, path in values.items()},
        "lookahead": str(clock_of(facts, output).lookahead),
        "host": {**programs.placement.host, **_beside(programs)},
        "programs": {name: _ends(getattr(programs, name).program) for name in NAMES},
        "states": {name: _states(getattr(programs, name).program) for name in NAMES},
        "asrc": _version("asrc"),
        "card": dict(recogniser.card),
    }


def _beside(programs: Programs) -> dict[str, str]:
    """What the host computes that is no value of the graph, and why."""
    tensor = programs.encoder.program.tensors[programs.features]
    quantiser = f"{programs.features} to {tensor.dtype}"
    return {quantiser: "features are float, and the encoder reads codes", **_DECODING}


_DECODING = {
    "arg-max": "it chooses a label, which says what runs next",
    "beam search": "it keeps and compares sentences, more or fewer at every frame",
}


def _options(bits: int, coded: Fraction | None, passes: Sequence[Call]) -> dict[str, Any]:
    """What was asked for: bits of weights that no pass, in training or now, gave others to."""
    called = ", ".join(map(str, passes))
    return {"weights": bits, "coded": None if coded is None else str(coded), "passes": called}


def _ends(program: Program) -> dict[str, Any]:
    """Inputs and outputs in their order, states among them."""
    both = {"inputs": program.inputs, "outputs": program.outputs}
    return {end: _formats(program, names) for end, names in both.items()}


def _states(program: Program) -> dict[str, dict[str, Any]]:
    """What is carried from step to step, and the output that is its next value."""
    found = _formats(program, program.states)
    return {name: {**plain, "next": program.states[name]} for name, plain in found.items()}


def _formats(program: Program, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A code stands for `scale * (code - zero)`."""
    tensors = (program.tensors[name] for name in names)
    return {
        t.name: {"shape": t.shape, "dtype": t.dtype, "scale": t.scale, "zero": t.zero}
        for t in tensors
    }


def _period(facts: Facts, path: str) -> Fraction:
    clock = base_clock(facts.types[path].clock)
    assert isinstance(clock, Stream)
    return clock.period


def read_compiled(path: Path, parts: Mapping[str, bytes] | None = None) -> Compiled:
    """An artefact, or its `parts` where they have been read.

    Raises AsrcError E0008 where it cannot be read, E1201 where a byte is wrong, or a part is
    missing, of another kind or of another model, E1202 where it is of another version."""
    parts = read_artefact(path) if parts is None else parts
    manifest = checked(path, parts)
    front = _front(path, parts)
    programs = {name: restored(parts, name) for name in NAMES}
    table = arrays_of(path, parts, "table.safetensors").get("rows")
    if table is None:
        raise damaged(path, "`table.safetensors` has no `rows`")
    with reading(path, "vocabulary"):
        vocabulary = parse_vocabulary(parts["vocabulary"], "vocabulary")
    for problem in strays(Parts(manifest, front, programs, table, vocabulary.size)):
        raise damaged(path, problem)
    return Compiled(manifest, vocabulary, front, programs, table, _estimates(path, parts))


def graph_of(path: Path, parts: Mapping[str, bytes], name: str = "model.asrir") -> Graph:
    """A graph of an artefact. Raises AsrcError E1201 where it is none."""
    with reading(path, name):
        return parse_graph(part_of(path, parts, name).decode(), name)


def _front(path: Path, parts: Mapping[str, bytes]) -> Lowered:
    """What the host makes of audio, with its weights."""
    graph = graph_of(path, parts, "front.asrir")
    arrays = arrays_of(path, parts, "front.safetensors")
    with reading(path, "front.safetensors"):
        front = Lowered(Facts(graph))
        weights = {name: torch.from_numpy(x) for name, x in arrays.items()}
        load_weights(front, weights, "front.safetensors")
    return front.eval()


def _estimates(path: Path, parts: Mapping[str, bytes]) -> dict[str, dict[str, Estimate]]:
    found = estimates_of(path, parts)
    with reading(path, "estimates.json"):
        return {on: {n: Estimate(**plain) for n, plain in of.items()} for on, of in found.items()}
