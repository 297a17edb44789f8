"""Mean and deviation of features, in one pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.compiler.diagnostics import AsrcError
from asrc.training.statistics import SMALLEST, feature_statistics


@given(st.lists(st.integers(0, 20), min_size=1).filter(any), st.sampled_from([0.0, 1e3, 1e7]))
def test_one_pass_is_as_good_as_two(counts: list[int], offset: float) -> None:
    """However the frames are cut into arrays, and where the mean is far from 0 too."""
    chance = np.random.default_rng(len(counts))
    arrays = [chance.normal(offset, [1.0, 5.0, 0.1], (count, 3)) for count in counts]
    mean, deviation = feature_statistics(arrays)
    frames = np.concatenate(arrays)
    assert mean.dtype == deviation.dtype == np.float64
    assert np.allclose(mean, frames.mean(axis=0), rtol=1e-12)
    wanted = np.maximum(frames.std(axis=0), SMALLEST)
    assert np.allclose(deviation, wanted, rtol=1e-6)


def test_single_precision_is_summed_in_double() -> None:
    arrays = [np.full((1_000, 1), 0.1, np.float32) for _ in range(1_000)]
    mean, deviation = feature_statistics(iter(arrays))
    assert mean[0] == pytest.approx(np.float64(np.float32(0.1)), rel=1e-12)
    assert deviation[0] == SMALLEST


def test_no_frames() -> None:
    for arrays in ([], [np.zeros((0, 4))]):
        with pytest.raises(AsrcError, match="E1005"):
            feature_statistics(arrays)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers(value: float) -> None:
    with pytest.raises(AsrcError, match="E1001"):
        feature_statistics([np.array([[1.0, value]])])
