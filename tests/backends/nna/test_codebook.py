"""Codebooks: few values, on the grid, with the error that theory gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.backends.nna.cells import middles, on_grid
from asrc.backends.nna.codebook import fitted, lloyd_max, snapped
from asrc.backends.nna.histogram import Means, histogram


def coded(weight: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """By Lloyd-Max centroids as they are; `test_coding.py` has others."""
    scales, book = fitted(weight, bits, coded=bits if bits < 8 else None)
    return snapped(weight, scales, book), scales


def sqnr(weight: np.ndarray, codes: np.ndarray, scales: np.ndarray) -> float:
    error = weight - codes.astype(float) * scales[:, None]
    return float(10 * np.log10(np.square(weight).sum() / np.square(error).sum()))


@pytest.mark.parametrize(
    ("bits", "wanted"), [(1, 4.40), (2, 9.30), (3, 14.62), (4, 20.22), (5, 26.01)]
)
def test_gaussian_weights_reach_the_lloyd_max_bound(bits: int, wanted: float) -> None:
    """The signal-to-noise ratios of optimal quantisers of a Gaussian (Max 1960, table 1)."""
    weight = np.random.default_rng(0).standard_normal((64, 4096))
    book = lloyd_max(weight.ravel(), 1 << bits)
    chosen = book[np.searchsorted(middles(book), weight)]
    error = np.square(weight - chosen).mean()
    assert -10 * np.log10(error) == pytest.approx(wanted, abs=0.05)
    codes, scales = coded(weight, bits)
    assert sqnr(weight, codes, scales) > wanted - 0.3  # what the grid of int8 costs


@pytest.mark.parametrize("bits", [3, 4, 5, 6])
def test_weights_that_were_stored_in_int8_have_as_good_codebooks(bits: int) -> None:
    """All rows lie on one grid then, from which centroids found by alternation hardly move."""
    weight = np.random.default_rng(1).standard_normal((64, 1024))
    step = np.abs(weight).max(1, keepdims=True) / 127
    stored = np.rint(weight / step) * step
    assert sqnr(stored, *coded(stored, bits)) > sqnr(weight, *coded(weight, bits)) - 0.15


@given(st.integers(1, 8), st.integers(0, 99))
def test_few_values_in_one_codebook(bits: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    weight = chance.laplace(size=(5, 3, 2, 4)) * chance.uniform(0.01, 3)
    codes, scales = coded(weight, bits)
    assert codes.shape == weight.shape
    assert scales.shape == (len(weight),)
    assert len(np.unique(codes)) <= (1 << bits)
    assert codes.min() >= -127
    assert (scales > 0).all()


def test_more_bits_are_better() -> None:
    weight = np.random.default_rng(1).laplace(size=(32, 300))
    found = [sqnr(weight, *coded(weight, bits)) for bits in range(1, 9)]
    assert found == sorted(found)
    assert found[7] > 30


def test_rows_of_other_sizes_share_the_codebook() -> None:
    """Gates whose weights are ten times larger cost the others nothing."""
    weight = np.random.default_rng(2).standard_normal((64, 500))
    alone = sqnr(weight[:32], *coded(weight[:32], 4))
    scaled = np.concatenate([weight[:32], 10 * weight[32:]])
    codes, scales = coded(scaled, 4)
    assert sqnr(weight[:32], codes[:32], scales[:32]) > alone - 0.3


@pytest.mark.parametrize("taps", [1, 5, 8])
def test_a_codebook_for_many_weights_is_as_good(taps: int) -> None:
    """Of millions of weights a part decides, of each tap alike, though some are far larger."""
    chance = np.random.default_rng(3)
    weight = chance.standard_normal((1200, 160, taps * 8)) * (1 + 9 * (np.arange(taps * 8) % taps))
    some = weight.reshape(1200, -1)[:: 3 * taps]  # few enough for all of them to decide
    assert some.size < 1 << 19
    assert sqnr(weight.reshape(1200, -1), *_rows(weight)) > sqnr(some, *_rows(some)) - 0.05


def _rows(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes, scales = coded(weight, 3)
    return codes.reshape(len(weight), -1), scales


def test_edges() -> None:
    codes, _ = coded(np.zeros((3, 4)), 4)
    assert not codes.any()
    codes, scales = coded(np.array([[1.0, -1.0]]), 1)
    assert np.allclose(codes * scales, [[1.0, -1.0]], rtol=0.01)
    assert on_grid(np.array([-300.0, 0.2, 0.3, 127.4])).tolist() == [-127, 0, 127]
    with pytest.raises(ValueError, match="9 bits"):
        coded(np.ones((1, 1)), 9)


@pytest.mark.parametrize("seed", range(40))
def test_means_over_and_over_are_those_of_the_histogram(seed: int) -> None:
    """Bit for bit, with values beyond the histogram and cells that are empty, too."""
    chance = np.random.default_rng(seed)
    held = histogram(chance.standard_normal(chance.integers(1, 400)) * 10 ** chance.uniform(-3, 3))
    means = Means(held, size := int(chance.integers(2, 70)))
    for spread in 10 ** chance.uniform(-3, 3, 5):
        book = np.sort(chance.standard_normal(size) * spread)
        assert np.array_equal(means(book), held.means(book))
