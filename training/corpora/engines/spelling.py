"""How letters and rare words are written so that a program says them as meant."""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        """ay bee see dee ee eff gee aitch eye jay kay el em en oh pee cue are ess tee you vee
        double-you ex why zee""".split(),
        strict=True,
    )
)
FLITE = {
    **{letter: name.replace("-", " ") for letter, name in _NAMES.items()},
    "lima": "leema",
    "tilde": "tilda",
    "xray": "ex ray",
}
"""What the lexicon and the letter-to-sound rules of flite need."""

ESPEAK = {
    **{letter: name.replace("-", " ") for letter, name in _NAMES.items()},
    "A": "[[eI]]",
    "F": "ef",
    "xray": "ex ray",
}
"""espeak-ng takes phonemes of its own in double brackets."""

MISAKI = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        """\u02c8A b\u02c8i s\u02c8i d\u02c8i \u02c8i \u02c8\u025bf \u02a4\u02c8i \u02c8A\u02a7
        \u02c8I \u02a4\u02c8A k\u02c8A \u02c8\u025bl \u02c8\u025bm \u02c8\u025bn \u02c8O p\u02c8i
        kj\u02c8u \u02c8\u0251\u0279 \u02c8\u025bs t\u02c8i j\u02c8u v\u02c8i
        d\u02c8\u028cb\u1d4alju \u02c8\u025bks w\u02c8I z\u02c8i""".split(),
        strict=True,
    )
)
"""Phonemes of the letters in the alphabet of misaki, which Kokoro and hibari share."""


def respelled(script: str, spelling: Mapping[str, str]) -> str:
    """A script with each word as the table has it; the punctuation after a word stays."""
    return " ".join(_word(word, spelling) for word in script.split())


def _word(word: str, spelling: Mapping[str, str]) -> str:
    bare = word.rstrip(".,?!")
    return spelling.get(bare, bare) + word[len(bare) :]
