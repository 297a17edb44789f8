"""A closed language from a text file: a sentence a line, as often as it is likely."""

from __future__ import annotations

from pathlib import Path

from ..compiler.diagnostics import AsrcError
from ..compiler.files import read_bytes
from .decode import ClosedLanguage
from .pieces import vocabulary_error
from .vocabulary import Vocabulary

WEIGHT = 0.3
"""How much a sentence's probability counts beside that of the audio."""

BONUS = 0.15
"""What every label earns, in nats."""

BEAM = 16
"""Hypotheses; these three are the best of docs/results/commands.md, on its development set."""


def read_sentences(path: Path, vocabulary: Vocabulary | None = None) -> list[str]:
    """The lines that are not empty.

    Raises AsrcError E0008, and E1004 where there is none or a vocabulary cannot spell one.
    """
    lines = read_bytes(path).decode("utf-8-sig", "replace").splitlines()
    found = {number: " ".join(line.split()) for number, line in enumerate(lines, start=1)}
    for number, line in found.items():
        if vocabulary is not None:
            _check_spelling(vocabulary, line, f"{path}:{number}")
    if sentences := [line for line in found.values() if line]:
        return sentences
    raise vocabulary_error(f"`{path}` has no sentence", "write one a line, normalised")


def _check_spelling(vocabulary: Vocabulary, line: str, place: str) -> None:
    try:
        for word in line.split():
            vocabulary.encode(word)
    except AsrcError as error:
        problem = error.diagnostics[0]
        help = "normalise the line, or leave it out: the labels are those of the training"
        raise vocabulary_error(f"{place}: {problem.message}", help) from None


def closed_language(
    vocabulary: Vocabulary, sentences: list[str], weight: float = WEIGHT, bonus: float = BONUS
) -> ClosedLanguage:
    """Words of normalised sentences, spelled as a vocabulary does.

    Raises AsrcError E1004 where it cannot spell one.
    """
    space = _separator(vocabulary)
    spelled = ([vocabulary.encode(word) for word in line.split()] for line in sentences)
    return ClosedLanguage(spelled, vocabulary.size, separator=space, weight=weight, bonus=bonus)


def _separator(vocabulary: Vocabulary) -> int | None:
    """The label of a space, where spaces have one of their own."""
    try:
        found = vocabulary.encode(" ")
    except AsrcError:  # characters of texts that never had two words
        return None
    return found[0] if len(found) == 1 else None
