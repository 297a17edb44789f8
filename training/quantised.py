"""What a training starts from: float weights through the model's passes, ranges from real audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from ..backends.nna.calibrate import calibrated, missing
from ..backends.nna.program import Array
from ..backends.torch.lowered import Lowered
from ..backends.torch.narrow import widened
from ..backends.torch.weights import load_weights, read_tensors
from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ..compiler.facts import Facts
from ..compiler.protocol import Weights
from ..runtime.calibration import graph_inputs
from ..runtime.samples import Samples
from ..runtime.vocabulary import Vocabulary
from .cache import AudioCache
from .plan import TrainingData
from .randomness import uniform

UTTERANCES = 64
"""So many of the training set, drawn by id, give the ranges."""

Passes = Callable[[Weights | None], tuple[Facts, Weights | None]]
"""The model built anew, its passes run on the weights that it has before them."""


def first_weights(path: Path, lowered: Lowered, passes: Passes) -> dict[str, Array]:
    """Weights of the model before its passes or after them, as they are after them.

    Raises AsrcError E0008 and E1006 for the file.
    """
    given = {name: x.float().numpy() for name, x in widened(read_tensors(path)[0]).items()}
    wanted = lowered.tensors().keys() - missing(lowered.facts, given)
    if given.keys() == wanted:
        return given
    try:
        found = passes(given)[1]
    except KeyError:
        found = None  # it has other values: loading says which
    return dict(given if found is None else found)


def begin(
    lowered: Lowered,
    given: Mapping[str, Array],
    vocabulary: Vocabulary,
    data: TrainingData,
    source: str,
    say: Callable[[str], None],
) -> None:
    """Load weights, and what a quantised model has beside them. Raises AsrcError E1006."""
    weights = dict(given)
    if missing(lowered.facts, weights):
        _check(lowered, weights, source)
        heard = list(_heard(vocabulary, data))
        inputs = graph_inputs(lowered, vocabulary, heard)
        weights = calibrated(lowered.facts, weights, inputs, lambda told: say(_warning(told)))
        say(f"ranges: the smallest and largest of {len(heard)} utterances")
    tensors = {name: torch.from_numpy(np.asarray(x)) for name, x in weights.items()}
    load_weights(lowered, tensors, source)


def _warning(told: Diagnostic) -> str:
    return f"warning[{told.code}]: {told.message}"


def _check(lowered: Lowered, weights: Mapping[str, Array], source: str) -> None:
    """E1006 before any work where the parameters themselves do not fit."""
    lacking = missing(lowered.facts, weights)
    shapes = {name: x for name, x in lowered.tensors().items() if name in lacking}
    known = {name: torch.from_numpy(np.asarray(x)) for name, x in weights.items()}
    load_weights(lowered, {**known, **shapes}, source)


def refuse_quantised(lowered: Lowered) -> None:
    """Raises AsrcError E1008: ranges of random weights mean nothing."""
    if missing(lowered.facts, {}):
        message = "a quantised model is trained from a float one, and there is none"
        help = "train without `quantize`, then go on with `--from run/best/weights.safetensors`"
        raise AsrcError(diagnostic("E1008", message, help=help))


def _heard(vocabulary: Vocabulary, data: TrainingData) -> Iterator[tuple[Samples, str]]:
    cache = AudioCache(data.rate, channels=data.loader.dataset.audio.channels)
    order = sorted(data.train, key=lambda u: uniform(0, 0, u.id, "ranges"))
    for utterance in order[:UTTERANCES]:
        try:
            yield cache.read(utterance), utterance.text
        except AsrcError:
            continue  # left out and told when it is its turn
