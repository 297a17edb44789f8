"""The lengths of a padded batch: checks, masks, and the reduction of one loss an utterance."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]


def usable(frames: Tensor, labels: Tensor, s_range: int | None = None) -> Tensor:
    """Which utterances a transducer loss can learn from, [B] bool.

    `frames` and `labels` are lengths, [B]. One frame is enough for any number of labels; with
    windows of `s_range` label states at most `s_range - 1` labels fit into a frame.
    """
    enough = frames > 0
    return enough if s_range is None else enough & (labels <= (s_range - 1) * frames)


def blank_class(blank: int, classes: int) -> int:
    """The index of blank counted from zero; raises `ValueError` outside [-classes, classes)."""
    if not -classes <= blank < classes:
        raise ValueError(f"blank is {blank}, but there are {classes} classes")
    return blank % classes


def check_batch(
    shape: tuple[int, int, int], targets: Tensor, frames: Tensor, labels: Tensor, blank: int
) -> int:
    """The blank counted from zero, once all fits scores of `shape` (batch, frames, classes).

    Raises `ValueError` for an empty batch, other shapes or lengths, and labels in use that are
    blank or no class. Padding of `targets` [B, U] may hold anything.
    """
    batch, time, classes = shape
    if not batch or not time:
        raise ValueError(f"scores of {batch} utterances and {time} frames hold nothing")
    if targets.ndim != 2 or targets.shape[0] != batch:
        raise ValueError(f"targets have shape {list(targets.shape)}; [{batch}, U] is needed")
    _check_lengths("frames", frames, batch, time)
    _check_lengths("labels", labels, batch, targets.shape[1])
    blank = blank_class(blank, classes)
    used = targets[reaches(labels, targets.shape[1])]
    if bool(((used < 0) | (used >= classes) | (used == blank)).any()):
        raise ValueError(f"targets hold blank ({blank}) or a class outside 0..{classes - 1}")
    return blank


def _check_lengths(name: str, lengths: Tensor, batch: int, most: int) -> None:
    if lengths.shape != (batch,) or lengths.is_floating_point():
        raise ValueError(f"{name} has shape {list(lengths.shape)}, but {batch} lengths are needed")
    if not 0 <= int(lengths.min()) <= int(lengths.max()) <= most:
        raise ValueError(f"{name} is {lengths.tolist()}, but must lie in 0..{most}")


def reaches(lengths: Tensor, size: int) -> Tensor:
    """Whether a position comes before the end, [B, size] bool."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def reduce(losses: Tensor, counts: Tensor, reduction: Reduction) -> Tensor:
    """One number for a batch: "mean" divides by the utterances that count, at least one.

    `losses` is [B]; `counts` is [B] bool and false where the loss is zero for want of frames.
    Raises `ValueError` for another `reduction`.
    """
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction is "{reduction}", but must be "mean", "sum" or "none"')
    total = losses.sum()
    return total if reduction == "sum" else total / counts.sum().clamp(min=1)
