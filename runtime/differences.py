"""Where a model as it was trained, its programs here and on LiteRT, and the float model part.

All of them hear the same quantised features; predictor and joint get the labels that the integer
programs hear, found greedily. The programs are compared code by code, each operator of each step;
the training-time graph value by value, its joint on the codes of the other two programs; the float
model by the ratio of signal to error, for it differs everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..backends.nna.lowering import Timeline, at_once, scheduled
from ..backends.nna.program import Array, quantised, real
from ..backends.torch.streams import Block
from ..compiler.artefact import read_artefact
from ..compiler.facts import Facts
from ..compiler.graph import Graph
from .beside import Beside, First, Saturated
from .compiled import Compiled, graph_of, read_compiled, with_numbers
from .contents import NAMES, arrays_of
from .decode import GreedyDecoder, Token
from .integer import IntegerSteps
from .opened import Opened, Values, bounds, folded, rectified
from .places import PLACES
from .recogniser import Recogniser
from .samples import Samples

ENOUGH = 20.0
"""dB against the float model below which a value is called noisy: its error is a tenth of it."""

Pairs = Sequence[tuple[int, int]]
"""Frames and how many labels came before, in the order in which greedy decoding asks the joint."""


@dataclass(frozen=True, slots=True)
class OfProgram:
    """Of one program: `compared` codes of each other way, `litert` and `training` are `None` where
    no code differs; tensors whose codes saturate."""

    steps: int
    compared: Mapping[str, int]
    litert: First | None
    training: First | None
    saturated: Mapping[str, Saturated]


@dataclass(frozen=True, slots=True)
class Difference:
    """By program; the `labels` that were heard; `snr` of each value against the float model, in dB,
    in the order in which they are computed."""

    programs: Mapping[str, OfProgram]
    labels: tuple[int, ...]
    snr: Mapping[str, float]

    @property
    def litert(self) -> First | None:
        return next((one.litert for one in self.programs.values() if one.litert), None)

    @property
    def training(self) -> First | None:
        return next((one.training for one in self.programs.values() if one.training), None)

    @property
    def noisy(self) -> str | None:
        """The first value that has less than `ENOUGH`."""
        return next((path for path, db in self.snr.items() if db < ENOUGH), None)


class Given:
    """In the place of a session that makes features: they are there already."""

    def __init__(self, rows: Array) -> None:
        self.rows = torch.from_numpy(rows)[None]

    def restart(self) -> None:
        """There is nothing to begin anew."""

    def push(self, feeds: Mapping[str, torch.Tensor]) -> dict[str, Block]:
        """All features at once."""
        count = self.rows.shape[1]
        return {"": Block(self.rows, torch.ones(1, count, dtype=torch.bool), torch.tensor([0]))}

    def finish(self) -> dict[str, Block]:
        """No more of them."""
        return {"": Block(self.rows[:, :0], torch.ones(1, 0, dtype=torch.bool), torch.tensor([0]))}


@dataclass(frozen=True)
class _Heard:
    """What the programs made of a recording: each beside LiteRT, codes of frames and of what the
    predictor said after each label, `[..., D]`."""

    programs: Mapping[str, Beside]
    labels: tuple[int, ...]
    pairs: Pairs
    frames: Array
    said: Array

    @property
    def places(self) -> Array:
        """Of each pair the frame, and the label; none where no frame was heard."""
        return np.array(self.pairs, np.intp).reshape(-1, 2).T

    def met(self) -> Values:
        """What the joint was given, as real values, by path."""
        program = self.programs["joint"].program
        frame, label = (program.tensors[name] for name in program.inputs)
        first, second = self.places
        given = {frame: self.frames[first], label: self.said[second]}
        return {tensor.name: real(codes, tensor) for tensor, codes in given.items()}


def differences(
    path: Path, samples: Samples, recogniser: Recogniser | None, floats: Recogniser | None
) -> Difference:
    """On some audio, `[samples]` at the model's rate.

    `recogniser` is what was compiled, to compare with it in training; `floats` the float model,
    which may be the same. Raises what `read_compiled` and `with_numbers` raise.
    """
    parts = read_artefact(path)
    compiled, graph = read_compiled(path, parts), graph_of(path, parts)
    numbers = arrays_of(path, parts, "numbers.safetensors")
    if recogniser is None:
        heard = _run(compiled, parts, graph, samples, None)
        return Difference(_plain(heard), heard.labels, {})
    trained = Opened(with_numbers(recogniser, int(compiled.manifest["bits"]), numbers, graph))
    values = trained.heard(samples)
    heard = _run(compiled, parts, graph, samples, values[compiled.manifest["features"]])
    values |= trained.said((0, *heard.labels)) | trained.met(heard.met())
    found = _plain(heard)
    for name, timing in _timings(trained.facts, values).items():
        first, count = _first(timing, heard.programs[name], values)
        both = {**found[name].compared, "training": count}
        first = _located(name, first, heard.pairs)
        found[name] = replace(found[name], compared=both, training=first)
    if floats is None:
        return Difference(found, heard.labels, {})
    others = _floats(Opened(folded(floats.lowered)), samples, heard)
    return Difference(found, heard.labels, ratios(values, others, bounds(graph)))


# --- the programs ---


def _run(
    compiled: Compiled,
    parts: Mapping[str, bytes],
    graph: Graph,
    samples: Samples,
    features: Array | None,
) -> _Heard:
    """The programs on features, or on those that the host's part makes of the samples."""
    here = replace(compiled, manifest={**compiled.manifest, "on": PLACES[0]}).run()
    clipped = rectified(graph)
    programs = {
        name: Beside(compiled.programs[name].program, parts[f"{name}.tflite"], clipped)
        for name in NAMES
    }
    assert isinstance(here.steps, IntegerSteps)
    here.steps.program = programs["encoder"]
    if features is not None:
        here.steps.session = Given(features)  # type: ignore[assignment]
    audio = {here.audio: torch.from_numpy(samples).view(1, -1, 1)}
    blocks = [*here.steps.push(audio).values(), *here.steps.finish().values()]
    frames = torch.cat([block.data for block in blocks], 1)
    decoder = GreedyDecoder(here.model)
    decoder.feed(frames)
    (best,) = decoder.hypotheses()
    pairs = pairs_of(best.tokens, frames.shape[1])
    said = _said(compiled, programs["predictor"], (0, *best.ids))
    _meet(programs["joint"], frames[0].numpy(), said, pairs)
    return _Heard(programs, best.ids, pairs, frames[0].numpy(), said)


def pairs_of(tokens: Sequence[Token], frames: int) -> Pairs:
    """Where greedy decoding goes: on to the next frame, or at a label to the next label."""
    found, labels = [], 0
    for frame in range(frames):
        here = sum(token.frame == frame for token in tokens)
        found += [(frame, labels + n) for n in range(here + 1)]
        labels += here
    return found


def _said(compiled: Compiled, predictor: Beside, labels: Sequence[int]) -> Array:
    (made,) = compiled.programs["predictor"].made.values()
    row, found = compiled.manifest["row"], []
    for label in labels:
        codes = compiled.table[label][None, None, None]
        found.append(predictor.step({row: codes})[made].ravel())
    return np.stack(found)


def _meet(joint: Beside, frames: Array, said: Array, pairs: Pairs) -> None:
    first, second = joint.program.inputs
    for frame, label in pairs:
        joint.step({first: frames[frame][None, None, None], second: said[label][None, None, None]})


def _plain(heard: _Heard) -> dict[str, OfProgram]:
    """Against LiteRT alone."""
    found = {}
    for name, one in heard.programs.items():
        first = _located(name, one.first, heard.pairs)
        compared = {"LiteRT": one.compared}
        found[name] = OfProgram(len(one.steps), compared, first, None, one.saturation())
    return found


def _located(name: str, first: First | None, pairs: Pairs) -> First | None:
    """A step of the predictor is a label, one of the joint a frame and a label."""
    if first is None or name == "encoder":
        return first
    if name == "predictor":
        return replace(first, unit="label")
    frame, label = pairs[first.at]
    return replace(first, unit="frame", at=frame, label=label)


# --- against training ---


def _timings(facts: Facts, values: Values) -> dict[str, Timeline]:
    """Which of a value's frames a step of each program makes."""
    return {
        "encoder": scheduled(facts, facts.schedule, True),
        "predictor": scheduled(facts, facts.label_schedule),
        "joint": at_once(values),
    }


def _first(timing: Timeline, beside: Beside, values: Values) -> tuple[First | None, int]:
    """The first code that training has otherwise; how many were compared."""
    program, compared = beside.program, 0
    made = {op.output for op in program.ops}
    for path in (path for path in values if path in made):
        whole, tensor = values[path], program.tensors[path]
        for frame, ours in _rows(timing, beside, path):
            if 0 <= frame < len(whole):
                theirs = quantised(_as_stored(whole[frame]), tensor)
                compared += theirs.size
                if not np.array_equal(ours, theirs):
                    return First(path, "frame", frame, int((ours != theirs).sum())), compared
    return None, compared


def _rows(timing: Timeline, beside: Beside, path: str) -> Iterator[tuple[int, Array]]:
    """A value's frames, and what each was in its step."""
    frames, count = timing.frames[path], timing.count[path]
    for step, values in enumerate(beside.steps):
        if values[path].shape[1] == len(frames):
            for place, frame in enumerate(frames):
                yield frame + step * count, values[path][0, place]


def _as_stored(frame: Array) -> Array:
    """`[bands, channels]`."""
    return frame.T if frame.ndim == 2 else frame[None]


# --- against float ---


def _floats(model: Opened, samples: Samples, heard: _Heard) -> dict[str, Array]:
    """The float model on the same audio and labels."""
    values = model.heard(samples) | model.said((0, *heard.labels))
    places = dict(zip(heard.met(), heard.places, strict=True))
    if len(values.get(next(iter(places)), ())) != len(heard.frames):
        return values  # its frames are others
    return values | model.met({path: values[path][at] for path, at in places.items()})


def ratios(
    values: Values, floats: Values, limits: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    """Signal to error in dB of what both have, where there is a signal; of values with limits, what
    lies within."""
    found = {}
    for path in (p for p in values if p in floats and floats[p].shape == values[p].shape):
        low, high = limits.get(path, (-np.inf, np.inf))
        ours, theirs = (np.clip(x[path], low, high) for x in (values, floats))
        error, power = np.square(ours - theirs).sum(), np.square(theirs).sum()
        if power > 0:
            found[path] = float(10 * np.log10(power / max(error, 1e-30)))
    return found
