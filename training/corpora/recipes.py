"""Recipes of synthetic utterances: everything that decides the samples, and nothing else.

An utterance is named by its place and the digest of its recipe, so that a file of that name
need never be made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from ...runtime.samples import Samples
from . import rooms, treatment, voices
from .clips import joined, trimmed
from .grammar import Sentence
from .treatment import Treatment, treated
from .voices import Family, Voice, speak

RATE = 16_000
_FORMAT = 1
"""Raised whenever the same recipe would give other samples."""

TEMPI = (0.5, 1.15)
"""Slowest and fastest: people who record prompts, or say a number to a machine, speak half as fast
as these engines do by themselves."""

_SEPARATORS = (" ", " ", ", ", ", ", ". ")
_ENDS = (".", ".", ",", "?", "!", "")

_REMEMBERED = 128
"""Parts that are kept, for utterances that are put together of the same ones."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Who says what, how, and where. `scripts` are what the voice is given, part by part.

    `pauses` are seconds of silence between parts, `speed` is the tempo, `seed` that of the build.
    """

    name: str
    kind: str
    text: str
    scripts: tuple[str, ...]
    pauses: tuple[float, ...]
    voice: Voice
    speed: float
    way: Treatment
    seed: int

    @property
    def digest(self) -> str:
        """Of all of it, the versions of the engine and of the way rooms are made."""
        made_by = [_FORMAT, RATE, voices.version(self.voice), rooms.method()]
        whole = json.dumps([asdict(self), made_by], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:12]


def recipes(
    sentences: Iterable[Sentence],
    families: tuple[Family, ...],
    prefix: str,
    seed: int,
    tempi: tuple[float, float] = TEMPI,
) -> Iterator[Recipe]:
    """A recipe for each sentence; it follows from the sentence, its place, prefix, seed and tempi,
    the slowest and the fastest."""
    for place, sentence in enumerate(sentences):
        name = f"{prefix}-{place:05d}"
        rng = np.random.default_rng([seed, place, *name.encode()])
        yield Recipe(
            name=name,
            kind=sentence.kind,
            text=sentence.text,
            scripts=tuple(_punctuated(part, sentence.kind, rng) for part in sentence.parts),
            pauses=tuple(np.round(rng.uniform(0.1, 0.8, len(sentence.parts) - 1), 3).tolist()),
            voice=voices.drawn(rng, families),
            speed=tempo(rng, tempi),
            way=treatment.drawn(rng),
            seed=seed,
        )


def tempo(rng: np.random.Generator, tempi: tuple[float, float] = TEMPI) -> float:
    """Of a voice, 1 being the engine's own; as likely to be halved as doubled."""
    return round(float(np.exp(rng.uniform(*np.log(tempi)))), 3)


def _punctuated(script: str, kind: str, rng: np.random.Generator) -> str:
    """Lists are read fluently, with commas or word by word; punctuation is prosody."""
    separator = _SEPARATORS[int(rng.integers(len(_SEPARATORS)))]
    if kind not in ("digit", "letter", "phonetic"):
        separator = " "
    return separator.join(script.split()) + _ENDS[int(rng.integers(len(_ENDS)))]


def rendered(recipe: Recipe) -> Samples:
    """`[samples]` at `RATE` Hz. Raises AsrcError E1003 where the engine is not installed."""
    said = [_spoken(recipe.voice, script, recipe.speed) for script in recipe.scripts]
    whole = joined(said, RATE, recipe.pauses)
    rng = np.random.default_rng([recipe.seed, *recipe.name.encode()])
    return treated(whole, RATE, recipe.way, rng, recipe.seed)


@lru_cache(_REMEMBERED)
def _spoken(voice: Voice, script: str, speed: float) -> Samples:
    return trimmed(speak(voice, script, speed, RATE), RATE)
