"""Where a model as it was trained, its programs here and on LiteRT, and the float model part.

All of them hear the same quantised features. The programs are compared code by code, each operator
of each step; the training-time graph value by value; the float model by the ratio of signal to
error, for it differs everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load

from ..backends.nna.executor import Executor
from ..backends.nna.litert import LiteRt
from ..backends.nna.lowering import Timeline, scheduled
from ..backends.nna.program import Array, quantised
from ..backends.nna.rows import ROWS
from ..backends.torch.lowered import Lowered
from ..backends.torch.ports import value_name
from ..backends.torch.streams import Block
from ..backends.torch.weights import load_weights
from ..compiler.artefact import read_artefact
from ..compiler.facts import Facts
from ..compiler.facts.reads import timeline
from .compiled import Compiled, read_compiled, with_numbers
from .integer import IntegerSteps
from .recogniser import Recogniser
from .samples import Samples

Values = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class First:
    """The first value that differs, in the order in which they are computed: in which of its frames
    or of the program's steps, and in how many codes."""

    value: str
    unit: str
    at: int
    codes: int


@dataclass(frozen=True, slots=True)
class Difference:
    """`litert` and `training` are `None` where no code differs; `compared` codes of each; `snr`
    of each value against the float model, in dB, in the order in which they are computed."""

    steps: int
    compared: Mapping[str, int]
    litert: First | None
    training: First | None
    snr: Mapping[str, float]


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


class _Beside(Executor):
    """Keeps what every operator made in every step, and LiteRT's first other code."""

    def __init__(self, compiled: Compiled, file: bytes) -> None:
        super().__init__(compiled.programs["encoder"].program)
        self.other = LiteRt(self.program, file)
        self.steps: list[dict[str, Array]] = []
        self.compared, self.first = 0, None

    first: First | None

    def step(self, inputs: Values) -> dict[str, Array]:
        self.other.states = dict(self.states)
        made, _ = super().step(inputs), self.other.step(inputs)
        for op in self.program.ops:
            ours, theirs = self.values[op.output], self.other.value(op.output)
            self.compared += ours.size
            if self.first is None and not np.array_equal(ours, theirs):
                self.first = First(op.output, "step", len(self.steps), int((ours != theirs).sum()))
        self.steps.append(self.values)
        return made


def differences(
    path: Path, samples: Samples, recogniser: Recogniser | None, floats: Recogniser | None
) -> Difference:
    """Of the encoder on some audio, `[samples]` at the model's rate.

    `recogniser` is what was compiled, to compare with it in training; `floats` the float model,
    which may be the same. Raises what `read_compiled` and `with_numbers` raise.
    """
    parts, compiled = read_artefact(path), read_compiled(path)
    numbers = load(parts["numbers.safetensors"])
    trained: Lowered | None = None
    values: Values = {}
    if recogniser is not None:
        trained = with_numbers(recogniser, int(compiled.manifest["bits"]), numbers)
        values = _values(trained, samples, recogniser)
    features = values.get(compiled.manifest["features"])
    beside = _stepped(compiled, parts["encoder.tflite"], samples, features)
    found, compared = None, {"LiteRT": beside.compared}
    if trained is not None:
        found, compared["training"] = _first(trained.facts, compiled, beside, values)
    snr = {}
    if trained is not None and floats is not None:
        snr = _ratios(trained.facts, values, _values(floats.lowered, samples, floats))
    return Difference(len(beside.steps), compared, beside.first, found, snr)


def _stepped(compiled: Compiled, file: bytes, samples: Samples, features: Array | None) -> _Beside:
    """The programs on features, or on those that the host's part makes of the samples."""
    running = compiled.run().steps
    assert isinstance(running, IntegerSteps)
    running.program = beside = _Beside(compiled, file)
    if features is not None:
        running.session = Given(features)  # type: ignore[assignment]
    running.push({compiled.manifest["audio"]: torch.from_numpy(samples).view(1, -1, 1)})
    running.finish()
    return beside


@torch.no_grad()
def _values(lowered: Lowered, samples: Samples, recogniser: Recogniser) -> dict[str, Array]:
    """Every value of the encoder on the whole utterance, `[frames, *dims]`, by path."""
    facts = lowered.facts
    graph, roles = facts.graph, recogniser.roles
    encoder = graph.ancestors([_path(lowered, roles.frames[0])])
    shown = [
        p
        for p in graph.order
        if p in encoder and graph[p].op in {*ROWS, "cmvn"} and timeline(facts.types[p]) is not None
    ]
    outputs = {**graph.outputs, **{f"value.{n}": p for n, p in enumerate(shown)}}
    open_ = Lowered(Facts(replace(graph, outputs=outputs)))
    load_weights(open_, lowered.tensors())
    given = {
        roles.audio: torch.from_numpy(samples)[None, :, None],
        roles.previous: torch.zeros(1, 1, dtype=torch.int64),
    }
    made = open_.eval()(given)
    return {p: made[value_name(open_.facts.graph, p)][0].numpy() for p in shown}


def _path(lowered: Lowered, name: str) -> str:
    ports = (port for part in lowered.parts.values() for port in part.outputs)
    return next(port.path for port in ports if port.name == name)


def _first(
    facts: Facts, compiled: Compiled, beside: _Beside, values: Values
) -> tuple[First | None, int]:
    """The first code that training has otherwise; how many were compared."""
    timing, compared = scheduled(facts, facts.schedule, True), 0
    for path, whole in values.items():
        tensor = beside.program.tensors.get(path)
        if tensor is None or path in compiled.programs["encoder"].program.inputs:
            continue
        for frame, ours in _rows(timing, beside, path):
            if 0 <= frame < len(whole):
                theirs = quantised(_as_stored(whole[frame]), tensor)
                compared += theirs.size
                if not np.array_equal(ours, theirs):
                    return First(path, "frame", frame, int((ours != theirs).sum())), compared
    return None, compared


def _rows(timing: Timeline, beside: _Beside, path: str) -> Iterator[tuple[int, Array]]:
    """A value's frames, and what each was in its step."""
    for step, values in enumerate(beside.steps):
        frames = timing.frames[path]
        if values[path].shape[1] == len(frames):
            for place, frame in enumerate(frames):
                yield frame + step * timing.count[path], values[path][0, place]


def _as_stored(frame: Array) -> Array:
    """`[bands, channels]`."""
    return frame.T if frame.ndim == 2 else frame[None]


def _ratios(facts: Facts, values: Values, floats: Values) -> dict[str, float]:
    """Signal to error in dB, of what both have."""
    found = {}
    for path, ours in values.items():
        if path in floats and floats[path].shape == ours.shape and len(ours):
            error = np.square(ours - floats[path]).sum()
            power = np.square(floats[path]).sum()
            found[path] = float(10 * np.log10(max(power, 1e-30) / max(error, 1e-30)))
    return found
