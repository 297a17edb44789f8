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
    """The value of a sorted codebook that is nearest to each."""
    return book[np.searchsorted(middles(book), values)]


def edges(ordered: Array, bounds: Array) -> Array:
    """Where the cells between bounds begin among sorted values, and the end."""
    ends = np.searchsorted(ordered, bounds, side="right")
    return np.concatenate([[0], ends, [len(ordered)]])
