"""Values counted in narrow bins: what cells of a quantiser need of them, without sorting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cells import middles
from .program import Array

_BINS = 4 * 254 + 1
"""A quarter step of the grid wide where values reach from its one end to the other. Weights that
lie on a grid of their own are spread as others are only if bins are no narrower than that."""

CUBE = 1 / 3
"""The root of a density as which centroids lie that have the least squared error."""

_NOTHING = 1e-9
"""Of so few values or fewer a cell is empty; parts of a bin are parts of a value."""


@dataclass(frozen=True)
class Histogram:
    """Bins of one width from `least` on. `running` [2, bins + 2] has the count and the sum of all
    values below each bin, of all at the end twice. Within a bin values count as spread evenly,
    around their own mean."""

    least: float
    width: float
    running: Array

    def cells(self, bounds: Array) -> Array:
        """Counts and sums [2, bounds + 1] of the values between rising bounds, of those below and
        above as well."""
        places = (bounds - self.least) / self.width
        np.minimum(np.maximum(places, 0, out=places), _BINS, out=places)
        below = places.astype(np.intp)
        until = np.empty((2, len(bounds) + 2))
        until[:, 0], until[:, -1] = 0, self.running[:, -1]
        first, then = self.running.take(below, 1), self.running.take(below + 1, 1)
        until[:, 1:-1] = first + (places - below) * (then - first)
        found: Array = until[:, 1:] - until[:, :-1]
        return found

    def means(self, book: Array) -> Array:
        """Centroids of the cells of what is nearest to each; an empty cell keeps its own."""
        counts, sums = self.cells(middles(book))
        return np.where(counts > _NOTHING, sums / np.maximum(counts, _NOTHING), book)

    def centroids(self, count: int, root: float = CUBE) -> Array:
        """So many values to begin with, as many in a bin as this root of its density: the cube root
        has nearly those of the least squared error (Panter and Dite 1951)."""
        dense = np.concatenate([[0.0], np.cumsum(np.diff(self.running[0, :-1]) ** root)])
        edges = self.least + self.width * np.arange(_BINS + 1)
        found: Array = np.interp((np.arange(count) + 0.5) / count * dense[-1], dense, edges)
        return found


class Means:
    """`Histogram.means` of codebooks of one size, of two values and more, many times over: the same
    numbers, with arrays that are made once."""

    def __init__(self, held: Histogram, size: int) -> None:
        self.held = held
        first, then = held.running[:, :-1], held.running[:, 1:]
        self._table = np.ascontiguousarray(np.concatenate([first, then - first]).T)
        self._places = np.empty(size - 1)
        self._column = self._places[:, None]
        until = np.empty((size + 1, 2))
        until[0], until[-1] = 0, held.running[:, -1]
        self._inner, self._lower, self._upper = until[1:-1], until[:-1], until[1:]

    def __call__(self, book: Array) -> Array:
        places, held = self._places, self.held
        np.add(book[1:], book[:-1], out=places)
        places /= 2
        places -= held.least
        places /= held.width
        if places[0] < 0 or places[-1] > _BINS:
            np.minimum(np.maximum(places, 0, out=places), _BINS, out=places)
        below = places.astype(np.intp)
        rows = self._table.take(below, 0)
        places -= below
        np.multiply(self._column, rows[:, 2:], out=self._inner)
        self._inner += rows[:, :2]
        counts, sums = (self._upper - self._lower).T
        if counts.min() > _NOTHING:
            return sums / counts
        return np.where(counts > _NOTHING, sums / np.maximum(counts, _NOTHING), book)


def histogram(values: Array) -> Histogram:
    """Of one value and more, finite."""
    least, most = float(values.min()), float(values.max())
    width = max((most - least) / (_BINS - 1), 1e-12)
    least -= width / 2
    apart = values - least
    apart /= width
    places = apart.astype(np.intp)
    np.minimum(places, _BINS - 1, out=places)
    running = np.zeros((2, _BINS + 2))
    np.cumsum(np.bincount(places, minlength=_BINS), out=running[0, 1:-1])
    np.cumsum(np.bincount(places, values, _BINS), out=running[1, 1:-1])
    running[:, -1] = running[:, -2]
    return Histogram(least, width, running)
