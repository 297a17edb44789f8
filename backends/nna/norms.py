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

SMALLEST = 8
"""Codes: half a step of this one moves the gain by 3 %."""

_FEW = 0.02
"""The share of frames that may lie below."""


def too_coarse(graph: Graph, heard: Mapping[str, Sequence[Array]]) -> Iterator[Diagnostic]:
    """W0602 for each norm, by path, more of whose variances lie below than may."""
    for path, parts in heard.items():
        every = np.concatenate([part.ravel() for part in parts])
        if not every.size:
            continue
        low = float((every < SMALLEST * positive(range_of(every)).scale).mean())
        if low > _FEW:
            message = f"the norm `{path}` hears {low:.1%} of frames with less than {SMALLEST} of"
            help = "norm louder values, or leave quiet stretches out of --calibrate"
            note = f"{message} 255 codes of variance: there its gain is off by 3 % or more"
            yield diagnostic("W0602", note, graph[path].span, help=help)
