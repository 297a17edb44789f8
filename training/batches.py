"""Batches of like length, the same for any number of processes, resumable at every batch.

The sequence of global batches follows from the utterances, the options and the seed alone. Each of
`world` processes takes its share of every global batch, so that a run on one machine and a run on
eight see the same data in the same steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..compiler.diagnostics import AsrcError, diagnostic
from .manifest import Utterance
from .randomness import generator, uniform

Length = Callable[[Utterance, int], float]
"""Seconds of an utterance in an epoch, where they differ from its duration."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a run stands: epoch and batch, both from 0. All that a checkpoint must keep of data."""

    epoch: int = 0
    batch: int = 0

    def __post_init__(self) -> None:
        if self.epoch < 0 or self.batch < 0:
            help = "is the checkpoint whole? epochs and batches count from 0"
            raise AsrcError(diagnostic("E1006", f"a run cannot stand at {self}", help=help))


@dataclass(frozen=True, slots=True)
class Batching:
    """`seconds` of audio in a global batch, counted with padding: utterances times the longest.

    At most `most` utterances in one. `jitter`: utterances are put in order of their length times a
    random factor of up to 1 + jitter, drawn anew in each epoch; more mixes better and pads more.
    """

    seconds: float = 60.0
    most: int | None = None
    jitter: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        fits = 0 < self.seconds < math.inf and 0 <= self.jitter < math.inf and self.seed >= 0
        if not fits or (self.most is not None and self.most < 1):
            help = "seconds above 0, at least one utterance, no negative jitter or seed"
            raise AsrcError(diagnostic("E1008", f"no batches with {self}", help=help))


@dataclass(frozen=True, slots=True)
class _Measured:
    """An utterance, its length in this epoch, and its place in the order."""

    place: tuple[float, str]
    seconds: float
    utterance: Utterance


def epoch_batches(
    utterances: Iterable[Utterance], options: Batching, epoch: int, length: Length | None = None
) -> list[tuple[Utterance, ...]]:
    """All global batches of an epoch; every utterance is in exactly one.

    The order of `utterances` does not matter. `length` gives seconds where speed perturbation
    changes them. An utterance longer than a batch is a batch by itself.
    """
    measured = sorted(_measure(utterances, options, epoch, length), key=lambda item: item.place)
    batches = list(_cut(measured, options))
    order = generator(options.seed, epoch, "", "batch order").permutation(len(batches))
    return [batches[number] for number in order]


def batches_from(
    start: Position,
    utterances: Sequence[Utterance],
    options: Batching,
    length: Length | None = None,
) -> Iterator[tuple[Position, tuple[Utterance, ...]]]:
    """Global batches from `start` on, without end, each with its position.

    To go on behind a batch, start one batch later: a number past the end of its epoch is the first
    batch of the next one. Raises AsrcError E1005 where there are no utterances.
    """
    if not utterances:
        message = "there are no utterances to make batches of"
        raise AsrcError(diagnostic("E1005", message, help="is it the right manifest?"))
    epoch, first = start.epoch, start.batch
    while True:
        batches = epoch_batches(utterances, options, epoch, length)
        for number in range(first, len(batches)):
            yield Position(epoch, number), batches[number]
        epoch, first = epoch + 1, 0


def share(batch: Sequence[Utterance], rank: int, world: int) -> tuple[Utterance, ...]:
    """What process `rank` of `world` takes of a global batch: every world-th utterance.

    The shares are of like length, disjoint, and together the batch. With fewer utterances than
    processes some are empty: such a process still takes part in the step, with nothing to add.
    """
    return tuple(batch[rank::world])


def _measure(
    utterances: Iterable[Utterance], options: Batching, epoch: int, length: Length | None
) -> Iterator[_Measured]:
    for utterance in utterances:
        seconds = length(utterance, epoch) if length else utterance.duration
        chance = uniform(options.seed, epoch, utterance.id, "batch")
        yield _Measured((seconds * (1 + options.jitter * chance), utterance.id), seconds, utterance)


def _cut(ordered: Iterable[_Measured], options: Batching) -> Iterator[tuple[Utterance, ...]]:
    """Neighbours together, as many as fit; only the last batch is short for want of utterances."""
    held: list[Utterance] = []
    longest, most = 0.0, options.most or math.inf
    for item in ordered:
        longest = max(longest, item.seconds)
        count = len(held) + 1
        if held and (count > most or longest * count > options.seconds):
            yield tuple(held)
            held, longest = [], item.seconds
        held.append(item.utterance)
    if held:
        yield tuple(held)
