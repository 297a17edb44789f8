"""The corpus "wake": a phrase in many synthetic voices, and real speech without it.

Positives have the phrase as their text, negatives what is said in them; `wake` tells which is
which. There are no recordings of the phrase: positives are synthetic in the test set, too. Near
misses, the phrase in part or in other words, are negatives in the same voices. No voice of one set
speaks in another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..manifest import Utterance, read_manifest, write_manifest
from . import store, talkie, voices
from .grammar import Sentence
from .licences import write_licences
from .making import made
from .packages import Shelf
from .recipes import recipes
from .voices import DEV, TRAIN, Family
from .words import PROMPTS

PACKAGES = (*talkie.PACKAGES, *voices.PACKAGES)

_SETS: dict[str, tuple[tuple[Family, ...], float]] = {
    "train": (TRAIN, 1.0),
    "dev": (DEV[:1], 0.1),
    "test": (DEV[1:], 0.2),
}
"""The voices of each set, and how many positives it has for one in training."""


@dataclass(frozen=True, slots=True)
class Options:
    """`phrase` is what wakes; `count` positives train, and as many near misses."""

    phrase: str = "okay computer"
    count: int = 2000
    seed: int = 0
    jobs: int = 1


def build(out: Path, shelf: Shelf, options: Options, report: store.Report | None = None) -> None:
    """Write `train.jsonl`, `dev.jsonl`, `test.jsonl`, their audio and the licences below `out`.

    The real speech is that of the corpus "talkie", below `out/negatives`; the voices are brought
    to its rate, so that the band tells nothing.
    Raises AsrcError E1003 where a package or a voice is missing or changed, E0008 where a file
    cannot be written.
    """
    talkie.build(out / "negatives", shelf)
    for name, (families, share) in _SETS.items():
        count = max(1, round(share * options.count))
        said = sentences(options.phrase, options.seed, count)
        wanted = list(recipes(said, families, f"wake-{name}", options.seed))
        spoken = made(out / f"audio/{name}", wanted, options.jobs, report, rate=talkie.RATE)
        real = read_manifest(out / "negatives" / f"{name}.jsonl")
        write_manifest(out / f"{name}.jsonl", [*map(_marked, spoken), *map(_marked, real)])
    write_licences(out, "wake", PACKAGES)


def sentences(phrase: str, seed: int, count: int) -> Iterator[Sentence]:
    """`count` times the phrase, and as often something that is like it or as long."""
    words = phrase.split()
    for place in range(count):
        rng = np.random.default_rng([seed, place])
        yield Sentence("wake", (phrase,))
        yield Sentence("other", (_near_miss(words, rng),))


def _near_miss(words: Sequence[str], rng: np.random.Generator) -> str:
    """One word of the phrase left out, put elsewhere, or said with words of the prompts."""
    other = PROMPTS[int(rng.integers(len(PROMPTS)))]
    at = int(rng.integers(len(words)))
    match int(rng.integers(4)):
        case 0 if len(words) > 1:
            return " ".join(word for place, word in enumerate(words) if place != at)
        case 1 if len(words) > 1 and words != words[::-1]:
            return " ".join(words[::-1])
        case 2 if len(words) > 1:
            return f"{words[at]} {other}"
    return other


def _marked(one: Utterance) -> Utterance:
    return replace(one, extra={**one.extra, "wake": one.extra.get("class") == "wake"})
