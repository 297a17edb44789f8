"""Mean and deviation of features over a training set, for cmvn."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..compiler.diagnostics import AsrcError, diagnostic

Floats = NDArray[np.float64]

SMALLEST = 1e-5
"""Least deviation: a channel that never changes must not be divided by 0."""


def feature_statistics(features: Iterable[NDArray[np.floating]]) -> tuple[Floats, Floats]:
    """Mean and standard deviation `[channels]` over all frames of arrays `[frames, channels]`.

    One pass in float64: the moments of each array are joined to those so far (Chan, Golub and
    LeVeque 1983; Welford 1962 is the case of one frame), which loses no digits where
    the mean is large. Raises AsrcError E1005 without any frames and E1001 where one is not finite.
    """
    count = 0
    mean, squares = np.zeros(0), np.zeros(0)
    for array in features:
        if not len(array):
            continue
        block = _finite(array)
        if not count:
            mean, squares = np.zeros(block.shape[1]), np.zeros(block.shape[1])
        center = block.mean(axis=0)
        apart, total = center - mean, count + len(block)
        squares += ((block - center) ** 2).sum(axis=0) + apart**2 * (count * len(block) / total)
        mean += apart * (len(block) / total)
        count = total
    if not count:
        message = "there are no frames to take statistics of"
        raise AsrcError(diagnostic("E1005", message, help="is the manifest the right one?"))
    return mean, np.maximum(np.sqrt(squares / count), SMALLEST)


def _finite(array: NDArray[np.floating]) -> Floats:
    block = np.asarray(array, np.float64)
    if not np.isfinite(block).all():
        message = "features are not finite"
        raise AsrcError(diagnostic("E1001", message, help="look for damaged audio"))
    return block
