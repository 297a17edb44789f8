"""Word error rates: what was said against what was recognised.

Word error rate = (substitutions + deletions + insertions) / words of the reference, over all
utterances together. Texts are compared as they are; normalise both in the same way first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Literal

import jiwer

from ..compiler.diagnostics import AsrcError, diagnostic
from .bootstrap import difference_interval, interval

Kind = Literal["hit", "substitution", "deletion", "insertion"]

_KINDS: dict[str, Kind] = {
    "equal": "hit",
    "substitute": "substitution",
    "delete": "deletion",
    "insert": "insertion",
}


@dataclass(frozen=True, slots=True)
class Transcript:
    """One utterance, what was said and what was recognised; either may be empty.

    `classes` say what it is, for one table each: `{"speaker": "f03", "noise": "0dB"}`. `audio`,
    from second `start` on for `seconds`, is for the page.
    """

    id: str
    reference: str
    hypothesis: str
    classes: Mapping[str, str] = field(default_factory=dict)
    audio: Path | None = None
    start: float = 0.0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """A place of an alignment; the word that is missing on one side is empty."""

    kind: Kind
    reference: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each kind occurs."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )

    @property
    def words(self) -> int:
        return self.hits + self.substitutions + self.deletions

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """The word error rate, 1 being 100 %; None where nothing was said."""
        return self.errors / self.words if self.words else None


@dataclass(frozen=True, slots=True)
class Scored:
    """An utterance and its alignment, one with the fewest errors."""

    transcript: Transcript
    edits: tuple[Edit, ...]
    counts: Counts


@dataclass(frozen=True, slots=True)
class Summary:
    """Several utterances: counts, how many have no error, the rate's 95 % interval."""

    utterances: int
    correct: int
    counts: Counts
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Report:
    """All utterances, and by the value of each class; utterances in the order given.

    `left_out` counts what could not be scored, by its reason.
    """

    total: Summary
    classes: Mapping[str, Mapping[str, Summary]]
    utterances: tuple[Scored, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def worst(self, count: int) -> list[Scored]:
        """Most errors first; among equals the higher rate, then the given order."""
        wrong = [one for one in self.utterances if one.counts.errors]
        wrong.sort(key=lambda one: (-one.counts.errors, one.counts.words))
        return wrong[:count]


def report(transcripts: Iterable[Transcript], *, seed: int = 0, draws: int = 1000) -> Report:
    """Score utterances. `seed` and `draws` are those of the bootstrap.

    Raises AsrcError E1005 where there is no utterance.
    """
    scored = tuple(map(score, transcripts))
    if not scored:
        message = "there is no utterance to score"
        raise AsrcError(diagnostic("E1005", message, help="give a manifest with utterances"))
    names = dict.fromkeys(name for one in scored for name in one.transcript.classes)
    classes = {
        name: {value: summarise(part, seed, draws) for value, part in _parts(scored, name).items()}
        for name in names
    }
    return Report(summarise(scored, seed, draws), classes, scored)


def score(transcript: Transcript) -> Scored:
    """Align one utterance."""
    reference, hypothesis = transcript.reference.split(), transcript.hypothesis.split()
    found = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    edits = tuple(
        Edit(_KINDS[chunk.type], said, heard)
        for chunk in found.alignments[0]
        for said, heard in _pairs(chunk, reference, hypothesis)
    )
    counts = Counts(found.hits, found.substitutions, found.deletions, found.insertions)
    return Scored(transcript, edits, counts)


def summarise(scored: Sequence[Scored], seed: int = 0, draws: int = 1000) -> Summary:
    """Counts and the bootstrap interval of some utterances."""
    errors = [one.counts.errors for one in scored]
    words = [one.counts.words for one in scored]
    counts = reduce(Counts.__add__, (one.counts for one in scored), Counts())
    ends = interval(errors, words, seed=seed, draws=draws)
    return Summary(len(scored), errors.count(0), counts, ends)


def compare(first: Report, second: Report, *, seed: int = 0) -> tuple[float, float] | None:
    """The 95 % interval of the first word error rate less the second, paired by utterance.

    Raises AsrcError E1005 where the two do not score the same utterances.
    """
    ours, theirs = (
        {(s.transcript.id, s.transcript.reference): s for s in r.utterances}
        for r in (first, second)
    )
    if ours.keys() != theirs.keys():
        message = "the two results are not of the same utterances"
        raise AsrcError(diagnostic("E1005", message, help="score both on one manifest"))
    return difference_interval(
        [one.counts.errors for one in ours.values()],
        [theirs[key].counts.errors for key in ours],
        [one.counts.words for one in ours.values()],
        seed=seed,
    )


def _parts(scored: Sequence[Scored], name: str) -> dict[str, list[Scored]]:
    parts: dict[str, list[Scored]] = {}
    for one in scored:
        parts.setdefault(one.transcript.classes.get(name, ""), []).append(one)
    return dict(sorted(parts.items()))


def _pairs(
    chunk: jiwer.AlignmentChunk, reference: list[str], hypothesis: list[str]
) -> Iterable[tuple[str, str]]:
    said = reference[chunk.ref_start_idx : chunk.ref_end_idx]
    heard = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
    width = max(len(said), len(heard))
    said, heard = said + [""] * (width - len(said)), heard + [""] * (width - len(heard))
    return zip(said, heard, strict=True)
