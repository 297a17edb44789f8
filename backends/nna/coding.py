"""Codebooks whose indices take few bits once they are coded.

Accelerators read weights as a stream of Golomb-Rice codes: the rank of a value, commonest first, in
so many low bits and a unary rest; or, where that is shorter, all indices at one width. Values that
are equally far apart, more of them and more unevenly used, then do better than as many Lloyd-Max
centroids as the bits would have indices for. Found as entropy-constrained quantisers are (Chou,
Lookabaugh and Gray 1989), for a price on every bit, and the price by bisection. Weights still take
the nearest value, in training and in the file; only the values are others.
"""

from __future__ import annotations

import numpy as np

from .cells import edges, middles, on_grid
from .program import Array

_LOW_BITS = range(6)
_ROUNDS = 200
_HALVINGS = 16
_CEILING = 1e9


def coded_bits(counts: Array) -> float:
    """Bits an index, on average, of values that are used so often; headers left out."""
    ranked = np.sort(counts[counts > 0])[::-1]
    plain = float(max(1, int(len(ranked) - 1).bit_length()))
    return min(plain, *(_golomb_rice(ranked, low) for low in _LOW_BITS))


def _golomb_rice(ranked: Array, low: int) -> float:
    """With a unary part that ends at two where none is larger, as the accelerators' coder has."""
    rest = np.arange(len(ranked)) >> low
    unary = np.minimum(rest + 1, 2) if rest[-1] <= 2 else rest + 1
    return float((ranked * (unary + low)).sum() / ranked.sum())


def held_to(values: Array, book: Array, limit: float) -> Array:
    """The best codebook on int8's grid whose indices take at most `limit` bits.

    `book`: sorted centroids without a limit, to begin with. Where no price is high enough, the
    dearest found.
    """
    ordered = np.sort(values)
    best = on_grid(book)
    if bits_of(ordered, best) <= limit:
        return best
    low, high = 0.0, 1.0
    while bits_of(ordered, best := on_grid(_priced(ordered, book, high))) > limit:
        low, high = high, 4 * high
        if high > _CEILING:
            return best
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = on_grid(_priced(ordered, book, middle))
        if bits_of(ordered, found) <= limit:
            best, high = found, middle
        else:
            low = middle
    return best


def bits_of(ordered: Array, book: Array) -> float:
    """Of sorted values, each coded as the nearest of a sorted codebook."""
    return coded_bits(np.diff(edges(ordered, middles(book))))


def _priced(ordered: Array, book: Array, price: float) -> Array:
    """Centroids of cells in which squared error and `price` times the bits of a cell's index, as
    ideal codes have them, are least; an empty cell is none."""
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    cells = edges(ordered, middles(book))
    for _ in range(_ROUNDS):
        sizes = np.diff(cells)
        live = sizes > 0
        book = np.diff(sums[cells])[live] / sizes[live]
        bits = -np.log2(sizes[live] / len(ordered))
        bounds = middles(book) + price * np.diff(bits) / (2 * np.diff(book))
        moved = edges(ordered, np.maximum.accumulate(bounds))
        if np.array_equal(moved, cells):
            break
        cells = moved
    return book
