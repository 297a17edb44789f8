"""Sentences of real recordings, read by synthetic voices: a second training set beside the first.

Only sentences that train are read, so that nothing of the other sets comes in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..manifest import Utterance, write_manifest
from . import store
from .grammar import Sentence
from .making import made
from .recipes import recipes
from .voices import TRAIN


@dataclass(frozen=True, slots=True)
class Readers:
    """About so many `hours` of them, at `rate` (Hz), with tempi between these (1: the engine's
    own)."""

    hours: float
    rate: int
    tempi: tuple[float, float]
    seed: int = 0
    jobs: int = 1


def write_with_readers(
    out: Path, real: Sequence[Utterance], readers: Readers, report: store.Report | None = None
) -> None:
    """Write `train-synthetic.jsonl` and its audio below `out`: what is real, then what is read.

    Raises AsrcError E1003 where a voice is missing, E0008 where a file cannot be written.
    """
    seconds = sum(one.duration for one in real) / len(real)
    count = max(1, round(readers.hours * 3600 / seconds))
    said = sentences([one.text for one in real], readers.seed, count)
    wanted = list(recipes(said, TRAIN, "r", readers.seed, readers.tempi))
    spoken = made(out / "audio/read", wanted, readers.jobs, report, rate=readers.rate)
    write_manifest(out / "train-synthetic.jsonl", [*real, *spoken])


def sentences(texts: Sequence[str], seed: int, count: int) -> Iterator[Sentence]:
    """`count` of the texts, each as often as the others, in an order of chance."""
    every = sorted(set(texts))
    for turn in range(-(-count // len(every))):
        order = np.random.default_rng([seed, turn]).permutation(len(every))
        for place in order[: count - turn * len(every)]:
            yield Sentence("sentence", (every[place],))
