"""Sittings: a voice says some words and prompts once each, and utterances are put together of them.

This is how the real test recordings came about: words said alone, by one voice at one tempo. A word
is heard in many places for the price of one, so that rare words are as frequent as digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from . import treatment, voices
from .grammar import Sentence
from .recipes import Recipe, tempo
from .voices import SITTING, Family, Voice
from .words import DATES, DIGITS, LETTERS, NUMBERS, PHONETIC, PROMPTS, SYMBOLS, TIMES

SIZE = 64
"""Utterances of a sitting."""

_TELEPHONE = 0.3
"""The share of utterances that come through one."""

_DECKS: tuple[tuple[str, Sequence[str], int], ...] = (
    ("digit", DIGITS, 8),
    ("letter", LETTERS, 14),
    ("phonetic", PHONETIC, 12),
    ("number", NUMBERS, 14),
    ("symbol", SYMBOLS, 6),
    ("date", DATES, 6),
    ("time", TIMES, 3),
    ("prompt", PROMPTS, 18),
)
"""A class, its words, and how many of them a sitting has."""

_DEAR = 3
"""Divides these numbers for an engine that is slower than speech."""

_TURNS = ("single", "prompt", "stream", "stream") * 2 + ("single", "prompt", "prompt", "stream")
"""What the utterances of a sitting are, again and again."""

Cards = dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Sitting:
    """Who speaks, how fast, and what there is of each class."""

    voice: Voice
    speed: float
    cards: Cards


def sittings(
    seed: int, count: int, families: tuple[Family, ...] = SITTING, prefix: str = "s"
) -> Iterator[Recipe]:
    """Recipes of `count` utterances; each follows from `seed` and its place alone."""
    for place in range(count):
        name = f"{prefix}-{place:05d}"
        yield _utterance(_sitting(seed, place // SIZE, families), seed, place, name)


@cache
def _sitting(seed: int, number: int, families: tuple[Family, ...]) -> Sitting:
    rng = np.random.default_rng([seed, number, *b"sitting"])
    voice = voices.drawn(rng, families)
    part = _DEAR if voice.engine == "kokoro" else 1
    cards = {kind: _dealt(words, seed, number * most, most // part) for kind, words, most in _DECKS}
    return Sitting(voice, tempo(rng), cards)


def _dealt(words: Sequence[str], seed: int, first: int, count: int) -> tuple[str, ...]:
    """`count` cards from the one at `first`, of decks that are shuffled one after the other."""
    places = (divmod(place, len(words)) for place in range(first, first + count))
    return tuple(dict.fromkeys(_shuffled(tuple(words), seed, turn)[at] for turn, at in places))


@cache
def _shuffled(words: tuple[str, ...], seed: int, turn: int) -> tuple[str, ...]:
    order = np.random.default_rng([seed, turn, len(words)]).permutation(len(words))
    return tuple(words[at] for at in order)


def _utterance(sitting: Sitting, seed: int, place: int, name: str) -> Recipe:
    rng = np.random.default_rng([seed, place, *name.encode()])
    said = _said(sitting.cards, place % SIZE, rng)
    return Recipe(
        name=name,
        kind=said.kind,
        text=said.text,
        scripts=tuple(f"{part}." for part in said.parts),
        pauses=tuple(np.round(rng.uniform(0.1, 0.8, len(said.parts) - 1), 3).tolist()),
        voice=sitting.voice,
        speed=sitting.speed,
        way=replace(treatment.drawn(rng), telephone=bool(rng.random() < _TELEPHONE)),
        seed=seed,
    )


def _said(cards: Cards, turn: int, rng: np.random.Generator) -> Sentence:
    """Prompts in turn; single words of all classes; streams of one class, or of several."""
    what = _TURNS[turn % len(_TURNS)]
    words = [(kind, word) for kind in cards if kind != "prompt" for word in cards[kind]]
    if what == "prompt":
        return Sentence("prompt", (cards["prompt"][turn % len(cards["prompt"])],))
    if what == "single":
        kind, word = words[int(rng.integers(len(words)))]
        return Sentence(kind, (word,))
    kinds = [kind for kind in cards if kind != "prompt"]
    if rng.random() < 0.6:
        kind = kinds[int(rng.integers(len(kinds)))]
        words = [card for card in words if card[0] == kind]
    chosen = rng.integers(len(words), size=int(rng.integers(2, 8)))
    return Sentence("stream", tuple(words[at][1] for at in chosen))
