"""Codebooks of four values and fewer whose ranks take few bits in unary, found on int8's grid.

Two bits name each of four values. Their ranks in unary, the commonest first, take one to four, on
average fewer where the inner values are common enough: for that the outer ones go farther out, or
all of them to one side. The error is smooth in so few values, but the number of bits has kinks
where two change ranks, so the search takes the best of all neighbours, in ever smaller steps.
Where a stream has zeros behind each row, it is a tenth shorter or more with zero among the four.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from .cells import BEYOND, GRID, below_halves
from .program import Array

MOST = 4
"""Values of such a codebook."""

_LENGTHS = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 2, 2, 0], [1, 2, 3, 4]])
"""Bits of each rank, of one to four values that are used; the last of a few needs no end."""

_NEIGHBOURS = np.array(list(product((0, -1, 1), repeat=MOST)))
"""The first is the place itself."""

_STEPS = (16, 8, 4, 2, 1)
_PRICE = 4.0
"""What a bit beyond the limit costs, in parts of the squared error: more than another bit gains
where codebooks are good (6 dB, ln 4 parts of the error that is left), so that these keep within."""


def unary(values: Array, book: Array, limit: float, zeros: int = 0) -> Array:
    """The best codebook (rising, 4 values at most) whose ranks take at most `limit` bits in unary.

    `book`: of the same size on the grid, without a limit, to begin with. None of the values is
    one that nothing is nearest to. `zeros`: so many indices are of zero beside those of the values;
    then zero is one of the codebook's, and has to be of `book`.
    """
    search = _Search(below_halves(values, zeros), float(np.square(values).sum()), limit, zeros > 0)
    found = np.concatenate([book, np.full(MOST - len(book), book[-1])]).astype(np.intp)
    for step in _STEPS:
        found = search.settled(found, step)
    (counts,), _ = _cells(search.below, found[None])
    return found[counts > 0].astype(np.float64)


@dataclass(frozen=True)
class _Search:
    """`energy` is the squared error of zeros alone; `zero`: whether that is one of the values."""

    below: Array
    energy: float
    limit: float
    zero: bool

    def settled(self, book: Array, step: int) -> Array:
        """As good as all neighbours that are so many steps of the grid away."""
        while True:
            near = self._near(book, step)
            cost = self._cost(near)
            best = int(cost.argmin())
            if cost[best] >= cost[0]:
                return book
            book = near[best]

    def _near(self, book: Array, step: int) -> Array:
        """[books, 4], this one first."""
        found: Array = np.sort(np.clip(book + step * _NEIGHBOURS, -GRID, GRID), 1)
        return found[(found == 0).any(1)] if self.zero else found

    def _cost(self, books: Array) -> Array:
        """The squared error of each, dearer beyond the limit."""
        counts, sums = _cells(self.below, books)
        ranked = np.sort(counts, 1)[:, ::-1]
        bits = (ranked * _LENGTHS[(ranked > 0).sum(1) - 1]).sum(1) / self.below[0, -1]
        error = self.energy + (counts * books**2 - 2 * sums * books).sum(1)
        found: Array = error * (1 + _PRICE * np.maximum(0.0, bits - self.limit))
        return found


def _cells(below: Array, books: Array) -> tuple[Array, Array]:
    """Counts and sums [books, 4] of what is nearest to each value, of equal ones to the last."""
    ends = np.zeros((len(books), MOST + 1), np.intp)
    ends[:, 1:-1] = books[:, 1:] + books[:, :-1] + BEYOND + 1
    ends[:, 1:-1][books[:, 1:] == books[:, :-1]] = 0
    ends[:, -1] = below.shape[1] - 1
    counts, sums = np.diff(below.take(np.maximum.accumulate(ends, 1), 1))
    return counts, sums
