"""Utterances to take ranges from, as inputs of a transducer's graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..backends.nna.program import Array
from ..backends.torch.lowered import Lowered
from .samples import Samples
from .transducer import find_roles
from .vocabulary import Vocabulary


def graph_inputs(
    lowered: Lowered, vocabulary: Vocabulary, utterances: Iterable[tuple[Samples, str]]
) -> Iterator[dict[str, Array]]:
    """Inputs by path, of samples and normalised text. Raises AsrcError E1004 for text that the
    vocabulary cannot spell."""
    roles = find_roles(lowered)
    ports = [port for part in lowered.parts.values() for port in part.inputs]
    paths = {port.name: port.path for port in ports}
    for samples, text in utterances:
        labels = [0, *vocabulary.encode(text)]
        frames = samples[:, None] if samples.ndim == 1 else samples.T
        yield {paths[roles.audio]: frames, paths[roles.previous]: np.array(labels, np.int64)}
