"""How long one step of a stream takes, batch of one, and a training step of a scanned recurrence.

    python benchmarks/step_speed.py [--repeats 100] [--threads 1] [--large]

Prints CPU milliseconds, median and least, and how much faster than the audio that is, from the
median.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import asrc
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered, lower
from asrc.backends.torch.streams import Streams

MODELS = Path(__file__).parents[1] / "models"
SMALL = (
    ("small/rnnt", None),
    ("small/conformer_transducer", "stream"),
    ("small/amnets", None),
)
LARGE = (("rnnt", None), ("conformer_transducer", "stream"), ("amnets", None))


def lowered(file: str, pipeline: str | None) -> Lowered:
    model = asrc.load(str(MODELS / f"{file}.asr"))
    facts = model.results[pipeline].facts if pipeline else model.facts
    assert facts is not None
    module = lower(facts)
    initialise(module)
    return module


def timed(way: Callable[[], object], repeats: int) -> list[float]:
    for _ in range(3):
        way()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        way()
        times.append(time.process_time() - start)
    return times


def one_step(module: Lowered) -> tuple[Callable[[], object], float]:
    """A step of one stream, and its seconds of audio."""
    module.eval()
    streams = Streams(module, 1)
    step = streams.step_of(1)
    feeds = {feed.name: torch.randn(1, feed.frames, 1) for feed in step.feeds}
    return (lambda: streams.step(feeds)), feeds["audio"].shape[1] / 16_000


def one_batch(module: Lowered, batch: int = 8, seconds: float = 6.0) -> Callable[[], object]:
    """A training step of an encoder with a flag, without the optimiser."""
    part, samples = module.train().parts["frames"], int(16_000 * seconds)
    given = {
        "audio": torch.randn(batch, samples, 1),
        "audio_length": torch.full((batch,), samples),
        "full": torch.rand(batch, int(seconds / 0.03), 1),
        "full_length": torch.full((batch,), int(seconds / 0.03)),
    }

    def step() -> None:
        module.zero_grad()
        part(given)["encoder"].square().mean().backward()

    return step


def row(name: str, audio: float, times: list[float]) -> str:
    median = statistics.median(times)
    cells = (f"{1000 * audio:.0f}", f"{1000 * median:.2f}", f"{1000 * min(times):.2f}")
    return f"| {' | '.join((name, *cells, f'{audio / median:.0f}'))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--large", action="store_true", help="the models at their full size")
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(given.threads)
    print("| what | audio, ms | median, ms | least, ms | times faster |")
    print("|---|---:|---:|---:|---:|")
    for file, pipeline in LARGE if given.large else SMALL:
        module = lowered(file, pipeline)
        way, audio = one_step(module)
        print(row(f"{file}: a step", audio, timed(way, given.repeats)), flush=True)
        if "amnets" in file:
            times = timed(one_batch(module), max(3, given.repeats // 20))
            print(row(f"{file}: a training step, 8 x 6 s", 48.0, times), flush=True)


if __name__ == "__main__":
    main()
