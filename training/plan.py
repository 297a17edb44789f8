"""The data of a training, made from manifests and a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..backends.torch.audio import Logmel
from ..backends.torch.leaves import Cmvn
from ..backends.torch.lowered import Lowered
from ..compiler.diagnostics import AsrcError, diagnostic
from ..runtime.vocabulary import Vocabulary
from .augment import SpecAugment
from .batches import Batching, Length
from .cache import AudioCache
from .dataset import Dataset
from .loading import Loader
from .manifest import Utterance, read_manifest
from .perturb import Perturbation, Perturber
from .randomness import uniform
from .recipe import Recipe
from .selection import Limits, Selection, Skipped, select_utterances
from .statistics import feature_statistics

_STATISTICS = 600
"""So many utterances, drawn by id, give the mean and deviation of features."""


@dataclass(frozen=True)
class TrainingData:
    """What is trained on, in which batches, and what is left out."""

    train: tuple[Utterance, ...]
    easy: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    batching: Batching
    length: Length
    loader: Loader
    rate: int
    reports: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def prepare(
    train: Sequence[Utterance],
    dev: Sequence[Utterance],
    vocabulary: Vocabulary,
    recipe: Recipe,
    rate: int,
    channels: int = 1,
    period: float | None = None,
) -> TrainingData:
    """Select, batch and load; `period` as in `Limits`, for what is trained on.

    Raises AsrcError E1005 where nothing is left.
    """
    limits = Limits(recipe.data.shortest, recipe.data.longest)
    aligned = replace(limits, period=period)
    kept = [select_utterances(train, vocabulary, aligned)]
    kept.append(select_utterances(dev, vocabulary, limits))
    options, data = recipe.augmentation, recipe.data
    change = Perturbation(speeds=options.speeds, gain=options.gain, seed=recipe.seed)
    perturber = Perturber(change, rate)
    cache = AudioCache(rate, data.cache * 2**20, channels)
    return TrainingData(
        kept[0].kept,
        _easy(kept[0].kept, recipe),
        kept[1].kept,
        Batching(seconds=data.seconds, jitter=data.jitter, seed=recipe.seed),
        perturber.seconds,
        Loader(Dataset(vocabulary, cache, perturber), workers=data.workers),
        rate,
        tuple(_report(name, each) for name, each in zip(("train", "dev"), kept, strict=True)),
        tuple(skip for each in kept for skip in each.skipped),
    )


def _easy(utterances: Sequence[Utterance], recipe: Recipe) -> tuple[Utterance, ...]:
    """What a training begins with. Raises AsrcError E1005 where the manifest calls nothing easy."""
    if not recipe.beginning.easy:
        return ()
    found = tuple(u for u in utterances if u.extra.get("easy") is True)
    if not found:
        message = "the recipe begins with easy utterances, and the manifest calls none easy"
        help = 'lines with `"easy": true`, or `easy = 0` in `[beginning]`'
        raise AsrcError(diagnostic("E1005", message, help=help))
    return found


def _report(name: str, selection: Selection) -> str:
    return f"{name}: {selection.report}"


def masks(recipe: Recipe) -> SpecAugment | None:
    """The masks on features that a recipe asks for."""
    o = recipe.augmentation
    if not o.bands and not o.stretches:
        return None
    return SpecAugment(
        o.bands, o.widest, o.stretches, o.longest, o.portion, o.warp, o.colour, recipe.seed
    )


def set_statistics(
    lowered: Lowered, utterances: Sequence[Utterance], rate: int, show: Callable[[str], None]
) -> None:
    """Global mean and deviation of the features of every `cmvn` that follows a `logmel`."""
    chosen = sorted(utterances, key=lambda u: uniform(0, 0, u.id, "statistics"))[:_STATISTICS]
    for path, module in lowered.leaves.items():
        source = lowered.facts.graph[path].inputs[:1]
        front = lowered.leaves.get(source[0]) if source else None
        if isinstance(module, Cmvn) and isinstance(front, Logmel):
            cache = AudioCache(rate, channels=prod(front.dims[:-1]))
            mean, deviation = feature_statistics(_features(front, cache, chosen))
            shape = module.mean.shape
            module.mean.copy_(torch.from_numpy(mean).view(shape))
            module.deviation.copy_(torch.from_numpy(deviation).view(shape))
            show(f"features: mean and deviation of {len(chosen)} utterances")


def _features(
    front: Logmel, cache: AudioCache, utterances: Sequence[Utterance]
) -> Iterator[NDArray[np.floating[Any]]]:
    failed = []
    for utterance in utterances:
        try:
            samples = torch.from_numpy(np.atleast_2d(cache.read(utterance)))
        except AsrcError as error:
            failed.append(error)  # left out and told when it is its turn
            continue
        with torch.no_grad():
            found = front(samples.T.unsqueeze(0).to(front.bank.device))[0]
        yield found.flatten(1).cpu().numpy()
    if utterances and len(failed) == len(utterances):
        raise _unheard(failed)


def _unheard(failed: Sequence[AsrcError]) -> AsrcError:
    first = failed[0].diagnostics[0]
    message = f"none of {len(failed)} utterances can be heard; the first: {first.message}"
    return AsrcError(diagnostic("E1005", message, help=" ".join(first.help)))


def manifests(train: Path, dev: Path | None) -> tuple[list[Utterance], list[Utterance]]:
    """Training and validation utterances; without a manifest for these, every fiftieth.

    At least one is held out, and one is left. Raises AsrcError E1005 where there is only one.
    """
    everything = read_manifest(train)
    if dev is not None:
        return everything, read_manifest(dev)
    if len(everything) < 2:
        message = f"`{train}` has one utterance, and none is left to validate with"
        raise AsrcError(diagnostic("E1005", message, help="give `--dev`, a manifest of others"))
    draws = {u.id: uniform(0, 0, u.id, "dev") for u in everything}
    held = {id for id, draw in draws.items() if draw < 0.02}
    if len(held) in (0, len(everything)):
        held = {min(draws, key=draws.__getitem__)}
    return [u for u in everything if u.id not in held], [u for u in everything if u.id in held]
