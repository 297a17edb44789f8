"""Streams: real recordings of words one after the other, as when a number is read out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .clips import Clip
from .grammar import canonical
from .takes import Take, take

_PAUSE = (0.2, 0.8)
"""Seconds between words."""

_Plan = Callable[[np.random.Generator], list[str]]
"""The names of the clips of a stream."""


def streams(allison: Mapping[str, Clip], dawson: Mapping[str, Clip]) -> list[Take]:
    """Words of one speaker one after the other, with pauses as between words that are read out."""
    plans = (
        ("asterisk", "digits", allison, 40, _allison_digits),
        ("asterisk", "letters", allison, 30, _allison_letters),
        ("asterisk", "phonetic", allison, 20, _allison_phonetic),
        ("asterisk", "times", allison, 20, _allison_times),
        ("asterisk", "dates", allison, 15, _allison_dates),
        ("asterisk", "keys", allison, 15, _allison_keys),
        ("saytime", "digits", dawson, 30, _dawson_digits),
        ("saytime", "times", dawson, 30, _dawson_times),
    )
    return [
        _stream(f"{source}-stream-{what}-{number:02d}", clips, plan)
        for source, what, clips, count, plan in plans
        for number in range(count)
    ]


def _stream(name: str, clips: Mapping[str, Clip], plan: _Plan) -> Take:
    rng = np.random.default_rng(list(name.encode()))
    chosen = [clips[key] for key in plan(rng)]
    pauses = np.round(rng.uniform(*_PAUSE, len(chosen) - 1), 3).tolist()
    text = " ".join(canonical(clip.text) for clip in chosen)
    return take(name, "stream", text, chosen, pauses)


def _numbers(rng: np.random.Generator, prefix: str) -> list[str]:
    return [f"{prefix}{n}" for n in rng.integers(10, size=int(rng.integers(3, 9)))]


def _minutes(rng: np.random.Generator, prefix: str) -> list[str]:
    """The clips of a number of minutes from 10 to 59."""
    tens, ones = divmod(int(rng.integers(10, 60)), 10)
    if tens == 1:
        return [f"{prefix}{10 + ones}"]
    return [f"{prefix}{tens * 10}", *([f"{prefix}{ones}"] if ones else [])]


def _allison_digits(rng: np.random.Generator) -> list[str]:
    return _numbers(rng, "digits/")


def _allison_letters(rng: np.random.Generator) -> list[str]:
    chosen = rng.integers(26, size=int(rng.integers(3, 8)))
    return [f"letters/{chr(ord('a') + n)}" for n in chosen]


def _allison_phonetic(rng: np.random.Generator) -> list[str]:
    chosen = rng.integers(26, size=int(rng.integers(3, 7)))
    return [f"phonetic/{chr(ord('a') + n)}_p" for n in chosen]


def _allison_times(rng: np.random.Generator) -> list[str]:
    half = ("digits/a-m", "digits/p-m")[int(rng.integers(2))]
    return [f"digits/{rng.integers(1, 13)}", *_minutes(rng, "digits/"), half]


def _allison_dates(rng: np.random.Generator) -> list[str]:
    day, month = rng.integers((7, 12))
    return [f"digits/day-{day}", f"digits/mon-{month}", f"digits/h-{rng.integers(1, 21)}"]


def _allison_keys(rng: np.random.Generator) -> list[str]:
    keys = (*map(str, range(10)), "star", "pound")
    chosen = [f"digits/{keys[n]}" for n in rng.integers(12, size=int(rng.integers(1, 4)))]
    return ["vm-press", *chosen]


def _dawson_digits(rng: np.random.Generator) -> list[str]:
    return _numbers(rng, "")


def _dawson_times(rng: np.random.Generator) -> list[str]:
    half = ("am", "pm")[int(rng.integers(2))]
    return ["the_time_is", str(rng.integers(1, 13)), *_minutes(rng, ""), half]
