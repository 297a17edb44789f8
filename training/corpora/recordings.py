"""Real recordings of the commands: single words, prompts, and words joined to streams.

What is in the test set follows from the packages alone, whatever the seed of a build.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from . import asterisk, saytime
from .clips import Clip
from .grammar import canonical
from .packages import Shelf
from .splits import digest
from .streams import streams
from .takes import Take, take
from .words import DATES, DIGITS, LETTERS, NUMBERS, PHONETIC, PROMPTS, SYMBOLS, TIMES

_DEV_PERMILLE = 300
"""Of the prompts, by their text."""

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
    dev = [one for one in prompts if _is_dev(one.text)]
    test = [one for one in prompts if not _is_dev(one.text)]
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
    return take(f"{source}-{clip.name}", kind, text, [clip], [])


def _prompt(clip: Clip) -> Take:
    return take(f"asterisk-{clip.name}", "prompt", canonical(clip.text), [clip], [])
