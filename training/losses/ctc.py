"""Connectionist temporal classification as an auxiliary loss (Graves et al. 2006)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss as torch_ctc_loss

from .batch import Reduction, check_batch, reaches, reduce


def ctc_loss(
    logits: Tensor,
    targets: Tensor,
    frames: Tensor,
    labels: Tensor,
    *,
    blank: int = -1,
    reduction: Reduction = "mean",
) -> tuple[Tensor, Tensor]:
    """Minus the log-probability of the labels, and which utterances could be used.

    `logits` [B, T, V] are scores before softmax; float types below float32 are computed in it.
    `targets` [B, U] int64, `frames` [B] and `labels` [B] are as for `rnnt_loss`.

    CTC gives every label a frame, and one more between equal neighbours. An utterance with fewer
    frames cannot be aligned: its loss and gradient are zero, it does not count in the
    "mean", and it is false in the second result, [B] bool. Padding may hold anything, and its
    gradient is zero.

    Raises `ValueError` where shapes, lengths or targets do not fit.
    """
    targets, frames, labels = (each.to(logits.device) for each in (targets, frames, labels))
    batch, time, classes = logits.shape
    blank = check_batch((batch, time, classes), targets, frames, labels, blank)
    alignable = ctc_usable(targets, frames, labels)
    log_probs = _log_probs(logits, frames, alignable)
    # What cannot be aligned is handed over as an utterance without labels, then left out.
    losses = torch_ctc_loss(
        log_probs.transpose(0, 1),
        targets.masked_fill(~reaches(labels, targets.shape[1]), (blank + 1) % classes),
        frames.where(alignable, torch.full_like(frames, time)),
        labels.where(alignable, torch.zeros_like(labels)),
        blank=blank,
        reduction="none",
    )
    losses = losses.where(alignable, torch.zeros_like(losses))
    return reduce(losses, alignable, reduction), alignable


def ctc_usable(targets: Tensor, frames: Tensor, labels: Tensor) -> Tensor:
    """Which utterances have frames for all their labels, [B] bool."""
    repeats = (targets[:, 1:] == targets[:, :-1]) & reaches(labels, targets.shape[1])[:, 1:]
    return (frames > 0) & (frames >= labels + repeats.sum(1))


def _log_probs(logits: Tensor, frames: Tensor, alignable: Tensor) -> Tensor:
    kind = torch.promote_types(logits.dtype, torch.float32)
    real = reaches(frames, logits.shape[1]) & alignable[:, None]
    return logits.to(kind).masked_fill(~real[:, :, None], 0.0).log_softmax(-1)
