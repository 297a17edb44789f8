"""Sentences of the commands: digits, letters, the phonetic alphabet, numbers, times, prompts.

The language is closed: every word is in `words.py`. A sentence has a class, by which errors are
counted, and one or more parts; between parts there is a pause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from ..numbers import cardinal
from ..text import normalise
from .words import (
    DATES,
    DAYS,
    DIGITS,
    LETTERS,
    MONTHS,
    NUMBERS,
    ORDINALS,
    PHONETIC,
    PROMPTS,
    SYMBOLS,
    TENS,
    TIMES,
)

_HOMOPHONES = {"oh": "o"}
"""Written one way where nothing but the spelling tells two words apart."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is said: `parts` are scripts as in `words.py`."""

    kind: str
    parts: tuple[str, ...]

    @property
    def scripts(self) -> list[str]:
        """Its words as scripts, one by one."""
        return " ".join(self.parts).split()

    @property
    def text(self) -> str:
        return canonical(" ".join(self.parts))


def canonical(script: str) -> str:
    """The text of a script or of a packaged text: normalised, homophones written one way."""
    return " ".join(_HOMOPHONES.get(word, word) for word in normalise(script).split())


def sentences(seed: int, count: int) -> Iterator[Sentence]:
    """`count` sentences; each follows from `seed` and its place alone.

    Three in ten are single words and whole prompts, each as often as the others of its class.
    """
    for place in range(count):
        rng = np.random.default_rng([seed, place])
        yield _single(place // 3) if place % 10 in (0, 3, 6) else _longer(rng)


def composed(seed: int, count: int) -> Iterator[Sentence]:
    """`count` sentences more: three in five are times, dates, keys and numbers put together from
    recordings of words, as machines that speak do it; the others are prompts, each as often."""
    for place in range(count):
        rng = np.random.default_rng([seed, place, _COMPOSED])
        yield _apart(rng) if place % 5 < 3 else Sentence("prompt", (PROMPTS[place % len(PROMPTS)],))


_SAMPLE = (77, 20_000, 4_000)
"""A seed that no corpus has by default; how many of each kind."""


def sample() -> list[str]:
    """Texts of sentences as often as they are said, for a closed language; sorted."""
    seed, fluent, apart = _SAMPLE
    every = chain(sentences(seed, fluent), composed(seed, apart))
    return sorted(sentence.text for sentence in every)


_COMPOSED = 1
"""Tells their random numbers from those of the other sentences."""

_SINGLES: tuple[tuple[str, Sequence[str]], ...] = (
    ("digit", DIGITS),
    ("letter", LETTERS),
    ("phonetic", PHONETIC),
    ("letter", LETTERS),
    ("number", NUMBERS),
    ("digit", DIGITS),
    ("letter", LETTERS),
    ("symbol", SYMBOLS),
    ("number", NUMBERS),
    ("date", DATES),
    ("phonetic", PHONETIC),
    ("time", TIMES),
    ("prompt", PROMPTS),
    ("symbol", SYMBOLS),
    ("phonetic", PHONETIC),
    ("prompt", PROMPTS),
)


def _single(place: int) -> Sentence:
    """Classes in turn, and in each class its words in turn."""
    turn, at = divmod(place, len(_SINGLES))
    kind, words = _SINGLES[at]
    before = [i for i, (other, _) in enumerate(_SINGLES) if other == kind]
    return Sentence(kind, (words[(turn * len(before) + before.index(at)) % len(words)],))


def _longer(rng: np.random.Generator) -> Sentence:
    weights = np.array([weight for _, weight in _KINDS], float)
    make, _ = _KINDS[int(rng.choice(len(_KINDS), p=weights / weights.sum()))]
    return make(rng)


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _some(
    rng: np.random.Generator, words: Sequence[str], fewest: int, most: int
) -> tuple[str, ...]:
    return tuple(_pick(rng, words) for _ in range(int(rng.integers(fewest, most + 1))))


def _digits(rng: np.random.Generator) -> Sentence:
    return Sentence("digit", (" ".join(_some(rng, DIGITS, 2, 8)),))


def _letters(rng: np.random.Generator) -> Sentence:
    return Sentence("letter", (" ".join(_some(rng, LETTERS, 2, 7)),))


def _phonetic(rng: np.random.Generator) -> Sentence:
    return Sentence("phonetic", (" ".join(_some(rng, PHONETIC, 2, 6)),))


def _code(rng: np.random.Generator) -> Sentence:
    words = (_pick(rng, (LETTERS, DIGITS)[int(rng.integers(2))]) for _ in range(rng.integers(3, 7)))
    return Sentence("letter", (" ".join(words),))


def _symbols(rng: np.random.Generator) -> Sentence:
    return Sentence("symbol", (" ".join(_some(rng, SYMBOLS, 2, 3)),))


def _number(rng: np.random.Generator) -> Sentence:
    size = int(rng.integers(2, 7))
    words = cardinal(int(rng.integers(10 ** (size - 1), 10**size)))
    if size > 4:
        words = cardinal(int(rng.integers(1, 100)) * 1000 ** int(rng.integers(1, 4)))
    return Sentence("number", (f"minus {words}" if rng.random() < 0.1 else words,))


def _ordinal(rng: np.random.Generator) -> Sentence:
    tens, ones = _pick(rng, TENS), _pick(rng, ORDINALS[:9])
    return Sentence("number", (f"{tens} {ones}",))


def _date(rng: np.random.Generator) -> Sentence:
    day = _pick(rng, ORDINALS[:20])
    if rng.random() < 0.3:
        day = f"{_pick(rng, TENS[:1])} {_pick(rng, ORDINALS[:9])}"
    begin = f"{_pick(rng, DAYS)} " if rng.random() < 0.5 else ""
    return Sentence("date", (f"{begin}{_pick(rng, MONTHS)} {day}",))


_OPENINGS = ("", "it is", "the time is", "at", "at exactly")
_HALVES = ("", "", "A M", "P M")


def _time(rng: np.random.Generator) -> Sentence:
    hour, minute = int(rng.integers(1, 13)), int(rng.integers(60))
    said = cardinal(minute) if minute >= 10 else f"oh {cardinal(minute)}"
    if rng.random() < 0.15:
        said = "o'clock"
    words = (_pick(rng, _OPENINGS), cardinal(hour), said, _pick(rng, _HALVES))
    return Sentence("time", (" ".join(word for word in words if word),))


def _duration(rng: np.random.Generator) -> Sentence:
    counts = [int(n) for n in rng.integers(0, (24, 60, 60))]
    units = [
        f"{cardinal(n)} {unit}{'' if n == 1 else 's'}"
        for n, unit in zip(counts, ("hour", "minute", "second"), strict=True)
    ]
    first = int(rng.integers(3))
    words = " and ".join(units[first : first + 2])
    return Sentence("time", (words,))


_KEYS = (*DIGITS[:10], "star", "pound")
_PURPOSES = (
    *"""for help|for more entries|for advanced options|for the previous message|to cancel|
    to cancel this message|to call this number|to enter a number|to listen to it|to send a reply|
    to leave a message|to delete this message|to undelete this message|to save this message|
    to reach an operator|to exit the menu|to leave the conference""".replace("\n", "").split("|"),
)


def _press(rng: np.random.Generator) -> Sentence:
    begin = _pick(rng, ("press", "press", "press", "or", "then press", "please press"))
    end = f" {_pick(rng, _PURPOSES).strip()}" if rng.random() < 0.5 else ""
    return Sentence("prompt", (f"{begin} {_pick(rng, _KEYS)}{end}",))


def _prompt(rng: np.random.Generator) -> Sentence:
    return Sentence("prompt", (_pick(rng, PROMPTS),))


def _stream(rng: np.random.Generator) -> Sentence:
    """Words of one class said one by one."""
    words = (DIGITS, LETTERS, PHONETIC, NUMBERS)[int(rng.choice(4, p=[0.3, 0.3, 0.3, 0.1]))]
    return Sentence("stream", _some(rng, words, 3, 7))


def _apart(rng: np.random.Generator) -> Sentence:
    """A sentence whose words are said one by one, some with the next."""
    make = (_time, _time, _time, _date, _press, _number)[int(rng.integers(6))]
    parts: list[str] = []
    for word in make(rng).scripts:
        if parts and rng.random() < 0.25:
            parts[-1] = f"{parts[-1]} {word}"
        else:
            parts.append(word)
    return Sentence("stream", tuple(parts))


_KINDS: tuple[tuple[Callable[[np.random.Generator], Sentence], float], ...] = (
    (_digits, 13),
    (_letters, 16),
    (_phonetic, 17),
    (_code, 8),
    (_symbols, 4),
    (_number, 6),
    (_ordinal, 2),
    (_date, 4),
    (_time, 7),
    (_duration, 3),
    (_press, 5),
    (_prompt, 10),
    (_stream, 10),
)
