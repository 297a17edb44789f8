"""Pruned transducer loss (Kuang et al. 2022, arXiv 2206.13236).

Four steps: `simple_loss` on encoder and predictor outputs of width V alone, `prune_ranges` from its
occupancies, `gather` and the joint network on the windows, `pruned_loss` on what it returns. Train
with the sum of both losses; pruning is an approximation, and bad while the simple loss
has learnt nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .batch import Reduction, check_batch, reaches, reduce, usable
from .lattice import LatticeLoss
from .transducer import Options, Problem, delay, transducer_losses


def simple_loss(
    am: Tensor,
    lm: Tensor,
    targets: Tensor,
    frames: Tensor,
    labels: Tensor,
    *,
    blank: int = -1,
    lm_scale: float = 0.0,
    am_scale: float = 0.0,
    delay_penalty: float = 0.0,
    reduction: Reduction = "mean",
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The loss of a joint network that only adds, and the occupancies of its arcs.

    `am` [B, T, V] and `lm` [B, U+1, V] are projections of encoder and predictor. The score of a
    class at (t, u) is am[t] + lm[u], whose normaliser is a matrix product of exponentials, so
    nothing of size [T, U, V] comes to be. Short float types are computed in float32.

    Log-probabilities are mixed with those of the predictor alone (weight `lm_scale`) and of the
    encoder with the batch's mean prediction (weight `am_scale`), as the paper does.

    Returns (loss, (px_grad [B, T, U], py_grad [B, T, U+1])) for label and blank arcs. Lengths,
    padding, `reduction`, `delay_penalty` and errors are as for `rnnt_loss`.
    """
    device = am.device
    targets, frames, labels = targets.to(device), frames.to(device), labels.to(device)
    batch, time, classes = am.shape
    blank = check_batch((batch, time, classes), targets, frames, labels, blank)
    if lm.shape != (batch, targets.shape[1] + 1, classes):
        raise ValueError(
            f"am has shape {list(am.shape)}, lm {list(lm.shape)}; [B, T, V] and "
            f"[B, U+1, V] are needed with U = {targets.shape[1]}"
        )
    targets = targets.masked_fill(~reaches(labels, targets.shape[1]), blank)
    with torch.autocast(device.type, enabled=False):
        am, lm = _clean(am, frames), _clean(lm, labels + 1)
        arcs = _mixed(am, lm, targets, labels, blank, (lm_scale, am_scale))
    by_blank, by_label = arcs.unbind()
    if delay_penalty:
        by_label = by_label + delay(frames, am.shape[1], delay_penalty).to(by_label.dtype)
    losses, py_grad, px_grad = LatticeLoss.apply(  # type: ignore[no-untyped-call]
        by_blank, by_label, frames, labels
    )
    loss = reduce(losses, usable(frames, labels), reduction)
    return loss, (px_grad[:, :, :-1], py_grad)


def pruned_loss(
    logits: Tensor,
    targets: Tensor,
    ranges: Tensor,
    frames: Tensor,
    labels: Tensor,
    *,
    blank: int = -1,
    fastemit: float = 0.0,
    delay_penalty: float = 0.0,
    reduction: Reduction = "mean",
    overwrite: bool = False,
) -> Tensor:
    """The transducer loss over the paths that stay within the windows.

    `logits` [B, T, S, V] belong to the label states `ranges` [B, T, S] of `prune_ranges`; with
    windows of all states this is `rnnt_loss`, which says what the rest means. The loss of
    an utterance with too many labels for its windows is infinite, and its gradient zero
    (`usable(frames, labels, s_range)` tells).
    """
    options = Options(blank, fastemit, delay_penalty, overwrite=overwrite)
    frames, labels = frames.to(logits.device), labels.to(logits.device)
    problem = Problem(targets.to(logits.device), frames, labels, ranges, options)
    losses = transducer_losses(logits, problem)
    return reduce(losses, usable(frames, labels), reduction)


def _clean(scores: Tensor, lengths: Tensor) -> Tensor:
    """In float32 at least, and zero in padding, whose gradient then is zero too."""
    padding = ~reaches(lengths, scores.shape[1])[:, :, None]
    kind = torch.promote_types(scores.dtype, torch.float32)
    return scores.to(kind).masked_fill(padding, 0.0)


def _mixed(
    am: Tensor,
    lm: Tensor,
    targets: Tensor,
    labels: Tensor,
    blank: int,
    scales: tuple[float, float],
) -> Tensor:
    """Log-probabilities of the blank and the label arcs, [2, B, T, U+1]."""
    lm_scale, am_scale = scales
    mixed = (1.0 - lm_scale - am_scale) * _arcs(am, lm, targets, blank, _log_sums(am, lm))
    if lm_scale:
        normaliser = lm.logsumexp(-1)[:, None]
        mixed = mixed + lm_scale * _arcs(torch.zeros_like(am), lm, targets, blank, normaliser)
    if am_scale:
        mean = _mean_prediction(lm, labels)
        normaliser = (am + mean).logsumexp(-1)[:, :, None]
        mixed = mixed + am_scale * _arcs(am, mean.expand_as(lm), targets, blank, normaliser)
    return mixed


def _arcs(am: Tensor, lm: Tensor, targets: Tensor, blank: int, normaliser: Tensor) -> Tensor:
    """am[t, k] + lm[u, k] - normaliser for k = blank and for k = the next label, stacked."""
    following = torch.nn.functional.pad(targets, (0, 1), value=blank)
    heard = am.gather(2, following[:, None].expand(-1, am.shape[1], -1))
    told = lm.gather(2, following[:, :, None])[:, None, :, 0]
    by_blank = am[:, :, None, blank] + lm[:, None, :, blank]
    return torch.stack((by_blank, heard + told)) - normaliser


def _log_sums(am: Tensor, lm: Tensor) -> Tensor:
    """The logarithm of the sum over classes of exp(am[t] + lm[u]), [B, T, U+1]."""
    am_top, lm_top = am.detach().amax(-1, keepdim=True), lm.detach().amax(-1, keepdim=True)
    product = torch.exp(am - am_top) @ torch.exp(lm - lm_top).transpose(1, 2)
    # Where the classes that either side favours are far apart, every product may underflow.
    floor = torch.finfo(product.dtype).tiny
    return (product + floor).log() + am_top + lm_top.transpose(1, 2)


def _mean_prediction(lm: Tensor, labels: Tensor) -> Tensor:
    """The logarithm of the predictor's mean probabilities over all real label states, [V]."""
    real = reaches(labels + 1, lm.shape[1])[:, :, None]
    total = (lm.softmax(-1) * real).sum((0, 1))
    return (total / real.sum() + torch.finfo(lm.dtype).tiny).log()
