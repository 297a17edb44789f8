"""Layer norms whose variances the accelerator sees too coarsely.

The root of a variance is read from a table by a code of 8 bits, whose largest stands for the
largest variance that was heard. A frame with far less has a code so small that rounding it moves
the gain of the whole frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ...compiler.diagnostics import Diagnostic, diagnostic
from ...compiler.graph import Graph
from .formats import positive, range_of
from .program import Array

OFF = 0.05
"""By how much of itself rounding may move a gain."""

FEW = 0.05
"""The share of frames of which it may move more."""


def too_coarse(graph: Graph, heard: Mapping[str, Sequence[Array]]) -> Iterator[Diagnostic]:
    """W0602 for each norm, by path, whose gain rounding moves further than that, in more frames."""
    for path, parts in heard.items():
        every = np.concatenate([part.ravel() for part in parts])
        if not every.size:
            continue
        share = float((moved(every) > OFF).mean())
        if share > FEW:
            message = f"the gain of the norm `{path}` is off by more than {OFF:.0%} in {share:.0%}"
            note = f"{message} of the frames heard: their variance takes few of 255 codes"
            help = (
                "norm louder values, or leave what is far louder than all else out of --calibrate"
            )
            yield diagnostic("W0602", note, graph[path].span, help=help)


def moved(variances: Array) -> Array:
    """By how much of itself the root of each moves when it is a code, up to the largest."""
    codes = variances / positive(range_of(variances)).scale
    rounded = np.maximum(np.rint(codes), 1.0)
    return np.asarray(np.abs(np.sqrt(codes / rounded) - 1.0))
