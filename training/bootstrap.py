"""Confidence intervals of error rates, by resampling utterances (Bisani and Ney, 2004).

Words of one utterance are not independent, utterances nearly are; so whole utterances are drawn,
with replacement, and the rate of each draw is its errors over its words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DRAWN_AT_ONCE = 1 << 22  # utterances; 32 MiB of indices


def interval(
    errors: Sequence[int],
    words: Sequence[int],
    *,
    seed: int = 0,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Low and high end of the rate `sum(errors) / sum(words)`; None where there is no word."""
    rates = _rates([errors], words, seed, draws)[0]
    return _ends(rates, level)


def difference_interval(
    first: Sequence[int],
    second: Sequence[int],
    words: Sequence[int],
    *,
    seed: int = 0,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """The same for the first rate less the second, of two systems on the same utterances.

    Both are drawn together (paired), so what is hard for both does not widen the interval. The
    difference is significant where 0 lies outside.
    """
    rates = _rates([first, second], words, seed, draws)
    return _ends(rates[0] - rates[1], level)


def _rates(errors: Sequence[Sequence[int]], words: Sequence[int], seed: int, draws: int) -> Floats:
    """[systems, draws] error rates; draws without a word are left out."""
    counts = np.array([*errors, words], dtype=np.int64)
    if not counts.shape[1]:
        return np.empty((len(errors), 0))
    generator = np.random.default_rng(seed)
    at_once = max(1, DRAWN_AT_ONCE // counts.shape[1])
    totals = []
    for start in range(0, draws, at_once):
        shape = (min(at_once, draws - start), counts.shape[1])
        chosen = generator.integers(0, counts.shape[1], shape)
        totals.append([row[chosen].sum(1) for row in counts])
    drawn = np.concatenate(totals, axis=1)
    drawn = drawn[:, drawn[-1] > 0]
    rates: Floats = drawn[:-1] / drawn[-1]
    return rates


def _ends(values: Floats, level: float) -> tuple[float, float] | None:
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
