"""Noise: of a colour, by formula, and babble, by several synthetic voices at once."""

from __future__ import annotations

from functools import cache

import numpy as np

from ...runtime.samples import Samples
from .clips import joined, trimmed
from .voices import Voice, speak
from .words import PROMPTS

COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0}
"""The power falls as frequency to this."""

_TALKERS = 6
_BABBLES = 6
_SENTENCES = 5
_VOICES = tuple(
    Voice(engine, name, shift)
    for engine, name in (("flite", "slt"), ("flite", "rms"), ("espeak-ng", "en-gb+m3"))
    for shift in (0.85, 0.95, 1.05, 1.15)
)


def coloured(rng: np.random.Generator, colour: str, length: int, rate: int) -> Samples:
    """`[length]` samples at `rate` Hz with a mean square of 1; below 40 Hz it is flat."""
    size = 1 << int(max(length, 2) - 1).bit_length()
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / rate), 40.0)
    spectrum = np.fft.rfft(rng.standard_normal(size)) * frequency ** (-COLOURS[colour] / 2)
    return _unit(np.fft.irfft(spectrum, size)[:length])


def babble(rng: np.random.Generator, length: int, rate: int) -> Samples:
    """`[length]` samples of six talkers, mean square 1."""
    whole = _babble(int(rng.integers(_BABBLES)), rate)
    start = int(rng.integers(len(whole)))
    return _unit(np.resize(np.roll(whole, -start), length))


@cache
def _babble(number: int, rate: int) -> Samples:
    rng = np.random.default_rng([0xBABB1E, number])
    talkers = [_talker(rng, rate) for _ in range(_TALKERS)]
    length = min(map(len, talkers))
    return np.asarray(sum(talker[:length] for talker in talkers), np.float32)


def _talker(rng: np.random.Generator, rate: int) -> Samples:
    voice = _VOICES[int(rng.integers(len(_VOICES)))]
    scripts = [PROMPTS[int(rng.integers(len(PROMPTS)))] for _ in range(_SENTENCES)]
    parts = [trimmed(speak(voice, script, 1.0, rate), rate) for script in scripts]
    return _unit(joined(parts, rate, [0.15] * (_SENTENCES - 1)))


def _unit(samples: np.ndarray[tuple[int], np.dtype[np.float64]] | Samples) -> Samples:
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    return np.asarray(samples.astype(np.float64) / max(float(level), 1e-9), np.float32)
