"""Codebooks of weights that are mostly zero, for streams that have runs of zeros.

Where zeros are common enough a stream has the lengths of their runs, and a weight may take less
than a bit. That most weights are zero is no reason for large values beside it: what is best for
those that are left is their mean, and which of them are, their size tells. So there is a dead zone
(Sullivan 1996) wider than what is nearest to zero, and the codebook says where its cells end.
"""

from __future__ import annotations

import numpy as np

from .cells import BEYOND, GRID, below_halves
from .coding import coded_bits
from .program import Array

BOTH = (-1, 1)
"""Signs of the values beside zero."""

_ENDS = np.arange(1, 2 * GRID + 1)
"""Of the dead zone, in half steps of the grid."""

_ZERO_ALONE = np.array([[0.0], [GRID]])


def zoned(values: Array, limit: float, signs: tuple[int, ...] = BOTH, zeros: int = 0) -> Array:
    """Zero, and one value of each sign: [2, values], the codes and below each the end of its cell.

    The best of all dead zones with the commonest code in them whose codes take at most `limit` bits
    a weight, each code the mean of its cell on int8's grid. `zeros`: so many codes are of zero
    beside those of the values. A value that nothing is left for is none, and there is zero alone
    where any other is too much.
    """
    below = below_halves(values, zeros)
    lower = below[:, BEYOND + 1 - _ENDS] * (-1 in signs)
    upper = (below[:, -1:] - below[:, BEYOND + 1 + _ENDS]) * (1 in signs)
    some, most = lower[0] + upper[0], np.maximum(lower[0], upper[0])
    useful = (some > 0) & (below[0, -1] - some >= most)
    lower, upper, ends = lower[:, useful], upper[:, useful], _ENDS[useful] / 2
    first = _narrowest(lower[0], upper[0], below[0, -1], zeros, limit)
    if first == lower.shape[1]:
        return _ZERO_ALONE
    place = first + int((_gain(lower) + _gain(upper))[first:].argmax())
    return _book(lower[:, place], upper[:, place], ends[place])


def _narrowest(lower: Array, upper: Array, count: float, zeros: int, limit: float) -> int:
    """The first of the ends with no more bits than the limit: the farther, the fewer."""
    low, high = 0, len(lower)
    while low < high:
        middle = (low + high) // 2
        zero = count - lower[middle] - upper[middle]
        each = np.array([zero, lower[middle], upper[middle]])
        if coded_bits(each, zero) * count <= limit * (count - zeros):
            high = middle
        else:
            low = middle + 1
    return low


def _gain(cells: Array) -> Array:
    """By how much the codes of cells (counts, sums) have a smaller squared error than zero."""
    codes = _codes(cells)
    found: Array = codes * (2 * cells[1] - cells[0] * codes)
    return found


def _codes(cells: Array) -> Array:
    """Their means on the grid."""
    return np.clip(np.rint(cells[1] / np.maximum(cells[0], 1)), -GRID, GRID)


def _book(lower: Array, upper: Array, end: float) -> Array:
    pairs = [(float(_codes(lower)), -end)] if lower[0] else []
    pairs += [(0.0, end if upper[0] else GRID)]
    pairs += [(float(_codes(upper)), GRID)] if upper[0] else []
    return np.array(pairs).T
