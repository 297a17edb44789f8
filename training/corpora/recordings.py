"""Real recordings of the commands: single words, prompts, and words joined to streams.

What is in the test set follows from the packages alone, whatever the seed of a build.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...runtime.samples import Samples
from . import asterisk, saytime
from .clips import Clip, at_rate, joined, padded, trimmed
from .grammar import canonical
from .packages import Shelf
from .recipes import RATE
from .splits import digest
from .words import (
    DATES,
    DIGITS,
    LETTERS,
    NUMBERS,
    PHONETIC,
    PROMPTS,
    SYMBOLS,
    TIMES,
)

_LEAD, _TAIL = 0.2, 0.4
"""Seconds of silence around a recording; the packages cut it off."""

_PAUSE = (0.2, 0.8)
_DEV_PERMILLE = 300
_STREAMED = frozenset({"press"})
"""Prompts that streams are made of; those are tested."""

_KINDS: Mapping[str, str] = {
    canonical(word): kind
    for kind, words in (
        ("time", TIMES),
        ("date", DATES),
        ("symbol", SYMBOLS),
        ("number", NUMBERS),
        ("phonetic", PHONETIC),
        ("letter", LETTERS),
        ("digit", DIGITS),
    )
    for word in words
}
_PROMPTS = frozenset(map(canonical, PROMPTS))

_Plan = Callable[[np.random.Generator], list[str]]
"""The names of the clips of a stream."""


@dataclass(frozen=True, slots=True)
class Take:
    """A recording, or several joined: `[samples]` at 16 kHz, and the clips it is made of."""

    name: str
    kind: str
    text: str
    speaker: str
    samples: Samples
    clips: tuple[str, ...]


def split(shelf: Shelf) -> tuple[list[Take], list[Take]]:
    """The test set and the real part of the development set; they share no sentence.

    Raises AsrcError E1003 where a package is missing or changed.
    """
    return split_clips(asterisk.clips(shelf), saytime.clips(shelf))


def split_clips(allison: Iterable[Clip], dawson: Iterable[Clip]) -> tuple[list[Take], list[Take]]:
    """Three in ten prompts are for development, by their text; everything else is tested."""
    first = {clip.name: clip for clip in allison}
    second = {clip.name: clip for clip in dawson}
    words = [_word("asterisk", clip) for clip in first.values() if _is_word(clip)]
    words += [_word("saytime", clip) for clip in second.values()]
    prompts = [_prompt(clip) for clip in first.values() if _is_prompt(clip)]
    dev = [take for take in prompts if _is_dev(take.text)]
    test = [take for take in prompts if not _is_dev(take.text)]
    return [*words, *test, *streams(first, second)], dev


def _is_word(clip: Clip) -> bool:
    return clip.name.startswith(("digits/", "letters/", "phonetic/"))


def _is_prompt(clip: Clip) -> bool:
    return not _is_word(clip) and canonical(clip.text) in _PROMPTS


def _is_dev(text: str) -> bool:
    return text not in _STREAMED and digest(text) < _DEV_PERMILLE


def _word(source: str, clip: Clip) -> Take:
    text = canonical(clip.text)
    kind = (
        "letter"
        if clip.name.startswith("letters/") and len(text) == 1
        else _KINDS.get(text, "time")
    )
    return _take(f"{source}-{clip.name}", kind, text, [clip], [])


def _prompt(clip: Clip) -> Take:
    return _take(f"asterisk-{clip.name}", "prompt", canonical(clip.text), [clip], [])


def _take(name: str, kind: str, text: str, clips: Sequence[Clip], pauses: Sequence[float]) -> Take:
    parts = [at_rate(clip.read(), clip.rate, RATE) for clip in clips]
    whole = joined([trimmed(part, RATE) for part in parts] if pauses else parts, RATE, pauses)
    samples = padded(whole, RATE, _LEAD, _TAIL)
    names = tuple(clip.name for clip in clips)
    return Take(name.replace("/", "-"), kind, text, clips[0].speaker, samples, names)


# --- streams ---------------------------------------------------------------------------------


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
    return _take(name, "stream", text, chosen, pauses)


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
