"""Codebooks: weights of few values, on the grid of int8.

The values are Lloyd-Max centroids (Lloyd 1982, Max 1960), of all rows of a tensor together, each
row at its own scale: the hardware's weight stream takes one codebook a tensor, and a scale for each
output channel costs nothing there. This is the plain baseline of S8BQAT (Zhen et al. 2022), whose
centroids come from a float model in the same way; `coding` gives others, for streams that are
coded.
"""

from __future__ import annotations

from functools import partial
from math import ceil, gcd

import numpy as np

from ...compiler.facts.numbers import FEWEST_CODED, SPARSE, ends_cells
from .cells import GRID, nearest, on_grid, with_ends
from .coding import code_counts, coded_bits, held_to, within
from .histogram import Means, histogram
from .program import Array
from .runs import BOTH, zoned
from .unary import MOST, unary

_ROUNDS = 1000
_TURNS = 4
"""How often rows choose their scales anew for the codebook, and the codebook its values."""

_STILL = 1e-3
"""Centroids that move less than this, in steps of the grid, have settled."""

_FARTHER = 1.8
"""Centroids go so much farther than to their means, which takes half of the rounds: near the end
a round leaves a part of every error, most of the slow ones."""

_LARGE = 1 << 16
"""Of fewer weights, headers take more of a stream than its codes could spare."""

_PALETTE = 5
"""Bits of an index into the values that a stream can name at once; more have escapes."""

_LANES = 32
"""Inputs of a layer that a stream has at a time; where there are fewer, zeros go behind them."""

_SPARED = 0.007
"""Bits of an index that are left for headers, and for what our count of the stream is off."""

_SAMPLE = 1 << 19
"""Of so many weights and fewer, all decide the codebook; of more, a part of each row does."""

_USUAL = 48
"""The code of a weight of usual size beside one that is not zero, which is about twice as large."""

_DRIFT = 0.01
"""Bits by which indices of all weights may be longer than those of such a part."""


def fitted(
    weight: Array, bits: int, per: str = "row", coded: float | None = None, inputs: bool = True
) -> tuple[Array, Array | None]:
    """Scales (float32) and the codes that there are (float32, rising), 2**bits.

    There is a scale for each row, or with `per` of "tensor" one. `coded`: the bits that an index
    may take in the accelerator's stream, headers left out; a codebook of as many whole bits, where
    that is better, or where nothing takes so few; with `coded` of `bits` Lloyd-Max centroids, as
    they are. Where most weights are zero then (`ends_cells`), the codes have the ends of their
    cells below them, `[2, codes]`; a limit of one bit has the headers of many weights in it.

    Without a limit a stream is to take no more than 2 to 5 bits, headers included. Four centroids
    are nearly always as common, so two bits are held to a little less. More go somewhat more evenly
    apart where there are many weights and it is needed (`within`), and where a stream has zeros
    behind each row (`_LANES`), one of 4 to 32 is zero, as zeros would be one value more; `inputs`:
    whether the columns of a matrix are inputs, and not taps.

    8 bits are the plain grid from -127 to 127, without a codebook. Raises ValueError for other than
    1 to 8 bits, and for a limit that they do not have.
    """
    if not 1 <= bits <= 8:
        raise ValueError(f"weights of {bits} bits: 1 to 8 are possible")
    if coded is not None and not (FEWEST_CODED <= coded <= bits < 8):
        raise ValueError(f"an index of {coded} bits, of weights of {bits}")
    rows = weight.reshape(1 if per == "tensor" else len(weight), -1).astype(np.float64)
    if bits == 8:
        return (_largest(rows) / GRID).astype(np.float32), None
    if coded is None and bits == 2:
        coded = bits - _SPARED
    scales, book = _chosen(rows, bits, coded, _filled(weight) if inputs else 0)
    if ends_cells(bits, coded) and book.ndim == 1:
        book = with_ends(book)
    return scales.astype(np.float32), _full(book, 1 << bits).astype(np.float32)


def snapped(weight: Array, scales: Array, book: Array | None) -> Array:
    """int8 codes, for each weight the nearest one there is, or the one whose cell it is in; in
    float32, as training has it."""
    wide = scales.reshape(-1, *(1,) * (weight.ndim - 1)).astype(np.float32)
    values = weight.astype(np.float32) / wide
    codes = np.clip(np.rint(values), -GRID, GRID) if book is None else nearest(book, values)
    return codes.astype(np.int8)


def _full(book: Array, count: int) -> Array:
    """With the last value again, as often as others lack; no weight is beyond its cell."""
    lacking = [(0, 0)] * (book.ndim - 1) + [(0, count - book.shape[-1])]
    return np.pad(book, lacking, "edge")


def _chosen(rows: Array, bits: int, coded: float | None, zeros: int) -> tuple[Array, Array]:
    """Scales and a codebook; `zeros`: how many a stream has behind all rows."""
    if bits == 2 and coded is not None and SPARSE < coded < bits:
        return _in_unary(rows, coded, zeros)
    if coded is not None and coded < bits:
        return _limited(rows, 1 << bits, coded, zeros)
    fits = coded is None and 2 < bits <= _PALETTE
    scales, book = _with_codebook(rows, 1 << bits, None, zero=fits and zeros > 0)
    if fits and rows.size >= _LARGE and not zeros:
        return _shortened(rows, scales, book, bits - _SPARED)
    return scales, book


def _in_unary(rows: Array, coded: float, zeros: int) -> tuple[Array, Array]:
    """Four values, without the limit in the first half of the turns."""
    some = _sample(rows)
    limit = coded if some is rows else coded - _DRIFT
    found = partial(unary, limit=limit, zeros=round(zeros * some.size / rows.size))
    scales, book = _with_codebook(rows, MOST, None, zeros > 0, _TURNS // 2)
    for _ in range(_TURNS // 2 - 1):
        book = found((some / scales[:, None]).ravel(), book)
        scales = _scales(rows, nearest(book, rows / scales[:, None]), scales)
    return scales, found((some / scales[:, None]).ravel(), book)


def _limited(rows: Array, count: int, coded: float, zeros: int) -> tuple[Array, Array]:
    """The best of what a limit on the way leads to, a limit in the end, and fewer values."""
    if coded <= SPARSE:
        return _sparse(rows, count, coded, zeros)
    limit = _of_part(rows, coded)
    found = _with_codebook(rows, count, limit), _held(rows, count, limit), _fewer(rows, coded)
    return min(found, key=partial(_rank, rows, coded, 0))


def _sparse(rows: Array, count: int, coded: float, zeros: int) -> tuple[Array, Array]:
    """The best of zero with one or two values beside it, a limit in the end, and fewer values.

    Two values take a bit, more beside zeros behind rows. Of few weights they may be better, such as
    of filters with so few taps that all of a row would be zero. Up to a bit these zeros count,
    unless they are more than what is in the rows.
    """
    zeros = zeros if coded <= 1 and zeros <= rows.size else 0
    coded -= _SPARED * (coded == 1 and rows.size >= _LARGE)
    limit = _of_part(rows, coded)
    signs = [BOTH] if count > 2 else [(-1,), (1,)]
    mostly_zero = (_mostly_zero(rows, limit, each, zeros) for each in signs)
    found = [(scales, book) for scales, book in mostly_zero if book[0].any()]
    if coded > 1:
        found.append(_held(rows, count, limit))
    if not found or (rows.size < _LARGE and not zeros):
        found.append(_fewer(rows, coded))
    if len(found) == 1:
        return found[0]
    return min(found, key=partial(_rank, rows, coded, zeros))


def _of_part(rows: Array, limit: float) -> float:
    """The limit for those weights that decide."""
    return limit if _sample(rows).size == rows.size else limit - _DRIFT


def _fewer(rows: Array, coded: float) -> tuple[Array, Array]:
    return _with_codebook(rows, 1 << max(1, int(coded)), None)


def _held(rows: Array, count: int, limit: float) -> tuple[Array, Array]:
    scales, book = _with_codebook(rows, count, None)
    return scales, held_to((_sample(rows) / scales[:, None]).ravel(), book, limit)


def _mostly_zero(
    rows: Array, limit: float, signs: tuple[int, ...], zeros: int
) -> tuple[Array, Array]:
    """Zero and a value of each sign, and scales in turn."""
    some, scales = _sample(rows), np.maximum(np.abs(rows).mean(1), 1e-8) / _USUAL
    found = partial(zoned, limit=limit, signs=signs, zeros=round(zeros * some.size / rows.size))
    for _ in range(_TURNS // 2):
        values = some / scales[:, None]
        book = found(values.ravel())
        scales = _scales(some, nearest(book, values), scales)
    if some is not rows:
        scales = _scales(rows, nearest(book, rows / scales[:, None]), scales)
    return scales, found((some / scales[:, None]).ravel())


def _rank(rows: Array, limit: float, zeros: int, found: tuple[Array, Array]) -> tuple[float, float]:
    """How far a codebook is beyond a limit, then its squared error: for few weights, values that
    are chosen for their code may be the worse ones."""
    scales, book = found
    codes = nearest(book, rows / scales[:, None])
    error = float(np.square(rows - codes * scales[:, None]).sum())
    stream = np.append(codes, np.zeros(zeros))
    bits = coded_bits(*code_counts(stream)) * stream.size / rows.size
    return max(0.0, bits - limit), error


def _largest(rows: Array) -> Array:
    return np.maximum(np.abs(rows).max(1), 1e-8)


def _shortened(rows: Array, scales: Array, book: Array, limit: float) -> tuple[Array, Array]:
    """Within the limit, if it can be: codebook and scales in turn, as farther values are larger."""
    some = _sample(rows)
    for _ in range(_TURNS):
        before, book = book, within((some / scales[:, None]).ravel(), book, limit)
        if np.array_equal(before, book):
            return scales, book
        scales = _scales(rows, nearest(book, rows / scales[:, None]), scales)
    return scales, within((some / scales[:, None]).ravel(), book, limit)


def _filled(weight: Array) -> int:
    """How many zeros a stream of a matrix has behind its rows."""
    return len(weight) * (-weight.shape[1] % _LANES) if weight.ndim == 2 else 0


def _with_codebook(
    rows: Array, count: int, coded: float | None, zero: bool = False, turns: int = _TURNS
) -> tuple[Array, Array]:
    """Codebook and scales in turn: each is the best for the other. A limit is for the last pair;
    with `zero` one of the values is zero, which goes with no limit."""
    some, scales = _sample(rows), _largest(rows) / GRID
    start: Array | None = None
    for _ in range(turns):
        values = some / scales[:, None]
        start, book = _values(values.ravel(), count, coded, start, zero)
        scales = _scales(some, nearest(book, values), scales)
    if some is not rows:
        scales = _scales(rows, nearest(book, rows / scales[:, None]), scales)
    if coded is not None:
        _, book = _values((some / scales[:, None]).ravel(), count, coded)
    return scales, book


def _sample(rows: Array) -> Array:
    """Columns at a distance that no period of theirs divides, such as groups, parts or taps."""
    apart = ceil(rows.size / _SAMPLE)
    while gcd(apart, rows.shape[1]) > 1:
        apart += 1
    return rows if apart == 1 else np.ascontiguousarray(rows[:, ::apart])


def _scales(rows: Array, codes: Array, scales: Array) -> Array:
    """For each row of these codes, the one with the smallest squared error, else that it has."""
    power = np.einsum("ij,ij->i", codes, codes)
    best = np.einsum("ij,ij->i", rows, codes) / np.maximum(power, 1e-12)
    return np.where((power > 0) & (best > 0), best, scales)


def _values(
    values: Array, count: int, coded: float | None, start: Array | None = None, zero: bool = False
) -> tuple[Array, Array]:
    """Centroids, and what is made of them on the grid."""
    book = lloyd_max(values, count, start, zero)
    return book, on_grid(book) if coded is None else held_to(values, book, coded)


def lloyd_max(values: Array, count: int, start: Array | None = None, zero: bool = False) -> Array:
    """Centroids of at most `count` cells with the smallest squared error, by alternation from
    other centroids or the histogram's; a cell that is empty keeps its centroid. With `zero` the one
    that is nearest to it stays there."""
    held = histogram(values)
    if start is None:
        start = held.centroids(count)
    book = np.unique(start)
    means = Means(held, len(book)) if len(book) > 1 else held.means
    for _ in range(_ROUNDS):
        moved = means(book)
        if zero:
            moved[np.abs(book).argmin()] = 0.0
        moved -= book
        if np.abs(moved).max() <= _STILL:
            break
        moved *= _FARTHER
        moved += book
        moved.sort()
        book = moved
    if zero:
        book[np.abs(book).argmin()] = 0.0
    return book
