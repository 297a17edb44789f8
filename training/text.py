"""One spelling for text, so that transcripts can be learned and compared."""

from __future__ import annotations

import re
import unicodedata

from .numbers import spell_numbers

_NOTE = re.compile(r"\[[^\[\]]*\]")
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "`": "'"})


def normalise(text: str) -> str:
    """Lower case, numbers spelled out in English, no punctuation, one space between words.

    Notes such as `[noise]` are removed; an apostrophe stays inside a word (`don't`), and so do
    the letters of every script with their accents. The result is a fixed point.
    """
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")  # soft hyphens, joiners
    text = unicodedata.normalize("NFKC", _NOTE.sub(" ", text)).translate(_APOSTROPHES)
    text = unicodedata.normalize("NFC", spell_numbers(text).lower())
    kept = "".join(c if _is_letter(c) or _joins(text, i) else " " for i, c in enumerate(text))
    return " ".join(kept.split())


def _is_letter(character: str) -> bool:
    """Letters, and the marks that belong to them."""
    return unicodedata.category(character)[0] in "LM"


def _joins(text: str, at: int) -> bool:
    """Whether an apostrophe stands between two letters."""
    return text[at] == "'" and all(
        0 <= beside < len(text) and _is_letter(text[beside]) for beside in (at - 1, at + 1)
    )
