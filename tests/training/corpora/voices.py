"""Voices for tests: every engine hums the script, a note a letter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from asrc.runtime.samples import Samples
from asrc.training.corpora import recipes, voices

RATE = 22_050


def hum(script: str, voice: str, speed: float) -> tuple[Samples, int]:
    """A tenth of a second a letter, louder or softer by the voice."""
    notes = [200.0 + 10 * ord(letter) for letter in script if letter.isalpha()]
    time = np.arange(round(0.1 * RATE / speed)) / RATE
    level = 0.3 + sum(voice.encode()) % 10 / 50
    whole = np.concatenate([level * np.sin(2 * np.pi * note * time) for note in notes])
    return whole.astype(np.float32), RATE


@pytest.fixture
def humming(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No engine is needed."""
    recipes._spoken.cache_clear()
    for engine in voices._ENGINES:
        monkeypatch.setitem(voices._ENGINES, engine, (hum, lambda: "1.0"))
    yield
    recipes._spoken.cache_clear()
