"""Decoding time per second of audio: label looping, frame loop and beam search on one CPU core.

    python benchmarks/decoding.py [--batch 1 32] [--seconds 10] [--repeats 7]
    python benchmarks/decoding.py --parts
    python benchmarks/decoding.py --models large --batch 1 --profile "beam 4"

Predictor and joint have the sizes of `models/rnnt.asr` (two LSTM layers of 768, 2500 labels, 60 ms
frames) and of a small model (one layer of 128, 256 labels, 40 ms). Weights are random; which
frame says which label is planted, 3.5 labels a second, so that all decoders find the same text.
Variants take turns; prints medians and minima of the CPU time in a Markdown table. The garbage
collector rests.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asrc.runtime.decode import BeamDecoder, Frames, GreedyDecoder, State
from asrc.runtime.decode.frame_loop import frame_loop

LABELS_PER_SECOND = 3.5
SURE = 14.0  # added to the planted symbol's logit: about as sure as a trained model


@dataclass(frozen=True)
class Sizes:
    period: float
    labels: int
    joint: int
    embed: int
    cell: int
    layers: int


MODELS = {
    "large": Sizes(period=0.06, labels=2500, joint=640, embed=256, cell=768, layers=2),
    "small": Sizes(period=0.04, labels=256, joint=96, embed=64, cell=128, layers=1),
}


class Planted(nn.Module):
    """LSTM predictor and tanh joint; frames name a label that is due until it has been emitted.

    The predictor's output carries the number of labels so far in a further column.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embed = nn.Embedding(sizes.labels, sizes.embed)
        widths = [sizes.embed, *[sizes.cell] * (sizes.layers - 1)]
        # Not nn.LSTM: on a CPU it rearranges its weights in every call, see --parts.
        self.cells = nn.ModuleList(nn.LSTMCell(width, sizes.cell) for width in widths)
        self.project = nn.Linear(sizes.cell, sizes.joint)
        self.out = nn.Linear(sizes.joint, sizes.labels + 1)

    def joint(self, frames: Frames, labels: Tensor) -> Tensor:
        logits = self.out(torch.tanh(frames["frames"] + labels[:, :-1]))
        due = frames["count"] > labels[:, -1]
        planted = torch.where(due, frames["label"], self.sizes.labels)
        spread = torch.full_like(logits[:, :1], SURE)
        return logits.scatter_add_(1, planted[:, None], spread).log_softmax(-1)

    def predictor_start(self, batch: int) -> tuple[Tensor, State]:
        names = [f"{name}{layer}" for layer in range(self.sizes.layers) for name in "hc"]
        state = {name: torch.zeros(batch, self.sizes.cell) for name in names}
        output = torch.zeros(batch, self.sizes.joint + 1)
        return output, {**state, "count": torch.zeros(batch)}

    def predictor_step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        count = state["count"] + 1
        new = {"count": count}
        x = self.embed(tokens)
        for layer, cell in enumerate(self.cells):
            x, c = cell(x, (state[f"h{layer}"], state[f"c{layer}"]))
            new |= {f"h{layer}": x, f"c{layer}": c}
        return torch.cat([self.project(x), count[:, None]], 1), new


def utterances(sizes: Sizes, batch: int, seconds: float) -> Frames:
    """Random frames in which `count` labels have been said and `label` was the last of them."""
    frames = round(seconds / sizes.period)
    starts = torch.rand(batch, frames) < LABELS_PER_SECOND * sizes.period
    said = torch.randint(0, sizes.labels, (batch, frames))
    count = starts.cumsum(1)
    label = torch.gather(said, 1, count.clamp(max=frames - 1))
    return {"frames": torch.randn(batch, frames, sizes.joint), "count": count, "label": label}


def masked(model: Planted, frames: Frames) -> list[tuple[int, ...]]:
    """Label looping as published: every stream in every call, finished ones masked."""
    flat = {name: value.flatten(0, 1) for name, value in frames.items()}
    batch, length = frames["frames"].shape[:2]
    base, blank = torch.arange(batch) * length, model.sizes.labels
    at = torch.zeros(batch, dtype=torch.int64)
    output, state = model.predictor_start(batch)
    steps: list[tuple[Tensor, Tensor]] = []
    while True:
        label, searching = torch.full((batch,), blank), at < length
        while bool(searching.any()):
            rows = base + at.clamp(max=length - 1)
            here = {name: value.index_select(0, rows) for name, value in flat.items()}
            _, best = model.joint(here, output).max(-1)
            label = torch.where(searching, best, label)
            searching &= best == blank
            at += searching
            searching &= at < length
        emit = (at < length) & (label != blank)
        if not bool(emit.any()):
            break
        steps.append((label, emit))
        new, new_state = model.predictor_step(torch.where(emit, label, 0), state)
        output = torch.where(emit[:, None], new, output)
        state = {n: torch.where(spread(emit, v), v, state[n]) for n, v in new_state.items()}
    rows = [(label.tolist(), emit.tolist()) for label, emit in steps]
    return [tuple(k[b] for k, e in rows if e[b]) for b in range(batch)]


def spread(mask: Tensor, like: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (like.dim() - 1))


def greedy(model: Planted, frames: Frames, window: int) -> list[tuple[int, ...]]:
    decoder = GreedyDecoder(model, batch=len(frames["frames"]), window=window)
    decoder.feed(frames)
    return [hypothesis.ids for hypothesis in decoder.hypotheses()]


def search(model: Planted, frames: Frames, beam: int) -> list[tuple[int, ...]]:
    decoder = BeamDecoder(model, batch=len(frames["frames"]), beam=beam)
    decoder.feed(frames)
    return [best.ids for (best,) in decoder.hypotheses()]


VARIANTS: dict[str, Callable[[Planted, Frames], list[tuple[int, ...]]]] = {
    "frame loop": lambda m, f: [h.ids for h in frame_loop(m, f)],
    "label looping, masked": masked,
    "label looping, window 1": lambda m, f: greedy(m, f, 1),
    "label looping, window 4": lambda m, f: greedy(m, f, 4),
    "label looping, window 8": lambda m, f: greedy(m, f, 8),
    "label looping, window 16": lambda m, f: greedy(m, f, 16),
    "beam 2": lambda m, f: search(m, f, 2),
    "beam 4": lambda m, f: search(m, f, 4),
    "beam 8": lambda m, f: search(m, f, 8),
}


@torch.no_grad()
def measure(name: str, batch: int, seconds: float, repeats: int) -> None:
    """One row for each variant: milliseconds for one second of audio of one stream."""
    torch.manual_seed(0)
    model = Planted(MODELS[name]).eval()
    frames = utterances(MODELS[name], batch, seconds)
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for turn in range(repeats + 1):
        texts = {}
        for variant, decode in VARIANTS.items():
            gc.collect()
            gc.disable()
            start = time.process_time()
            texts[variant] = decode(model, frames)
            spent = time.process_time() - start
            gc.enable()
            if turn:  # the first turn warms up
                times[variant].append(1000 * spent / (batch * seconds))
    for variant, each in times.items():
        same = sum(a == b for a, b in zip(texts[variant], texts["frame loop"], strict=True))
        print(
            f"| {name} | {batch} | {variant} | {statistics.median(each):.2f} | {min(each):.2f}"
            f" | {same} of {batch} |"
        )


@torch.no_grad()
def profile(name: str, batch: int, seconds: float, variant: str) -> None:
    torch.manual_seed(0)
    model = Planted(MODELS[name]).eval()
    frames = utterances(MODELS[name], batch, seconds)
    VARIANTS[variant](model, frames)
    with cProfile.Profile() as profiler:
        VARIANTS[variant](model, frames)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(18)


@torch.no_grad()
def parts(name: str) -> None:
    """One call of the joint by rows, and one predictor step of one row by operator."""
    torch.manual_seed(0)
    sizes = MODELS[name]
    model, fused = Planted(sizes), nn.LSTM(sizes.embed, sizes.cell, sizes.layers).eval()
    for rows in (1, 2, 4, 8, 32):
        frames = {"frames": torch.randn(rows, sizes.joint)}
        frames |= {key: torch.zeros(rows, dtype=torch.int64) for key in ("count", "label")}
        outputs = torch.randn(rows, sizes.joint + 1)
        each = call_times(lambda f=frames, o=outputs: model.joint(f, o).max(-1))
        print(f"| {name} | joint, {rows} rows | {statistics.median(each):.3f} | {min(each):.3f} |")
    token, state = torch.zeros(1, dtype=torch.int64), model.predictor_start(1)[1]
    before = tuple(torch.zeros(sizes.layers, 1, sizes.cell) for _ in "hc")
    steps: dict[str, Callable[[], object]] = {
        "LSTMCell": lambda: model.predictor_step(token, state),
        "nn.LSTM": lambda: fused(model.embed(token)[None], before),
    }
    for operator, step in steps.items():
        each = call_times(step)
        print(f"| {name} | {operator} | {statistics.median(each):.3f} | {min(each):.3f} |")


def call_times(call: Callable[[], object], repeats: int = 100) -> list[float]:
    """CPU milliseconds of each call, after some to warm up."""
    times = []
    for turn in range(repeats + 10):
        start = time.process_time()
        call()
        if turn >= 10:
            times.append(1000 * (time.process_time() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--models", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=10.0, help="audio of each stream")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--profile", choices=VARIANTS, help="where the time goes")
    parser.add_argument("--parts", action="store_true", help="one joint, one predictor step")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.parts:
        print("| model | part | median, ms | minimum, ms |")
        print("|---|---|---:|---:|")
        for name in given.models:
            parts(name)
        return
    if given.profile:
        profile(given.models[0], given.batch[0], given.seconds, given.profile)
        return
    print("| model | batch | decoder | median, ms | minimum, ms | text as frame loop |")
    print("|---|---:|---|---:|---:|---|")
    for name in given.models:
        for batch in given.batch:
            measure(name, batch, given.seconds, given.repeats)


if __name__ == "__main__":
    main()
