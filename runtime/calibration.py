"""Utterances to take ranges from, as inputs of a transducer's graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..backends.nna.program import Array
from ..backends.torch.lowered import Lowered
from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from .samples import Samples
from .transducer import find_roles
from .vocabulary import Vocabulary


def graph_inputs(
    lowered: Lowered,
    vocabulary: Vocabulary,
    utterances: Iterable[tuple[Samples, str]],
    manifest: Path | None = None,
) -> Iterator[dict[str, Array]]:
    """Inputs by path, of samples and normalised text.

    Raises AsrcError E1004 for text that the vocabulary cannot spell, E1005 at the end where there
    were utterances, of `manifest`, and none had a label.
    """
    roles = find_roles(lowered)
    ports = [port for part in lowered.parts.values() for port in part.inputs]
    paths = {port.name: port.path for port in ports}
    heard, said = 0, 0
    for samples, text in utterances:
        labels = [0, *vocabulary.encode(text)]
        heard, said = heard + 1, said + len(labels) - 1
        frames = samples[:, None] if samples.ndim == 1 else samples.T
        yield {paths[roles.audio]: frames, paths[roles.previous]: np.array(labels, np.int64)}
    if heard and not said:
        raise AsrcError(_untold(heard, manifest))


def _untold(heard: int, manifest: Path | None) -> Diagnostic:
    """E1005: from audio alone the predictor hears nothing but the start, so does the joint."""
    of = f" of `{manifest}`" if manifest else ""
    message = f"none of {heard} utterances{of} has text, so predictor and joint have no labels"
    help = "their ranges come from labels: take utterances with `text`, or more of the manifest"
    return diagnostic("E1005", f"{message} to take ranges from", help=help)
