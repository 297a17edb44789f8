"""Which utterances of a manifest can be trained on, and why the others cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.files import printable
from ..runtime.vocabulary import Vocabulary
from .manifest import Utterance

NO_LABEL = "not in the vocabulary"
"""Why a text is left out that the vocabulary cannot spell."""

_ROUNDING = 1e-6
"""Frames; 0.6 s has 15 frames of 40 ms, although 0.6 / 0.04 is a little less in floats."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an utterance needs: seconds of audio and, with CTC, frames for its labels.

    `period` is the time of one frame of the encoder in seconds where a CTC loss reads it, else
    None: a transducer emits any number of labels in a frame.
    """

    shortest: float = 0.1
    longest: float = 30.0
    period: float | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """An utterance that is left out; `reason` is one of a few, `detail` says more or nothing."""

    id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is trained on, and what is not."""

    kept: tuple[Utterance, ...]
    skipped: tuple[Skipped, ...]

    @property
    def report(self) -> str:
        """`1203 of 1250 utterances, 3.41 h (skipped: 30 too long, 17 no text)`."""
        hours = sum(utterance.duration for utterance in self.kept) / 3600
        total = len(self.kept) + len(self.skipped)
        why = count_reasons(self.skipped)
        line = f"{len(self.kept)} of {total} utterances, {hours:.2f} h"
        return f"{line} (skipped: {why})" if why else line


def count_reasons(skipped: Iterable[Skipped]) -> str:
    """How many utterances each reason cost, most first: `30 too long, 17 no text`."""
    counts = Counter(skip.reason for skip in skipped)
    most_first = sorted(counts, key=lambda reason: (-counts[reason], reason))
    return ", ".join(f"{counts[reason]} {reason}" for reason in most_first)


def select_utterances(
    utterances: Iterable[Utterance], vocabulary: Vocabulary, limits: Limits | None = None
) -> Selection:
    """The utterances that fit `limits`, have labels, and whose audio is there, in their order.

    Audio is not opened: a file that turns out to be broken is skipped when it is read. Raises
    AsrcError E1005 where nothing is left.
    """
    limits = limits or Limits()
    there: dict[Path, bool] = {}
    kept, skipped = [], []
    for utterance in utterances:
        skip = _problem(utterance, vocabulary, limits, there)
        if skip is None:
            kept.append(utterance)
        else:
            skipped.append(Skipped(utterance.id, *skip))
    selection = Selection(tuple(kept), tuple(skipped))
    if not kept:
        raise nothing_left(selection)
    return selection


def nothing_left(selection: Selection) -> AsrcError:
    """E1005 with the counts and the first utterance that was skipped."""
    message = f"nothing is left to train on: {selection.report}"
    first = selection.skipped[0] if selection.skipped else Skipped("", "no utterances")
    help = f"the first one, `{first.id}`: {first.detail or first.reason}"
    return AsrcError(diagnostic("E1005", message, help=help))


def _problem(
    utterance: Utterance, vocabulary: Vocabulary, limits: Limits, there: dict[Path, bool]
) -> tuple[str, str] | None:
    """Reason and detail, the cheap ones first."""
    length = f"{utterance.duration:g}s"
    if utterance.duration < limits.shortest:
        return "too short", f"{length}, at least {limits.shortest:g}s"
    if utterance.duration > limits.longest:
        return "too long", f"{length}, at most {limits.longest:g}s"
    return _no_labels(utterance, vocabulary, limits) or _no_audio(utterance, there)


def _no_labels(
    utterance: Utterance, vocabulary: Vocabulary, limits: Limits
) -> tuple[str, str] | None:
    if not utterance.text.strip():
        return "no text", ""
    try:
        labels = vocabulary.encode(utterance.text)
    except AsrcError as error:
        return NO_LABEL, error.diagnostics[0].message
    if not labels:
        return "no labels", f"`{utterance.text}`"
    needed = frames_for_ctc(labels)
    if limits.period is None:
        return None
    frames = int(utterance.duration / limits.period + _ROUNDING)
    if frames < needed:
        return "more labels than frames", f"{needed} frames are needed, there are {frames}"
    return None


def _no_audio(utterance: Utterance, there: dict[Path, bool]) -> tuple[str, str] | None:
    if utterance.audio not in there:
        there[utterance.audio] = utterance.audio.is_file()
    if there[utterance.audio]:
        return None
    return "audio missing", f"`{printable(str(utterance.audio))}`"


def frames_for_ctc(labels: Sequence[int]) -> int:
    """The fewest frames of a CTC path: one a label and a blank between equal neighbours.

    Graves et al. 2006, section 3.1.
    """
    return len(labels) + sum(one == other for one, other in pairwise(labels))
