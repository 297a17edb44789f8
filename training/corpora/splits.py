"""Which sentence trains, and which is tested: by a digest of its words, so that no list is kept.

The same sentence never stands on both sides, and every word of the test set occurs in training.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_VOWEL = re.compile(r"[aeiouy]")
_TRIPLED = re.compile(r"(.)\1\1")
_LONGEST = 12.0
"""Seconds."""

_PACE = (2.5, 28.0)
"""Characters a second; outside of it, text and audio do not belong together."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Permille of the sentences below `test` are tested, those below `dev` are for development.

    A word of a tested sentence must occur `seen` times or more in training.
    """

    test: int
    dev: int
    seen: int


PROMPTS = Rule(test=250, dev=320, seen=1)
TALKIE = Rule(test=60, dev=100, seen=2)


def digest(text: str) -> int:
    """0 to 999 for a normalised text, the same on every machine."""
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(), 16) % 1000


def usable(text: str, seconds: float, *, verbatim: bool = False) -> bool:
    """Whether a normalised text can be what is said in so many seconds.

    Not so: no text, longer than 12 s, and, unless the texts are known to be `verbatim`: no vowel,
    a letter three times in a row (a shout), or a pace that nobody speaks at.
    """
    if not text or not 0 < seconds <= _LONGEST:
        return False
    if verbatim:
        return True
    shout = _TRIPLED.search(text) or not _VOWEL.search(text)
    return not shout and _PACE[0] <= len(text) / seconds <= _PACE[1]


def split(texts: Sequence[str], rule: Rule) -> list[str]:
    """`train`, `dev` or `test` for each normalised text.

    A single word trains; so does a sentence with a word that training would have too seldom.
    """
    places = [_place(text, rule) for text in texts]
    words = Counter(
        word
        for text, place in zip(texts, places, strict=True)
        if place == "train"
        for word in text.split()
    )
    known = {word for word, count in words.items() if count >= rule.seen}
    return [
        place if known.issuperset(text.split()) else "train"
        for text, place in zip(texts, places, strict=True)
    ]


def _place(text: str, rule: Rule) -> str:
    number = digest(text)
    if " " not in text or number >= rule.dev:
        return "train"
    return "test" if number < rule.test else "dev"
