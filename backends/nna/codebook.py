"""Codebooks: weights of few values, on the grid of int8.

The values are Lloyd-Max centroids (Lloyd 1982, Max 1960), of all rows of a tensor together, each
row at its own scale: the hardware's weight stream takes one codebook a tensor, and a scale for each
output channel costs nothing there. This is the plain baseline of S8BQAT (Zhen et al. 2022), whose
centroids come from a float model in the same way; `coding` gives others, for streams that are
coded.
"""

from __future__ import annotations

import numpy as np

from .cells import GRID, edges, middles, nearest, on_grid
from .coding import held_to
from .program import Array

_ROUNDS = 1000
_TURNS = 4
"""How often rows choose their scales anew for the codebook, and the codebook its values."""


def fitted(
    weight: Array, bits: int, per: str = "row", coded: float | None = None
) -> tuple[Array, Array | None]:
    """Scales (float32) and the codes that there are (float32, rising), 2**bits.

    There is a scale for each row, or with `per` of "tensor" one. `coded`: the bits that an index
    may take in the accelerator's stream, headers left out.

    8 bits are the plain grid from -127 to 127, without a codebook. Raises ValueError for other than
    1 to 8 bits, and for a limit that they do not have.
    """
    if not 1 <= bits <= 8:
        raise ValueError(f"weights of {bits} bits: 1 to 8 are possible")
    if coded is not None and not (1 < coded <= bits < 8):
        raise ValueError(f"an index of {coded} bits, of weights of {bits}")
    rows = weight.reshape(1 if per == "tensor" else len(weight), -1).astype(np.float64)
    if bits == 8:
        return (_largest(rows) / GRID).astype(np.float32), None
    scales, book = _with_codebook(rows, 1 << bits, coded)
    full = np.concatenate([book, np.full((1 << bits) - len(book), book[-1])])
    return scales.astype(np.float32), full.astype(np.float32)


def snapped(weight: Array, scales: Array, book: Array | None) -> Array:
    """int8 codes, for each weight the nearest one there is; in float32, as training has it."""
    wide = scales.reshape(-1, *(1,) * (weight.ndim - 1)).astype(np.float32)
    values = weight.astype(np.float32) / wide
    codes = np.clip(np.rint(values), -GRID, GRID) if book is None else nearest(book, values)
    return codes.astype(np.int8)


def _largest(rows: Array) -> Array:
    return np.maximum(np.abs(rows).max(1), 1e-8)


def _with_codebook(rows: Array, count: int, coded: float | None) -> tuple[Array, Array]:
    """Codebook and scales in turn: each is the best for the other. A limit is for the last pair."""
    scales = _largest(rows) / GRID
    for _ in range(_TURNS):
        values = (rows / scales[:, None]).ravel()
        book = _values(values, count, coded)
        codes = nearest(book, values).reshape(rows.shape)
        power = np.square(codes).sum(1)
        best = (rows * codes).sum(1) / np.maximum(power, 1e-12)
        scales = np.where((power > 0) & (best > 0), best, scales)
    if coded is not None:
        book = _values((rows / scales[:, None]).ravel(), count, coded)
    return scales, book


def _values(values: Array, count: int, coded: float | None) -> Array:
    book = lloyd_max(values, count)
    return on_grid(book) if coded is None else held_to(values, book, coded)


def lloyd_max(values: Array, count: int) -> Array:
    """Centroids of at most `count` cells with the smallest squared error, by alternation from
    quantiles; a cell that is empty keeps its centroid."""
    ordered = np.sort(values)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    book = np.unique(np.quantile(ordered, (np.arange(count) + 0.5) / count))
    for _ in range(_ROUNDS):
        cells = edges(ordered, middles(book))
        sizes = np.diff(cells)
        means = np.diff(sums[cells]) / np.maximum(sizes, 1)
        moved = np.where(sizes > 0, means, book)
        if np.allclose(moved, book, rtol=0, atol=1e-6):
            break
        book = moved
    return book
