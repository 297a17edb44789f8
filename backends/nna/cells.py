"""The values of a codebook, on the grid of int8, and the cells of what is nearest to each."""

from __future__ import annotations

import numpy as np

from .program import Array

GRID = 127
"""The largest code; -128 is not used."""

BEYOND = 2 * GRID + 1
"""Half steps to where all values lie that are farther out than any end of a cell."""


def on_grid(book: Array) -> Array:
    """The nearest values of int8, each once."""
    return np.unique(np.clip(np.rint(book), -GRID, GRID))


def middles(book: Array) -> Array:
    """Between the values of a sorted codebook."""
    return (book[1:] + book[:-1]) / 2


def with_ends(book: Array) -> Array:
    """A sorted codebook and, below its values, where the cells of what is nearest to each end."""
    return np.stack([book, np.append(middles(book), GRID)])


def nearest(book: Array, values: Array) -> Array:
    """The value of a sorted codebook on the grid that is nearest to each, the lesser of two; of one
    `[2, values]` with the ends of its cells, the one whose cell it is in.

    Cells end at multiples of a half, as what lies between values of the grid does, so that a table
    of halves has them all.
    """
    book, ends = (book[0], book[1, :-1]) if book.ndim == 2 else (book, middles(book))
    halves = np.multiply(values, 2)
    np.ceil(np.clip(halves, -BEYOND, BEYOND, out=halves), out=halves)
    table = book[np.searchsorted(ends, np.arange(-BEYOND, BEYOND + 1) / 2)]
    return table.take(np.add(halves, BEYOND, out=halves).astype(np.int16))


def edges(ordered: Array, bounds: Array) -> Array:
    """Where the cells between bounds begin among sorted values, and the end."""
    found = np.zeros(len(bounds) + 2, np.intp)
    found[1:-1], found[-1] = ordered.searchsorted(bounds, "right"), len(ordered)
    return found


def below_halves(values: Array, zeros: int) -> Array:
    """Counts and sums [2, half steps] of the values, and so many zeros, up to each half step of the
    grid, `h` halves at `h + BEYOND + 1`: cells end at these, so that none is estimated."""
    halves = np.multiply(values, 2)
    np.clip(np.ceil(halves, out=halves), -BEYOND, BEYOND, out=halves)
    places = halves.astype(np.intp)
    places += BEYOND
    found = np.zeros((2, 2 * BEYOND + 2))
    for row, weights in zip(found, (None, values), strict=True):
        np.cumsum(np.bincount(places, weights, len(row) - 1), out=row[1:])
    found[0, BEYOND + 1 :] += zeros
    return found
