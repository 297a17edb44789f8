"""Recordings of a corpus, and what can be done to their samples."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...runtime.resample import resampled
from ...runtime.samples import Samples, library

_FRAME = 0.01
"""Seconds over which the level is taken."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording: its `text` as the package has it, its sample rate (Hz).

    `name` is unique in a corpus. `read` decodes the samples, `[samples]` in [-1, 1].
    """

    name: str
    text: str
    speaker: str
    rate: int
    read: Callable[[], Samples]


def at_rate(samples: Samples, rate: int, wanted: int) -> Samples:
    """`[samples]` at another sample rate; n samples give round(n * wanted / rate)."""
    parts = list(resampled([np.ascontiguousarray(samples, np.float32)], rate, wanted))
    return np.clip(np.concatenate(parts), -1.0, 1.0)


def trimmed(samples: Samples, rate: int, *, below: float = -46.0, keep: float = 0.05) -> Samples:
    """Without the silence at both ends, but for `keep` seconds.

    Silence is what lies `below` dB under the loudest 10 ms.
    """
    frame = round(_FRAME * rate)
    if len(samples) < 2 * frame:
        return samples
    whole = samples[: len(samples) // frame * frame].reshape(-1, frame)
    level = np.sqrt((whole.astype(np.float64) ** 2).mean(axis=1))
    loud = np.flatnonzero(level > level.max() * 10 ** (below / 20))
    if not len(loud):
        return samples
    margin = round(keep * rate)
    first, last = loud[0] * frame - margin, (loud[-1] + 1) * frame + margin
    return samples[max(0, first) : last]


def padded(samples: Samples, rate: int, lead: float, tail: float) -> Samples:
    """With `lead` seconds of silence before it and `tail` after it."""
    return np.pad(samples, (round(lead * rate), round(tail * rate)))


def joined(parts: Sequence[Samples], rate: int, pauses: Sequence[float]) -> Samples:
    """Parts one after the other; `pauses[i]` seconds of silence follow part i, none the last."""
    pieces = [padded(part, rate, 0.0, gap) for part, gap in zip(parts, [*pauses, 0.0], strict=True)]
    return np.concatenate(pieces)


def flac(samples: Samples, rate: int) -> bytes:
    """A FLAC file of 16-bit samples; `[samples]` or `[channels, samples]`."""
    soundfile, buffer = library("soundfile", "soundfile"), io.BytesIO()
    whole = np.round(np.clip(samples.T, -1.0, 1.0) * 32767.0).astype(np.int16)
    soundfile.write(buffer, whole, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
