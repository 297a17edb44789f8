"""Training steps of lowered encoders against the same encoders written by hand in PyTorch.

    python benchmarks/training_speed.py [--only rnnt] [--rounds 3] [--repeats 11] [--threads 1]
        [--batch 8] [--seconds 6] [--large] [--keyed] [--profile]

A step is the forward pass on audio, the mean of squares of all outputs that are there, and the
backward pass. Both sides have the same weights and the same module as log-mel front end; outputs
and gradients are compared first. They take turns, A B B A; the ratio is the median over turns.
Rounds build both anew, since where tensors come to lie in memory moves a ratio by some per cent.
With one thread CPU time counts, else the wall clock. `--keyed` draws dropout from a key for each
utterance, as training does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import asrc
from asrc.backends.torch.dropout import Dropout
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered, lower
from asrc.benchmarks.handwritten import ConformerEncoder, Front, LstmEncoder, pairs

MODELS = Path(__file__).parents[1] / "models"
RATE = 16_000
Encode = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Case:
    """A model and how one writes its encoder by hand."""

    file: str
    pipeline: str | None
    by_hand: Callable[[Front], nn.Module]

    @property
    def name(self) -> str:
        return f"{self.file}, {self.pipeline}" if self.pipeline else self.file


def conformer(
    file: str, pipeline: str, bins: int, width: int, layers: int, channels: int, p: float
) -> Case:
    bounds = (8, 64) if pipeline == "stream" else None
    sizes = (bins, width, 4, layers, channels, p, bounds)
    return Case(file, pipeline, lambda front: ConformerEncoder(front, *sizes))


SMALL = (
    Case("small/rnnt", None, lambda front: LstmEncoder(front, 40, 128, 160)),
    conformer("small/conformer_transducer", "offline", 40, 96, 6, 32, 0.1),
    conformer("small/conformer_transducer", "stream", 40, 96, 6, 32, 0.1),
)
LARGE = (
    Case("rnnt", None, lambda front: LstmEncoder(front, 64, 768, 640)),
    conformer("conformer_transducer", "offline", 80, 256, 12, 64, 0.0),
    conformer("conformer_transducer", "stream", 80, 256, 12, 64, 0.0),
)


# --- both sides -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sides:
    """The same encoder twice."""

    lowered: Lowered
    by_hand: nn.Module

    @staticmethod
    def of(case: Case) -> Sides:
        model = asrc.load(str(MODELS / f"{case.file}.asr"))
        facts = model.results[case.pipeline].facts if case.pipeline else model.facts
        assert facts is not None
        lowered = lower(facts)
        initialise(lowered)
        mel, cmvn = (lowered.leaves[f"encoder.mel.{name}"] for name in ("logmel", "cmvn"))
        by_hand = case.by_hand(lambda audio: cmvn(mel(audio)))
        sides = Sides(lowered, by_hand)
        with torch.no_grad():
            for theirs, ours in sides.pairs():
                theirs.copy_(ours)
            for name, parameter in by_hand.named_parameters():
                if "bias_hh" in name:
                    parameter.zero_()
        return sides

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        leaves = [
            leaf
            for path, leaf in self.lowered.leaves.items()
            if path.startswith("encoder.") and leaf._parameters
        ]
        return list(pairs(leaves, self.by_hand))

    def train(self, mode: bool) -> None:
        self.lowered.train(mode)
        self.by_hand.train(mode)

    def by_lowering(self, audio: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        found = self.lowered.parts["frames"]({"audio": audio, "audio_length": samples})
        return found["encoder"], found["encoder_length"]

    def by_hands(self, factor: int, audio: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        frames = ((samples - 400) // 160 + 1) // factor
        return self.by_hand(audio, frames), frames


def loss_of(found: Tensor, frames: Tensor) -> Tensor:
    """The mean of squares of what is there."""
    there = torch.arange(found.shape[1]) < frames.unsqueeze(1)
    return (found.square().mean(-1) * there).sum() / there.sum()


def step(sides: Sides, encode: Encode, audio: Tensor, samples: Tensor) -> Tensor:
    """One training step without the optimiser."""
    sides.lowered.zero_grad()
    sides.by_hand.zero_grad()
    loss = loss_of(*encode(audio, samples))
    loss.backward()
    return loss


def speech(batch: int, seconds: float) -> tuple[Tensor, Tensor]:
    """Noise as long as utterances of a batch sorted by length: down to half of the longest."""
    random = torch.Generator().manual_seed(0)
    longest = int(seconds * RATE)
    samples = torch.linspace(longest, longest / 2, batch).long()
    return torch.randn(batch, longest, 1, generator=random), samples


# --- agreement --------------------------------------------------------------------------------


def check(sides: Sides, ours: Encode, theirs: Encode, audio: Tensor, samples: Tensor) -> None:
    """Outputs agree within 1e-4 and gradients within 1e-3 of their size."""
    sides.train(False)
    with torch.no_grad():
        (a, frames), (b, others) = ours(audio, samples), theirs(audio, samples)
    assert torch.equal(frames, others)
    there = torch.arange(a.shape[1]) < frames.unsqueeze(1)
    worst = (a - b)[there].abs().max().item()
    assert worst < 1e-4, worst
    step(sides, theirs, audio, samples)
    kept = [theirs.grad for theirs, _ in sides.pairs()]
    step(sides, ours, audio, samples)
    for grad, (_, own) in zip(kept, sides.pairs(), strict=True):
        assert grad is not None
        assert (grad - own).norm() <= 1e-3 * own.norm() + 1e-6
    sides.train(True)


# --- time -------------------------------------------------------------------------------------


def measure(
    ways: tuple[Callable[[], object], ...], repeats: int, clock: Callable[[], float]
) -> list[list[float]]:
    """Seconds of each way in each turn; every other turn begins with the last."""
    times: list[list[float]] = [[] for _ in ways]
    for turn in range(-2, repeats):
        for n in range(len(ways))[:: 1 if turn % 2 else -1]:
            start = clock()
            ways[n]()
            if turn >= 0:
                times[n].append(clock() - start)
    return times


@dataclass(frozen=True)
class Timed:
    """Seconds of both sides, turn by turn."""

    lowered: list[float]
    by_hand: list[float]

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.lowered, self.by_hand, strict=True)]

    def cells(self) -> Iterator[str]:
        for summary in (statistics.median, min):
            yield from (f"{1000 * summary(times):.1f}" for times in (self.lowered, self.by_hand))
        low, middle, high = statistics.quantiles(self.ratios, n=4)
        yield f"**{middle:.3f}**"
        yield f"{low:.3f} to {high:.3f}"
        yield f"{min(self.lowered) / min(self.by_hand):.3f}"


def ways(case: Case, given: argparse.Namespace) -> tuple[Callable[[], object], ...]:
    """A step by lowering and one by hand, which agree."""
    torch.manual_seed(0)
    sides = Sides.of(case)
    audio, samples = speech(given.batch, given.seconds)
    theirs = partial(sides.by_hands, 6 if "rnnt" in case.file else 4)
    check(sides, sides.by_lowering, theirs, audio, samples)
    for leaf in sides.lowered.leaves.values():
        if given.keyed and isinstance(leaf, Dropout):
            leaf.keys = tuple(range(given.batch))
    return tuple(partial(step, sides, way, audio, samples) for way in (sides.by_lowering, theirs))


def row(case: Case, given: argparse.Namespace) -> str:
    clock = time.process_time if given.threads == 1 else time.perf_counter
    timed = Timed([], [])
    for _ in range(given.rounds):
        ours, theirs = measure(ways(case, given), given.repeats, clock)
        timed = Timed(timed.lowered + ours, timed.by_hand + theirs)
    return f"| {' | '.join((case.name, str(given.threads), *timed.cells()))} |"


def profiled(way: Callable[[], object]) -> str:
    way()
    with torch.profiler.profile() as profile:
        for _ in range(3):
            way()
    averages = profile.key_averages()
    return averages.table("self_cpu_time_total", row_limit=25, max_name_column_width=40)


HEAD = """\
| encoder | threads | lowered, median ms | by hand | lowered, least ms | by hand | ratio, median \
| quartiles | ratio of least |
|---|---:|---:|---:|---:|---:|---:|---:|---:|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="models whose name has this")
    parser.add_argument("--large", action="store_true", help="the models at their full size")
    parser.add_argument("--rounds", type=int, default=3, help="how often all is built anew")
    parser.add_argument("--repeats", type=int, default=11, help="turns in a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--keyed", action="store_true", help="dropout keyed by utterance")
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    cases = [case for case in (LARGE if given.large else SMALL) if given.only in case.name]
    if given.profile:
        for case in cases:
            print(case.name, *map(profiled, ways(case, given)), sep="\n")
        return
    print(HEAD)
    for case in cases:
        print(row(case, given), flush=True)


if __name__ == "__main__":
    main()
