"""Which utterances of a batch no loss can learn from, and why."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .dataset import Batch
from .losses import ctc_usable, usable
from .recipe import Losses
from .selection import Skipped

Problems = list[tuple[Tensor, str, str]]
"""For which utterances, [B] bool; reason and detail as in `Skipped`, the same in every epoch."""


def problems_of(batch: Batch, frames: Tensor, losses: Losses) -> Problems:
    """What is wrong with utterances of which the encoder makes `frames` [B]."""
    found = [(frames == 0, "too short", "no frame of the encoder")]
    if losses.ctc > 0:
        crowded = ~ctc_usable(batch.targets, frames, batch.labels)
        found.append((crowded, "more labels than frames", "perhaps at one speed alone"))
    if losses.pruned:
        crowded = ~usable(frames, batch.labels, losses.pruned)
        most = f"`losses.pruned = {losses.pruned}` has room for {losses.pruned - 1} in a frame"
        found.append((crowded, "more labels than the pruned loss takes", most))
    return found


def counted(problems: Problems) -> Tensor:
    """The utterances without a problem, [B] bool."""
    return ~torch.stack([where for where, _, _ in problems]).any(0)


def skips(batch: Batch, problems: Problems) -> Iterator[Skipped]:
    """Each utterance with a problem, but for one without samples, which only fills a batch."""
    left = batch.samples > 0
    for where, reason, detail in problems:
        for number in (where & left).nonzero().flatten().tolist():
            yield Skipped(batch.ids[number], reason, detail)
        left = left & ~where
