"""Codebooks: weights of few values, on the grid of int8.

The values are Lloyd-Max centroids (Lloyd 1982, Max 1960), of all rows of a tensor together, each
row at its own scale: the hardware's weight stream takes one codebook a tensor, and a scale for each
output channel costs nothing there. This is the plain baseline of S8BQAT (Zhen et al. 2022), whose
centroids come from a float model in the same way.
"""

from __future__ import annotations

import numpy as np

from .program import Array

GRID = 127
_ROUNDS = 1000
_TURNS = 4
"""How often rows choose their scales anew for the codebook, and the codebook its values."""


def coded(weight: Array, axis: int, bits: int) -> tuple[Array, Array]:
    """int8 codes, and a scale (float32) for each index of `axis`; 2**bits values at most.

    8 bits are the plain grid from -127 to 127. Raises ValueError for other than 1 to 8 bits.
    """
    if not 1 <= bits <= 8:
        raise ValueError(f"weights of {bits} bits: 1 to 8 are possible")
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)
    codes, scales = _plain(rows) if bits == 8 else _with_codebook(rows, 1 << bits)
    shape = np.moveaxis(weight, axis, 0).shape
    return np.moveaxis(codes.reshape(shape), 0, axis).astype(np.int8), scales.astype(np.float32)


def _plain(rows: Array) -> tuple[Array, Array]:
    scales = _largest(rows) / GRID
    return np.clip(np.rint(rows / scales[:, None]), -GRID, GRID), scales


def _largest(rows: Array) -> Array:
    return np.maximum(np.abs(rows).max(1), 1e-8)


def _with_codebook(rows: Array, count: int) -> tuple[Array, Array]:
    """Codebook and scales in turn: each is the best for the other."""
    scales = _largest(rows) / GRID
    codes = rows
    for _ in range(_TURNS):
        values = (rows / scales[:, None]).ravel()
        book = on_grid(lloyd_max(values, count))
        codes = nearest(book, values).reshape(rows.shape)
        power = np.square(codes).sum(1)
        fitted = (rows * codes).sum(1) / np.maximum(power, 1e-12)
        scales = np.where((power > 0) & (fitted > 0), fitted, scales)
    return codes, scales


def lloyd_max(values: Array, count: int) -> Array:
    """Centroids of at most `count` cells with the smallest squared error, by alternation from
    quantiles; a cell that is empty keeps its centroid."""
    ordered = np.sort(values)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    book = np.unique(np.quantile(ordered, (np.arange(count) + 0.5) / count))
    for _ in range(_ROUNDS):
        ends = np.searchsorted(ordered, (book[1:] + book[:-1]) / 2, side="right")
        edges = np.concatenate([[0], ends, [len(ordered)]])
        sizes = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(sizes, 1)
        moved = np.where(sizes > 0, means, book)
        if np.allclose(moved, book, rtol=0, atol=1e-6):
            break
        book = moved
    return book


def on_grid(book: Array) -> Array:
    """The nearest values of int8, each once."""
    return np.unique(np.clip(np.rint(book), -GRID, GRID))


def nearest(book: Array, values: Array) -> Array:
    """The value of a sorted codebook that is nearest to each."""
    return book[np.searchsorted((book[1:] + book[:-1]) / 2, values)]
