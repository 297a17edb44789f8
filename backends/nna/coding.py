"""Codebooks whose indices take few bits once they are coded.

Accelerators read weights as a stream of Golomb-Rice codes: the rank of a value, commonest first, in
so many low bits and a unary rest; or, where that is shorter, all indices at one width. Zeros can be
lengths of runs between the other values, which may take less than a bit a weight.

Values that are equally far apart, more of them and more unevenly used, then do better than as many
Lloyd-Max centroids as the bits would have indices for. Found as entropy-constrained quantisers are
(Chou, Lookabaugh and Gray 1989), for a price on every bit, and the price by bisection. Weights
still take the nearest value, in training and in the file; only the values are others (where most
are to be zero, `runs` has cells as well).
"""

from __future__ import annotations

from math import inf

import numpy as np

from .cells import edges, middles, on_grid
from .histogram import CUBE, Histogram, histogram
from .program import Array

_LOW_BITS = range(6)
_RUN_LOW_BITS = range(4)
_OFTEN = 5  # 4 in one compiler of these accelerators, 5 in another
"""Zeros become runs where they are more than so often as frequent as any other value."""
_ROUNDS = 200
_HALVINGS = 16
_CEILING = 1e9
_SAME = 1e-6
"""Centroids that are no farther apart are one, in steps of the grid."""


def coded_bits(counts: Array, zeros: float = 0) -> float:
    """Bits an index, on average, of values that are used so often; headers left out.

    `zeros`, which `counts` has as well: how often zero is used. Its runs are taken to be those of
    zeros that lie anywhere.
    """
    ranked = np.sort(counts[counts > 0])[::-1]
    return min(_labelled(ranked), _with_runs(ranked, zeros))


def code_counts(codes: Array) -> tuple[Array, float]:
    """How often each of the codes is there, and how often zero: what `coded_bits` takes."""
    values, counts = np.unique(codes, return_counts=True)
    return counts, float(counts[values == 0].sum())


def _labelled(ranked: Array) -> float:
    plain = float(max(1, int(len(ranked) - 1).bit_length()))
    return min(plain, *(_golomb_rice(ranked, low) for low in _LOW_BITS))


def _with_runs(ranked: Array, zeros: float) -> float:
    """A run before each value that is not zero, its length in so many low bits and a unary rest."""
    others = ranked[1:]
    if not len(others) or zeros < ranked[0] or zeros <= _OFTEN * others[0]:
        return inf
    share = zeros / ranked.sum()
    lengths = (low + 1 + share**2**low / (1 - share**2**low) for low in _RUN_LOW_BITS)
    return float((1 - share) * (min(lengths) + _labelled(others)))


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
    return _by_price(_Ordered(values), book, limit)


def within(values: Array, book: Array, limit: float) -> Array:
    """The codebook; where its indices take more than `limit` bits, one of as many values that lie
    more evenly, if indices of such one take no more.

    Between Lloyd-Max centroids, nearly as many as the cube root of the density, and values at equal
    distances, which have the least entropy for their noise (Gish and Pierce 1968), lie those that
    another root gives: a few hundredths of a decibel worse than `held_to`, in a fraction of its
    time.
    """
    held, best, low, high = histogram(values), book, 0.0, CUBE
    if _in_cells(held, book) <= limit:
        return book
    for _ in range(_HALVINGS):
        root = (low + high) / 2
        found = on_grid(held.means(held.centroids(len(book), root)))
        if _in_cells(held, found) <= limit:
            best, low = found, root
        else:
            high = root
    return best


def _in_cells(held: Histogram, book: Array) -> float:
    """Bits an index, of the values of a histogram."""
    counts = np.rint(held.cells(middles(book))[0])
    return coded_bits(counts, float(counts[book == 0].sum()))


def _by_price(ordered: _Ordered, book: Array, limit: float) -> Array:
    best = on_grid(book)
    if ordered.bits(best) <= limit:
        return best
    low, high = 0.0, 1.0
    while ordered.bits(best := on_grid(ordered.priced(book, high))) > limit:
        low, high = high, 4 * high
        if high > _CEILING:
            return best
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = on_grid(ordered.priced(book, middle))
        if ordered.bits(found) <= limit:
            best, high = found, middle
        else:
            low = middle
    return best


class _Ordered:
    """Values in their order, with running sums."""

    def __init__(self, values: Array) -> None:
        self.values = np.sort(values)
        self.sums = np.concatenate([[0.0], np.cumsum(self.values)])

    def cells(self, book: Array) -> Array:
        """Where those begin that are nearest to each of a sorted codebook."""
        return edges(self.values, middles(book))

    def bits(self, book: Array) -> float:
        """An index, each value coded as the nearest."""
        counts = _steps(self.cells(book))
        return coded_bits(counts, float(counts[book == 0].sum()))

    def priced(self, book: Array, price: float) -> Array:
        """Centroids of cells in which squared error and `price` times the bits of a cell's index,
        as ideal codes have them, are least; an empty cell is none."""
        cells = self.cells(book)
        for _ in range(_ROUNDS):
            sizes = _steps(cells)
            live = sizes > 0
            book, sizes = _apart(_steps(self.sums[cells])[live] / sizes[live], sizes[live])
            bits = -np.log2(sizes / len(self.values))
            bounds = middles(book) + price * _steps(bits) / (2 * _steps(book))
            moved = edges(self.values, np.maximum.accumulate(bounds))
            if np.array_equal(moved, cells):
                break
            cells = moved
        return book


def _steps(values: Array) -> Array:
    """From each to the next."""
    found: Array = values[1:] - values[:-1]
    return found


def _apart(book: Array, sizes: Array) -> tuple[Array, Array]:
    """Centroids that coincide as one; many weights may be the largest of their rows."""
    first = np.concatenate([[True], _steps(book) > _SAME])
    if first.all():
        return book, sizes
    return book[first], np.add.reduceat(sizes, np.flatnonzero(first))
