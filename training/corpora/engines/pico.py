"""SVOX Pico, a small voice of hidden Markov models, an American and a British one (py-nanotts).

Its pitch is set apart from its formants, so that one name is several speakers with `shift`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ....runtime.samples import Samples
from ..modules import needed
from .spelling import PICO, respelled

RATE = 16_000
_VOLUME = 0.5
"""Of its own loudness, at which it clips."""

_SLOWEST, _FASTEST = 0.2, 5.0


def say_pico(script: str, voice: str, speed: float) -> tuple[Samples, int]:
    """`[samples]` and their rate (Hz); `voice` is an accent and how high it speaks: `en-GB:1.2`.

    Raises AsrcError E1003 where py-nanotts is not installed.
    """
    accent, _, pitch = voice.partition(":")
    pcm = _engine().speak(
        respelled(script, PICO),
        voice=accent,
        speed=min(max(speed, _SLOWEST), _FASTEST),
        pitch=float(pitch or 1.0),
        volume=_VOLUME,
    )
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768), RATE


@cache
def _engine() -> Any:
    return needed("py_nanotts", "py-nanotts", "speaks").NanoTTS()
