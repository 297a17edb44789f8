"""Emission delay: how long after the end of a word its label can be known (Yu et al., 2021).

The reference is a forced or given alignment. Only words recognised right count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .scoring import Transcript, score


@dataclass(frozen=True, slots=True)
class Delay:
    """Median and 90th percentile of delays in seconds, and how many there were."""

    count: int
    p50: float | None
    p90: float | None


def summarise_delays(delays: Iterable[float]) -> Delay:
    """Percentiles, None where there is no delay to take them of."""
    values = list(delays)
    if not values:
        return Delay(0, None, None)
    p50, p90 = np.quantile(values, [0.5, 0.9])
    return Delay(len(values), float(p50), float(p90))


def word_delays(
    reference: Sequence[str],
    ends: Sequence[float],
    hypothesis: Sequence[str],
    times: Sequence[float],
) -> list[float]:
    """For each word recognised right, the time at which it was known less the end of the word.

    `ends` and `times` are seconds from the start of the utterance, one a word; a word of several
    labels is known with its last. Negative where a word was guessed before its end.
    Raises ValueError where times and words differ in number.
    """
    if len(reference) != len(ends) or len(hypothesis) != len(times):
        raise ValueError("each word has one time")
    scored = score(Transcript("", " ".join(reference), " ".join(hypothesis)))
    said, heard, delays = 0, 0, []
    for edit in scored.edits:
        if edit.kind == "hit":
            delays.append(times[heard] - ends[said])
        said += edit.kind != "insertion"
        heard += edit.kind != "deletion"
    return delays
