"""The values of a codebook, on the grid of int8, and the cells of what is nearest to each."""

from __future__ import annotations

import numpy as np

from .program import Array

GRID = 127
"""The largest code; -128 is not used."""


def on_grid(book: Array) -> Array:
    """The nearest values of int8, each once."""
    return np.unique(np.clip(np.rint(book), -GRID, GRID))


def middles(book: Array) -> Array:
    """Between the values of a sorted codebook."""
    return (book[1:] + book[:-1]) / 2


def nearest(book: Array, values: Array) -> Array:
    """The value of a sorted codebook on the grid that is nearest to each, the lesser of two.

    What lies between such values is a multiple of a half, so that a table of halves has them all.
    """
    least, most = -2 * GRID - 1, 2 * GRID + 1
    halves = np.multiply(values, 2)
    np.ceil(np.clip(halves, least, most, out=halves), out=halves)
    table = book[np.searchsorted(middles(book), np.arange(least, most + 1) / 2)]
    return table.take(np.subtract(halves, least, out=halves).astype(np.int16))


def edges(ordered: Array, bounds: Array) -> Array:
    """Where the cells between bounds begin among sorted values, and the end."""
    found = np.zeros(len(bounds) + 2, np.intp)
    found[1:-1], found[-1] = ordered.searchsorted(bounds, "right"), len(ordered)
    return found
