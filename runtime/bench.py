"""How fast models are on this machine: each piece of the work timed by itself, models in turns.

A step is what a stream does with the audio between two outputs of the encoder, its own bookkeeping
included; a label is a predictor step and a joint; `whole` is the encoder on whole utterances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..compiler.types import Stream, base_clock
from .models import read_model
from .recogniser import Recogniser
from .transducer import LoweredTransducer

if TYPE_CHECKING:
    from ..backends.nna.program import Program
    from .compiled import Compiled
    from .places import Runs

LEAST = 3
"""Turns that each model has, however long they take."""

Call = Callable[[], object]


@dataclass(frozen=True)
class Job:
    """`call` does `what`; it hears `audio` seconds of sound, of all streams together."""

    what: str
    call: Call
    audio: float = 0.0


@dataclass(frozen=True)
class Timed:
    """Seconds of each turn that `by` had at `what`."""

    what: str
    by: str
    audio: float
    times: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.times)

    @property
    def least(self) -> float:
        return min(self.times)

    @property
    def faster(self) -> float:
        """Seconds of sound in a second, by the median."""
        return self.audio / self.median

    def beside(self, other: Timed) -> float:
        """How many times as long this takes, for the same amount of sound."""
        return self.median / other.median * ((other.audio or 1.0) / (self.audio or 1.0))


def jobs(path: Path, streams: Sequence[int], seconds: float) -> dict[str, list[Job]]:
    """What there is to time of a model, by who does it. Raises what `read_model` raises."""
    model = read_model(path)
    if isinstance(model, Recogniser):
        return {str(path): list(_of_recogniser(model, streams, seconds))}
    from .compiled import Compiled

    assert isinstance(model, Compiled)
    return _of_integers(str(path), model)


def timed(found: Mapping[str, Sequence[Job]], seconds: float) -> Iterator[Timed]:
    """Each piece of work in the order of the first model, models in turns, for so many seconds."""
    for what in dict.fromkeys(job.what for work in found.values() for job in work):
        rivals = {by: job for by, work in found.items() for job in work if job.what == what}
        times = _turns({by: job.call for by, job in rivals.items()}, seconds)
        for by, job in rivals.items():
            yield Timed(what, by, job.audio, tuple(times[by]))


def _turns(calls: Mapping[str, Call], seconds: float) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {by: [] for by in calls}
    for call in calls.values():
        for _ in range(LEAST):
            call()  # what is made at first use is made
    begin = perf_counter()
    while min(map(len, times.values())) < LEAST or perf_counter() - begin < seconds:
        for by, call in calls.items():
            start = perf_counter()
            call()
            times[by].append(perf_counter() - start)
    return times


# --- float, in PyTorch or on kernels ------------------------------------------------------------


def _of_recogniser(model: Recogniser, streams: Sequence[int], seconds: float) -> Iterator[Job]:
    finished = _finished(model)
    for count in streams:
        yield _step(model, count, finished)
    for count in streams:
        yield _label(model, count, finished)
    for count in streams:
        yield _whole(model, count, seconds, finished)


def _finished(model: Recogniser) -> Callable[[Call], Call]:
    """A GPU is waited for."""
    on_gpu = model.lowered.like.device.type == "cuda"
    return _waited if on_gpu else lambda call: call


def _waited(call: Call) -> Call:
    def run() -> None:
        call()
        torch.cuda.synchronize()

    return run


def _step(model: Recogniser, count: int, finished: Callable[[Call], Call]) -> Job:
    session, samples = model.session(count), _samples(model)
    given = {model.roles.audio: _noise(model, count, samples)}
    audio = count * samples / model.rate
    return Job(f"step, {_streams(count)}", finished(lambda: session.push(given)), audio)


def _samples(model: Recogniser) -> int:
    """Between two outputs of the encoder."""
    step, facts = model.lowered.step(), model.facts
    (out,) = (out for out in step.outputs if out.name == model.roles.frames[0])
    path = next(p.path for p in model.lowered.parts["frames"].outputs if p.name == out.name)
    clock = base_clock(facts.types[path].clock)
    assert isinstance(clock, Stream)
    return int(clock.period * out.count * model.rate)


def _label(model: Recogniser, count: int, finished: Callable[[Call], Call]) -> Job:
    """On frames of silence."""
    decoder = LoweredTransducer(model.lowered)
    encoded = _encoder(model, torch.zeros_like(_noise(model, 1, model.rate)))()
    frames = {name: x[:, 0].repeat(count, *(1,) * (x.dim() - 2)) for name, x in encoded.items()}
    made, state = decoder.predictor_start(count)
    tokens = torch.zeros(count, dtype=torch.int64, device=made.device)

    @torch.no_grad()
    def call() -> None:
        labels, _ = decoder.predictor_step(tokens, state)
        decoder.joint(frames, labels)

    return Job(f"label, {_streams(count)}", finished(call))


def _whole(model: Recogniser, count: int, seconds: float, finished: Callable[[Call], Call]) -> Job:
    call = _encoder(model, _noise(model, count, round(seconds * model.rate)))
    return Job(f"whole, {count} x {seconds:g} s", finished(call), count * seconds)


def _encoder(model: Recogniser, audio: Tensor) -> Callable[[], dict[str, Tensor]]:
    """What the joint reads, of whole utterances."""
    lengths = torch.full((len(audio),), audio.shape[1], device=audio.device)
    name = model.roles.audio
    given = {name: audio, f"{name}_length": lengths}

    @torch.no_grad()
    def call() -> dict[str, Tensor]:
        parts = model.lowered.parts
        known = parts["static"](given) if "static" in parts else {}
        made = parts["frames"]({**given, **known})
        return {frames: made[frames] for frames in model.roles.frames}

    return call


def _noise(model: Recogniser, count: int, samples: int) -> Tensor:
    drawn = torch.randn(count, samples, model.channels, generator=torch.Generator().manual_seed(1))
    return 0.1 * drawn.to(model.lowered.like)


def _streams(count: int) -> str:
    return f"{count} stream{'s' * (count > 1)}"


# --- integers -------------------------------------------------------------------------------------


def _of_integers(name: str, model: Compiled) -> dict[str, list[Job]]:
    """A stream with its features where the artefact runs; then programs alone, there, in NumPy and
    on LiteRT."""
    from ..backends.nna.executor import Executor
    from ..backends.nna.litert import LiteRt
    from .places import PLACES, at

    running, place = model.run(), model.manifest.get("on", PLACES[0])
    encoder = model.programs["encoder"]
    (output,) = encoder.made
    audio = float(Fraction(model.manifest["periods"][output]) * encoder.count[output])
    sound = torch.randn(1, round(audio * model.rate), model.channels)
    given = {running.audio: 0.1 * sound}
    stream = Job(f"step, {_streams(1)}", lambda: running.steps.push(given), audio)
    ways: dict[str, Callable[[Program], Runs]] = {
        name: partial(at, place),
        **({} if place == PLACES[0] else {f"{name}, in NumPy": Executor}),
        f"{name}, LiteRT's reference kernels": LiteRt,
        f"{name}, LiteRT's fast kernels": lambda program: LiteRt(program, fast=True),
    }
    found = {by: list(_programs(model, make, audio)) for by, make in ways.items()}
    found[name].insert(0, stream)
    return found


def _programs(model: Compiled, make: Callable[[Program], Runs], audio: float) -> Iterator[Job]:
    from ..backends.nna.golden import random_inputs

    for part, lowered in model.programs.items():
        given = random_inputs(lowered, np.random.default_rng(1))
        call = partial(make(lowered.program).step, given)
        yield Job(f"{part} program", call, audio if part == "encoder" else 0.0)
