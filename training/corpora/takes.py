"""Takes: real recordings at one rate, a clip each or several joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...runtime.samples import Samples
from .clips import Clip, at_rate, joined, padded, trimmed
from .recipes import RATE

_LEAD, _TAIL = 0.2, 0.4
"""Seconds of silence around a recording; the packages cut it off."""


@dataclass(frozen=True, slots=True)
class Take:
    """A recording, or several joined: `[samples]` at 16 kHz, and the clips it is made of."""

    name: str
    kind: str
    text: str
    speaker: str
    samples: Samples
    clips: tuple[str, ...]


def take(name: str, kind: str, text: str, clips: Sequence[Clip], pauses: Sequence[float]) -> Take:
    """A take of clips of one speaker; `pauses` (seconds) are between clips, which are trimmed."""
    parts = [at_rate(clip.read(), clip.rate, RATE) for clip in clips]
    whole = joined([trimmed(part, RATE) for part in parts] if pauses else parts, RATE, pauses)
    samples = padded(whole, RATE, _LEAD, _TAIL)
    names = tuple(clip.name for clip in clips)
    return Take(name.replace("/", "-"), kind, text, clips[0].speaker, samples, names)
