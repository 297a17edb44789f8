"""Greedy decoding that `benchmarks/gpu.py` measures: a chunk of encoder frames to labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from asrc.backends.triton.kernels import greedy
from asrc.benchmarks.gpu_parts.measuring import Bench, Case, Launched, Rows
from asrc.runtime.decode import GreedyDecoder
from asrc.runtime.decode.protocol import Frames, State

PERIOD = 0.04
"""Seconds of a frame."""
PER_FRAME = 4


@dataclass(frozen=True)
class Sizes:
    batch: int
    frames: int
    width: int
    labels: int


@dataclass(frozen=True)
class Plain:
    """Predictor of one LSTM and joint in PyTorch; see `runtime.decode.Transducer`."""

    table: Tensor
    gates: tuple[Tensor, Tensor]
    project: Tensor
    out: tuple[Tensor, Tensor]

    @property
    def blank(self) -> int:
        return len(self.out[1]) - 1

    def joint(self, frames: Frames, labels: Tensor) -> Tensor:
        return self.scores(frames["frames"], labels).log_softmax(-1)

    def scores(self, frames: Tensor, labels: Tensor) -> Tensor:
        return functional.linear(torch.tanh(frames + labels), *self.out)

    def predictor_start(self, batch: int) -> tuple[Tensor, State]:
        zero = self.table.new_zeros(batch, len(self.gates[1]) // 4)
        tokens = torch.zeros(batch, dtype=torch.int64, device=zero.device)
        return self.predictor_step(tokens, {"h": zero, "c": zero})

    def predictor_step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        x = torch.cat([self.table[tokens], state["h"]], -1)
        i, f, g, o = functional.linear(x, *self.gates).chunk(4, -1)
        c = f.sigmoid() * state["c"] + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return functional.linear(h, self.project), {"h": h, "c": c}


def rows(bench: Bench) -> Rows:
    many = [Sizes(2, 6, 24, 19)] if bench.smoke else [Sizes(n, 375, 512, 1024) for n in (1, 64)]
    for sizes in many:
        title = f"greedy, {sizes.batch} x {sizes.frames} frames, {sizes.labels} labels"
        yield title, partial(case, bench, sizes)


def case(bench: Bench, sizes: Sizes) -> Case:
    """Bias makes blank some five times as frequent as labels. The rivals ask the host as they go,
    so that no graph holds them."""
    plain, e = drawn(bench, sizes), bench.random(sizes.batch, sizes.frames, sizes.width)
    most = PER_FRAME * sizes.frames if bench.smoke else sizes.frames // 2
    ways: Mapping[str, Callable[[], Callable[[], Tensor]]] = {
        "kernel": lambda: partial(on_kernels, plain, e, most),
        "PyTorch": lambda: Launched(partial(frame_loop, plain, e, most)),
        "PyTorch, label looping": lambda: Launched(partial(label_loop, plain, e, most)),
    }
    return Case(ways, audio=sizes.batch * sizes.frames * PERIOD, close=bench.smoke)


def drawn(bench: Bench, sizes: Sizes) -> Plain:
    width, classes = sizes.width, sizes.labels + 1
    bias = torch.zeros(classes, device=bench.device, dtype=bench.half)
    bias[-1] = 1.0 if bench.smoke else 3.0
    return Plain(
        bench.random(sizes.labels, width, seed=1),
        (bench.random(4 * width, 2 * width, seed=2) / width**0.5, bench.random(4 * width, seed=3)),
        bench.random(width, width, seed=4) / width**0.5,
        (bench.random(classes, width, seed=5) / width**0.5, bias),
    )


def on_kernels(plain: Plain, e: Tensor, most: int) -> Tensor:
    batch, frames, width = e.shape
    h, c = (e.new_zeros(batch + 1, width) for _ in range(2))
    layer = greedy.Layer(*plain.gates, h, c)
    predictor = greedy.LstmPredictor(plain.table, (layer,), plain.project)
    streams = greedy.Streams.room(batch, e)
    streams.begin(predictor)
    found = greedy.Found.room(batch, most, e.device)
    ends = torch.full((batch,), frames, device=e.device)
    plan = greedy.Plan(per_frame=PER_FRAME)
    joint = greedy.Joint(*plain.out)
    return greedy.decode(e, ends, predictor, joint, streams, found, plan).labels


def frame_loop(plain: Plain, e: Tensor, most: int) -> Tensor:
    """Graves (2012): frame by frame, all streams at once, the host asking whether any goes on."""
    batch = len(e)
    labels = torch.zeros(batch, most + 1, dtype=torch.int64, device=e.device)
    count = torch.zeros(batch, dtype=torch.int64, device=e.device)
    p, state = plain.predictor_start(batch)
    for t in range(e.shape[1]):
        going = torch.ones(batch, dtype=torch.bool, device=e.device)
        for _ in range(PER_FRAME):
            best = plain.scores(e[:, t], p).argmax(-1)
            going = going & (best != plain.blank)
            if not bool(going.any()):
                break
            place = torch.where(going, count, most).clamp(max=most)
            labels.scatter_(1, place[:, None], best[:, None])
            count += going
            made, after = plain.predictor_step(best.clamp(max=plain.blank - 1), state)
            p = torch.where(going[:, None], made, p)
            state = {n: torch.where(going[:, None], x, state[n]) for n, x in after.items()}
    return labels[:, :most]


def label_loop(plain: Plain, e: Tensor, most: int) -> Tensor:
    """What `asrc` does without kernels."""
    decoder = GreedyDecoder(plain, batch=len(e), max_symbols=PER_FRAME)
    decoder.feed({"frames": e})
    labels = torch.zeros(len(e), most, dtype=torch.int64)
    for row, one in zip(labels, decoder.hypotheses(), strict=True):
        row[: len(one.ids)] = torch.tensor(one.ids[:most], dtype=torch.int64)
    return labels.to(e.device)


SECTIONS: Mapping[str, Callable[[Bench], Rows]] = {"decoding": rows}
