"""Whole encoders that `benchmarks/gpu.py` measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import asrc
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.leaves import Convf, Dense
from asrc.backends.torch.lowered import Lowered, lower
from asrc.backends.torch.recurrent import Lstm
from asrc.backends.torch.streams import Streams
from asrc.backends.triton.kernels.overlap import overlapping
from asrc.backends.triton.lowering import to_triton
from asrc.benchmarks.gpu_parts.measuring import Bench, Call, Case, Launched, Rows
from asrc.benchmarks.gpu_parts.steps import counted
from asrc.compiler.facts import Facts
from asrc.compiler.irread import parse_graph
from asrc.compiler.irtext import print_graph

MODELS = Path(__file__).parents[2] / "models"
GRAPHS = Path(__file__).parents[2] / "build/gpu"
RATE = 16_000


def lowered(bench: Bench, file: str, pipeline: str | None) -> Lowered:
    made = lower(facts_of(bench, file, pipeline))
    initialise(made, seed=1)
    return made.eval().to(bench.device)


def facts_of(bench: Bench, file: str, pipeline: str | None) -> Facts:
    """Of the model's text; of its graph as `written` left it, where there is no `lark` to read
    that."""
    name = f"small/{file}" if bench.smoke else file
    try:
        model = asrc.load(str(MODELS / f"{name}.asr"))
    except ImportError:
        graph = GRAPHS / f"{name}.graph"
        if not graph.exists():
            raise
        return Facts(parse_graph(graph.read_text(encoding="utf-8")))
    facts = model.results[pipeline].facts if pipeline else model.facts
    assert facts is not None
    return facts


def written(bench: Bench) -> list[Path]:
    """The models' graphs, as files that are read without other packages than PyTorch's."""
    folder, made = GRAPHS / "small" if bench.smoke else GRAPHS, []
    folder.mkdir(parents=True, exist_ok=True)
    for file, pipeline in FILES.items():
        made.append(folder / f"{file}.graph")
        text = print_graph(facts_of(bench, file, pipeline).graph)
        made[-1].write_text(text, encoding="utf-8")
    return made


@dataclass(frozen=True, slots=True)
class Sides:
    """A model on kernels and in PyTorch; what is to be around a call of that."""

    kernels: Lowered
    plain: Lowered
    around: Callable[[], AbstractContextManager[object]]

    def rival(self, call: Call) -> Call:
        def around() -> Tensor:
            with self.around():
                return call()

        return around


def model_rows(file: str, pipeline: str | None, bench: Bench) -> Rows:
    """Steps and offline, products in float32 and in a half type; then the same beside compiled
    ones, which may take all the time."""
    plain = lowered(bench, file, pipeline)
    whole_sides = Sides(to_triton(plain), plain, nullcontext)
    half_sides = Sides(to_triton(plain, bench.half), in_half(plain, bench), autocast(bench))
    kinds = (("", whole_sides), (", 16 bits", half_sides))
    for compiled, beside in ((False, ""), (True, ", compiled")):
        for kind, sides in reversed(kinds) if compiled else kinds:
            yield from rows_of(f"{file}{{}}{kind}{beside}", bench, sides, compiled)


def rows_of(title: str, bench: Bench, sides: Sides, compiled: bool) -> Rows:
    batch, seconds = (1, 0.3) if bench.smoke else (16, 15.0)
    offline = title.format(f" offline, {batch} x {seconds:g} s")
    for streams in (1,) if bench.smoke else (1, 64):
        one = partial(step, bench, sides, streams, compiled)
        yield title.format(f" step, {streams} streams"), one
        if streams == 1:
            yield offline, partial(whole, bench, sides, batch, seconds, compiled)


def in_half(plain: Lowered, bench: Bench) -> Lowered:
    """With weights of products in a half type, so that autocast has nothing to cast in a call."""
    made = deepcopy(plain)
    for leaf in made.modules():
        if isinstance(leaf, Dense | Convf | Lstm):
            leaf.weight.data = leaf.weight.data.to(bench.half)
    return made


def autocast(bench: Bench) -> Callable[[], AbstractContextManager[object]]:
    if bench.smoke:
        return nullcontext
    return partial(torch.autocast, "cuda", bench.half, cache_enabled=False)


def whole(bench: Bench, sides: Sides, batch: int, seconds: float, compiled: bool) -> Case:
    audio = bench.random(batch, int(RATE * seconds), 1, dtype=torch.float32)
    kernel, plain = (partial(encoded, side, audio) for side in (sides.kernels, sides.plain))
    return Case(ways_of(bench, kernel, sides.rival(plain), compiled), audio=batch * seconds)


def encoded(side: Lowered, audio: Tensor) -> Tensor:
    """The first output of the encoder."""
    length = torch.full((len(audio),), audio.shape[1], device=audio.device)
    values, encoder = {"audio": audio, "audio_length": length}, side.parts["frames"]
    if "static" in side.parts:
        values |= side.parts["static"](values)
    return encoder(values)[encoder.outputs[0].name]


def step(bench: Bench, sides: Sides, streams: int, compiled: bool) -> Case:
    """Of streams that have begun; the state goes in and comes out, as a graph needs it."""
    kernel = one_step(bench, sides.kernels, streams)
    with sides.around():
        plain = one_step(bench, sides.plain, streams)
    audio = streams * heard(sides.plain) / RATE
    ways = ways_of(bench, kernel, sides.rival(plain), compiled)
    if not compiled:
        ways["kernel, one after the other"] = lambda: partial(in_turn, kernel)
    return Case(ways, audio=audio)


def in_turn(call: Call) -> Tensor:
    """No kernel begins before the one before it has ended."""
    with overlapping(False):
        return call()


def ways_of(bench: Bench, kernel: Call, plain: Call, compiled: bool) -> dict[str, Any]:
    """Each in a CUDA graph; on kernels and in PyTorch without one too."""
    ways = {"kernel": lambda: kernel, "PyTorch": lambda: plain}
    if compiled:
        return ways | {"torch.compile": lambda: bench.compiled(plain)}
    return ways | {
        "kernel, launched": lambda: Launched(kernel),
        "PyTorch, launched": lambda: Launched(plain),
    }


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
    if not side.on_kernels:
        module = counted(module)
    given, skipped = held.arguments(module, feeds), 2 * len(module.outputs)
    after = {name: x.clone() for name, x in held.state.items()}

    def once() -> Tensor:
        """With new states written, but not over those that are read: calls are alike."""
        made = module.module(*given)
        for name, x in module.moved(held.age, after, made[skipped:]).items():
            if x is not after[name]:
                after[name].copy_(x)
        return made[0]

    return once


FILES = {"rnnt": None, "conformer_transducer": "stream", "convrnnt": None}
SECTIONS: Mapping[str, Callable[[Bench], Rows]] = {
    file.partition("_")[0]: partial(model_rows, file, pipeline) for file, pipeline in FILES.items()
}
