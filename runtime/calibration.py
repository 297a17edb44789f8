"""Utterances to take ranges from, as inputs of a recogniser's graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..backends.nna.program import Array
from .recogniser import Recogniser
from .samples import Samples


def graph_inputs(
    recogniser: Recogniser, utterances: Sequence[tuple[Samples, str]]
) -> Iterator[dict[str, Array]]:
    """Inputs by path, of samples and normalised text. Raises AsrcError E1004 for text that the
    vocabulary cannot spell."""
    roles = recogniser.roles
    ports = [port for part in recogniser.lowered.parts.values() for port in part.inputs]
    paths = {port.name: port.path for port in ports}
    for samples, text in utterances:
        labels = [0, *recogniser.vocabulary.encode(text)]
        frames = samples[:, None] if samples.ndim == 1 else samples.T
        yield {paths[roles.audio]: frames, paths[roles.previous]: np.array(labels, np.int64)}
