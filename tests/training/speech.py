"""Utterances with and without audio for the tests of training data."""

from __future__ import annotations

from pathlib import Path

from asrc.runtime.vocabulary import build_vocabulary
from asrc.tests.runtime.sounds import RATE, tone, write
from asrc.training.cache import AudioCache
from asrc.training.dataset import Dataset
from asrc.training.manifest import Utterance
from asrc.training.perturb import Perturber


def utterance(id: str = "a", seconds: float = 1.0, text: str = "yes no") -> Utterance:
    """Without audio."""
    return Utterance(id, Path(f"{id}.wav"), text, seconds)


def recorded(folder: Path, count: int = 6) -> list[Utterance]:
    """Tones of 0.2 s and longer, each of a pitch of its own."""
    lengths = {f"u{number}": 0.2 + 0.05 * number for number in range(count)}
    return [
        Utterance(id, write(folder / f"{id}.wav", tone(s, pitch=200 + 900 * s)), "yes no", s)
        for id, s in lengths.items()
    ]


def dataset(perturber: Perturber | None = None, limit: int = 0) -> Dataset:
    vocabulary = build_vocabulary(["yes no"], "characters")
    return Dataset(vocabulary, AudioCache(RATE, limit), perturber)
