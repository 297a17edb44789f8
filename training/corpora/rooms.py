"""Rooms: impulse responses from a point source to microphones.

With pyroomacoustics: image sources in a shoebox (Allen and Berkley 1979). Without it: a direct
sound, then noise that decays by 60 dB in the reverberation time.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module, metadata
from typing import Any

import numpy as np

from ...runtime.samples import Samples

ROOMS = 48
"""Rooms of one seed."""

_REVERBERATION = (0.15, 0.6)
"""Seconds until 60 dB below."""


@cache
def method() -> str:
    """How rooms are made here, with the version."""
    try:
        import_module("pyroomacoustics")
    except (ImportError, OSError):
        return "decaying noise"
    return f"pyroomacoustics {metadata.version('pyroomacoustics')}"


@cache
def impulse_responses(
    seed: int, room: int, rate: int, *, microphones: int = 1, sources: int = 1
) -> tuple[tuple[Samples, ...], ...]:
    """`[sources][microphones]` responses `[taps]` of a room, the same for the same arguments.

    All begin at the first direct sound of the first source, which has a peak of 1 at the first
    microphone, so that a recording keeps its level and its time.
    """
    rng = np.random.default_rng([seed, room, microphones, sources])
    make = _decay if method() == "decaying noise" else _shoebox
    found = make(rng, rate, microphones, sources)
    peak = int(np.abs(found[0][0]).argmax())
    level = float(np.abs(found[0][0]).max())
    start = min(peak, *(int(np.abs(r).argmax()) for r in found[0]))
    return tuple(tuple((r[start:] / level).astype(np.float32) for r in of) for of in found)


def convolved(samples: Samples, response: Samples) -> Samples:
    """`[samples]` heard through a response `[taps]`; as long as before."""
    size = 1 << int(len(samples) + len(response) - 1).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)


def _shoebox(rng: np.random.Generator, rate: int, microphones: int, sources: int) -> Any:
    acoustics: Any = import_module("pyroomacoustics")
    size = rng.uniform((3.0, 2.6, 2.4), (8.0, 6.0, 3.4))
    absorption, order = acoustics.inverse_sabine(float(rng.uniform(*_REVERBERATION)), size)
    room = acoustics.ShoeBox(
        size, fs=rate, materials=acoustics.Material(min(absorption, 0.95)),
        max_order=min(order, 12),
    )  # fmt: skip
    centre = rng.uniform(0.9, size - 0.9)
    for _ in range(sources):
        room.add_source(_near(rng, centre, size))
    room.add_microphone_array(_array(centre, microphones))
    room.compute_rir()
    return [[room.rir[m][s] for m in range(microphones)] for s in range(sources)]


def _near(rng: np.random.Generator, centre: Any, size: Any) -> Any:
    """A place 0.5 m to 3 m from the microphones, 0.3 m or more from the walls."""
    direction = rng.standard_normal(3) * (1.0, 1.0, 0.3)
    step = direction / np.linalg.norm(direction) * rng.uniform(0.5, 3.0)
    place = np.clip(centre + step, 0.3, size - 0.3)
    return place if np.linalg.norm(place - centre) > 0.3 else np.full(3, 0.3)


def _array(centre: Any, microphones: int) -> Any:
    """`[3, microphones]`: in a circle of 10 cm across, or one in its centre."""
    turn = 2 * np.pi * np.arange(microphones) / microphones
    radius = 0.05 if microphones > 1 else 0.0
    circle = np.stack([np.cos(turn), np.sin(turn), 0 * turn]) * radius
    return np.asarray(centre)[:, None] + circle


def _decay(rng: np.random.Generator, rate: int, microphones: int, sources: int) -> Any:
    """The louder the direct sound over the rest, the nearer the speaker."""
    found = []
    for _ in range(sources):
        reverberation, direct = rng.uniform(*_REVERBERATION), rng.uniform(3.0, 12.0)
        time = np.arange(round(reverberation * rate)) / rate
        envelope = np.exp(-6.9 * time / reverberation)
        tails = [envelope * rng.standard_normal(len(time)) for _ in range(microphones)]
        for tail in tails:
            tail[0] = direct
        found.append(tails)
    return found
