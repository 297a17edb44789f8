"""Weights that are mostly zero: against all dead zones of the grid, and in the coder's own bits."""

from __future__ import annotations

import numpy as np
import pytest

from asrc.backends.nna.cells import GRID, nearest
from asrc.backends.nna.codebook import fitted, snapped
from asrc.backends.nna.coding import code_counts, coded_bits
from asrc.backends.nna.runs import BOTH, zoned
from asrc.tests.backends.nna.test_codebook import sqnr


def some(kind: str, count: int = 600) -> np.ndarray:
    found: np.ndarray = getattr(np.random.default_rng(3), kind)(size=count)
    found = found - np.median(found)
    return found * 40 / np.abs(found).mean()


def bits(codes: np.ndarray, zeros: int) -> float:
    """A weight, with zeros that are none in the stream."""
    stream = np.append(codes, np.zeros(zeros))
    return coded_bits(*code_counts(stream)) * stream.size / codes.size


def best_of_all(
    values: np.ndarray,
    limit: float,
    signs: tuple[int, ...],
    zeros: int,
    commonest: bool = False,
) -> float:
    """The least squared error within a limit, of all dead zones, each with its means."""
    least = np.inf
    for half in range(1, 2 * GRID + 1):
        codes = np.zeros_like(values)
        for sign in signs:
            beyond = sign * values > half / 2 if sign > 0 else values <= -half / 2
            if beyond.any():
                codes[beyond] = np.rint(values[beyond].mean())
        if commonest and (codes == 0).sum() < np.unique(codes, return_counts=True)[1].max():
            continue
        if codes.any() and bits(codes, zeros) <= limit:
            least = min(least, float(np.square(values - codes).sum()))
    return least


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform"])
@pytest.mark.parametrize("signs", [BOTH, (1,), (-1,)])
@pytest.mark.parametrize(("limit", "zeros"), [(0.7, 0), (0.99, 0), (0.99, 90), (1.2, 0), (1.5, 0)])
def test_no_dead_zone_is_better(
    kind: str, signs: tuple[int, ...], limit: float, zeros: int
) -> None:
    values = some(kind)
    book = zoned(values, limit, signs, zeros)
    codes = nearest(book, values)
    assert bits(codes, zeros) <= limit
    assert np.square(values - codes).sum() == best_of_all(values, limit, signs, zeros)


@pytest.mark.parametrize("limit", [1.0, 1.2, 1.3, 1.6])
@pytest.mark.parametrize("seed", range(8))
def test_none_with_zero_as_its_commonest_is_better(limit: float, seed: int) -> None:
    """Of few values of two heaps: with little in the dead zone, fewer bits need no wider one."""
    chance = np.random.default_rng(seed)
    heap = chance.choice([-60.0, 20.0], 211, p=[0.2, 0.8])
    values = np.clip(heap + 15 * chance.standard_normal(211), -126, 126)
    book = zoned(values, limit)
    codes = nearest(book, values)
    if not book[0].any():
        return
    assert bits(codes, 0) <= limit
    assert np.square(values - codes).sum() == best_of_all(values, limit, BOTH, 0, commonest=True)


def test_it_is_wider_than_what_is_nearest_to_zero() -> None:
    """At one bit, of a Gaussian: what is beyond 1.25 deviations becomes 1.7 of them."""
    values = np.random.default_rng(0).standard_normal(20_000) * 50
    (lower, zero, upper), ends = zoned(values, 0.99)
    assert zero == 0
    assert (lower, upper) == pytest.approx((-86, 86), abs=2)
    assert ends.tolist() == pytest.approx([-62, 62, GRID], abs=1.5)


def test_values_of_one_sign_alone() -> None:
    values = np.abs(some("normal"))
    assert zoned(values, 0.99).shape == (2, 2)
    assert zoned(values, 0.99).tolist() == zoned(values, 0.99, (1,)).tolist()
    assert zoned(-values, 0.99).shape == (2, 2)


@pytest.mark.parametrize("values", [np.zeros(50), np.tile([-3.0, 3.0], 25)])
def test_zero_alone_where_any_other_is_too_much(values: np.ndarray) -> None:
    assert zoned(values, 0.99).tolist() == [[0], [GRID]]


@pytest.mark.parametrize("kind", ["normal", "laplace"])
@pytest.mark.parametrize("inputs", [512, 144])
def test_a_bit_has_the_headers_in_it(kind: str, inputs: int) -> None:
    """By the coder itself, with the zeros that fill rows up; no more noise than of two values."""
    codec = pytest.importorskip("ethosu.mlw_codec")
    weight = getattr(np.random.default_rng(4), kind)(size=(512, inputs)).astype(np.float32)
    scales, book = fitted(weight, 2, coded=1)
    codes = snapped(weight, scales, book)
    filled = np.pad(codes, ((0, 0), (0, -inputs % 32))).astype(np.int16)
    assert 0.9 < 8 * len(codec.encode(filled.ravel().tolist())) / codes.size < 1
    assert len(np.unique(codes)) == 3
    two = fitted(weight, 1, coded=1)
    assert sqnr(weight, codes, scales) > sqnr(weight, snapped(weight, *two), two[0]) - 0.4


def test_few_taps_have_two_values() -> None:
    """Of three, most rows of them would have none but zero."""
    taps = np.random.default_rng(4).standard_normal((256, 5)).astype(np.float32)
    codes = snapped(taps, *fitted(taps, 2, coded=1, inputs=False))
    assert (codes != 0).all()
    assert len(np.unique(codes)) == 2
