"""What happens to a voice on its way to the microphone: a room, noise, a telephone, a level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...runtime.samples import Samples
from . import rooms
from .clips import at_rate, padded
from .noise import COLOURS, babble, coloured
from .saytime import expand_mulaw

_TELEPHONE = 8_000
"""Hz."""

_NOISES = ("white", "pink", "pink", "brown", "babble", "babble")


@dataclass(frozen=True, slots=True)
class Treatment:
    """The way of one utterance; seconds and dB.

    lead, tail  silence before and after the voice
    level       of the voice, dB below a full-scale square wave
    room        the number of a room, or none
    noise, snr  what is added, and how far the voice is above it
    telephone   whether it passes through mu-law at 8 kHz
    """

    lead: float
    tail: float
    level: float
    room: int | None = None
    noise: str | None = None
    snr: float = 0.0
    telephone: bool = False

    @property
    def clean(self) -> bool:
        return self.room is None and self.noise is None and not self.telephone


def drawn(rng: np.random.Generator) -> Treatment:
    """Rooms for a quarter of the utterances, noise at 8 to 35 dB for two in five, the telephone
    for one in seven; four in ten are as the voice says them."""
    lead, tail = rng.uniform((0.1, 0.3), (0.5, 0.7))
    room = int(rng.integers(rooms.ROOMS)) if rng.random() < 0.25 else None
    noise = _NOISES[int(rng.integers(len(_NOISES)))] if rng.random() < 0.4 else None
    return Treatment(
        lead=round(float(lead), 3),
        tail=round(float(tail), 3),
        level=round(float(rng.uniform(-34.0, -16.0)), 1),
        room=room,
        noise=noise,
        snr=round(float(rng.uniform(8.0, 35.0)), 1) if noise else 0.0,
        telephone=bool(rng.random() < 0.14),
    )


def treated(
    samples: Samples, rate: int, treatment: Treatment, rng: np.random.Generator, seed: int
) -> Samples:
    """`[samples]` after it; `seed` chooses the rooms, `rng` the noise."""
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    voice = samples * (10 ** (treatment.level / 20) / max(float(level), 1e-6))
    voice = padded(voice.astype(np.float32), rate, treatment.lead, treatment.tail)
    if treatment.room is not None:
        voice = rooms.convolved(voice, rooms.impulse_responses(seed, treatment.room, rate)[0][0])
    if treatment.noise is not None:
        below = 10 ** ((treatment.level - treatment.snr) / 20)
        voice = voice + below * noise_like(treatment.noise, rng, len(voice), rate)
    if treatment.telephone:
        voice = telephone(voice, rate)
    return limited(voice)


def noise_like(kind: str, rng: np.random.Generator, length: int, rate: int) -> Samples:
    """`[length]` samples of a colour or of babble, mean square 1."""
    if kind in COLOURS:
        return coloured(rng, kind, length, rate)
    return babble(rng, length, rate)


def limited(samples: Samples) -> Samples:
    """Turned down as a whole where it would clip."""
    return (samples * min(1.0, 0.98 / max(float(np.abs(samples).max()), 1e-9))).astype(np.float32)


def telephone(samples: Samples, rate: int) -> Samples:
    """The band below 4 kHz, in the steps of mu-law; as long as before."""
    narrow = at_rate(limited(samples), rate, _TELEPHONE)
    wide = at_rate(_LEVELS[np.searchsorted(_BOUNDS, narrow)], _TELEPHONE, rate)
    return np.pad(wide, (0, max(0, len(samples) - len(wide))))[: len(samples)]


_LEVELS = np.unique(expand_mulaw(np.arange(256, dtype=np.uint8)))
_BOUNDS = (_LEVELS[1:] + _LEVELS[:-1]) / 2
