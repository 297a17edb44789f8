"""Whole encoders that `benchmarks/gpu.py` measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import asrc
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered, lower
from asrc.backends.torch.streams import Streams
from asrc.backends.triton.lowering import to_triton
from asrc.benchmarks.gpu_parts.measuring import Bench, Call, Case, Launched, Rows

MODELS = Path(__file__).parents[2] / "models"
RATE = 16_000


def lowered(bench: Bench, file: str, pipeline: str | None) -> Lowered:
    small = "small/" if bench.smoke else ""
    model = asrc.load(str(MODELS / f"{small}{file}.asr"))
    facts = model.results[pipeline].facts if pipeline else model.facts
    assert facts is not None
    made = lower(facts)
    initialise(made, seed=1)
    return made.eval().to(bench.device)


def model_rows(file: str, pipeline: str | None, bench: Bench) -> Rows:
    """Offline, then steps; then the same beside compiled ones, which may take all the time."""
    plain = lowered(bench, file, pipeline)
    sides = to_triton(plain), plain
    batch, seconds = (1, 0.3) if bench.smoke else (16, 15.0)
    for compiled in (False, True):
        beside = ", compiled" if compiled else ""
        yield (
            f"{file} offline, {batch} x {seconds:g} s{beside}",
            partial(whole, bench, sides, batch, seconds, compiled),
        )
        for streams in (1,) if bench.smoke else (1, 64):
            yield (
                f"{file} step, {streams} streams{beside}",
                partial(step, bench, sides, streams, compiled),
            )


def whole(
    bench: Bench, sides: tuple[Lowered, Lowered], batch: int, seconds: float, compiled: bool
) -> Case:
    audio = bench.random(batch, int(RATE * seconds), 1, dtype=torch.float32)
    kernel, plain = (partial(encoded, side, audio) for side in sides)
    ways = launched(kernel, plain)
    if compiled:
        ways["torch.compile"] = lambda: Launched(bench.compiled(plain))
    return Case(ways, audio=batch * seconds)


def encoded(side: Lowered, audio: Tensor) -> Tensor:
    """The first output of the encoder."""
    length = torch.full((len(audio),), audio.shape[1], device=audio.device)
    values, encoder = {"audio": audio, "audio_length": length}, side.parts["frames"]
    if "static" in side.parts:
        values |= side.parts["static"](values)
    return encoder(values)[encoder.outputs[0].name]


def step(bench: Bench, sides: tuple[Lowered, Lowered], streams: int, compiled: bool) -> Case:
    """Of streams that have begun; the state goes in and comes out, as a graph needs it."""
    kernel, plain = (one_step(bench, side, streams) for side in sides)
    ways = launched(kernel, plain)
    ways["kernel, CUDA graph"] = partial(bench.captured, kernel)
    ways["PyTorch, CUDA graph"] = partial(bench.captured, plain)
    if compiled:
        ways["torch.compile"] = lambda: Launched(bench.compiled(plain))
        ways["torch.compile, CUDA graph"] = lambda: bench.captured(bench.compiled(plain))
    return Case(ways, audio=streams * heard(sides[1]) / RATE)


def launched(kernel: Call, plain: Call) -> dict[str, Any]:
    """Without a CUDA graph."""
    return {"kernel": lambda: Launched(kernel), "PyTorch": lambda: Launched(plain)}


def heard(side: Lowered) -> int:
    """Samples of a step."""
    return next(feed.frames for feed in side.step().feeds if feed.name == "audio")


def one_step(bench: Bench, side: Lowered, streams: int) -> Call:
    held, module = Streams(side, streams), side.step()
    feeds = {
        feed.name: bench.random(streams, feed.frames, 1, dtype=torch.float32)
        for feed in module.feeds
    }
    for _ in range(module.warm_up + 1):
        held.step(feeds)
    given, skipped = held.arguments(module, feeds), 2 * len(module.outputs)
    after = {name: x.clone() for name, x in held.state.items()}

    def once() -> Any:
        """With new frames written to rings, but not those that are read: calls are alike."""
        made = module.module(*given)
        module.moved(held.age, after, made[skipped:])
        return made[0]

    return once


SECTIONS: Mapping[str, Callable[[Bench], Rows]] = {
    "rnnt": partial(model_rows, "rnnt", None),
    "conformer": partial(model_rows, "conformer_transducer", "stream"),
    "convrnnt": partial(model_rows, "convrnnt", None),
}
