"""Four values whose ranks are short in unary, against all codebooks of a coarse grid."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest

from asrc.backends.nna.cells import nearest
from asrc.backends.nna.coding import code_counts, coded_bits
from asrc.backends.nna.unary import unary

START = np.array([-60.0, -20.0, 20.0, 60.0])


def some(kind: str, count: int) -> np.ndarray:
    found: np.ndarray = getattr(np.random.default_rng(3), kind)(size=count)
    return found * 100 / np.abs(found).max()


def in_unary(counts: np.ndarray) -> float:
    """Told apart from `coded_bits`, which knows indices of one width as well."""
    ranked = np.sort(counts[counts > 0])[::-1]
    ends = [1, *range(1, len(ranked))] if len(ranked) < 4 else [1, 2, 3, 4]
    return float((ranked * ends).sum() / ranked.sum())


def best_of_all(values: np.ndarray, limit: float) -> float:
    """The least squared error within a limit, of codebooks whose values are tens."""
    least = float(np.square(values).mean())
    for book in combinations_with_replacement(range(-120, 121, 10), 4):
        apart = np.abs(values[:, None] - np.array(book))
        if in_unary(np.bincount(apart.argmin(1), minlength=4)) <= limit:
            least = min(least, float(np.square(apart.min(1)).mean()))
    return least


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform"])
@pytest.mark.parametrize("limit", [1.8, 1.99])
def test_no_codebook_of_a_coarse_grid_is_better(kind: str, limit: float) -> None:
    values = some(kind, 80)
    book = unary(values, START, limit)
    codes = nearest(book, values)
    assert in_unary(code_counts(codes)[0]) <= limit
    assert np.square(values - codes).mean() <= 1.01 * best_of_all(values, limit)


def test_zero_is_a_value_where_others_are_zero_anyway() -> None:
    values, start = some("normal", 20_000), np.array([-60.0, 0.0, 20.0, 60.0])
    book = unary(values, start, 1.95, zeros=2_000)
    codes = np.append(nearest(book, values), np.zeros(2_000))
    assert 0.0 in book
    assert 1.9 < in_unary(code_counts(codes)[0]) <= 1.95


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform"])
def test_the_stream_takes_no_more_than_the_limit(kind: str) -> None:
    values = some(kind, 50_000)
    for limit in (1.76, 1.9, 1.99):
        book = unary(values, START, limit)
        found, counts = np.unique(nearest(book, values), return_counts=True)
        assert coded_bits(counts) <= limit
        assert found.tolist() == book.tolist()  # each of them is used


def test_what_is_within_the_limit_stays_as_good() -> None:
    values = np.repeat([-40.0, -3.0, 30.0, 90.0], [10, 70, 12, 8])
    assert unary(values, np.array([-40.0, -3.0, 30.0, 90.0]), 1.99).tolist() == [-40, -3, 30, 90]


def test_fewer_values_to_begin_with() -> None:
    values = some("laplace", 1000)
    one, two = (unary(values, np.array(book), 1.9) for book in ([3.0], [-30.0, 40.0]))
    assert len(one) == len(two) == 4
    assert coded_bits(code_counts(nearest(one, values))[0]) <= 1.9


@pytest.mark.parametrize("value", [0.0, 5.0, -127.0])
def test_weights_that_are_all_the_same(value: float) -> None:
    assert nearest(unary(np.full(9, value), np.array([value]), 1.8), np.array([value])) == value
