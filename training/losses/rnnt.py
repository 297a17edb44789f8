"""The exact transducer loss (Graves 2012, arXiv 1211.3711)."""

from __future__ import annotations

from torch import Tensor

from .batch import Reduction, reduce, usable
from .transducer import Options, Problem, transducer_losses


def rnnt_loss(
    logits: Tensor,
    targets: Tensor,
    frames: Tensor,
    labels: Tensor,
    *,
    blank: int = -1,
    fastemit: float = 0.0,
    delay_penalty: float = 0.0,
    reduction: Reduction = "mean",
    normalised: bool = False,
    overwrite: bool = False,
) -> Tensor:
    """Minus the log-probability of the labels, summed over all alignments.

    `logits` [B, T, U+1, V] are the joint network's scores; softmax over V is part of the loss.
    They may be float64, float32, or shorter: those are computed in float32, and the gradient is
    of their own type. `targets` [B, U] int64 hold the labels, `frames` [B] and `labels` [B] the
    lengths. Python reads the lengths, so on a GPU the call waits for what was queued before it.

    - `blank`: the class that stands for no label, counted from the end where negative.
    - `fastemit`: lambda of FastEmit (arXiv 2010.11148). The gradient of every label arc is
      1 + lambda times as large; the value of the loss does not change.
    - `delay_penalty`: added to a label's log-probability for every frame that it comes before
      the middle of the utterance, and taken from it for every frame after (arXiv 2211.00490).
    - `normalised`: the inputs are log-probabilities, and so is what the gradient is for. A model
      that ends in log_softmax is right either way; this way the gradient is zero but for
      two classes a cell, and log_softmax's own backward does the rest.
    - `overwrite`: the gradient takes the place of `logits`, which saves as much memory and the
      time to get it. Only for logits that nothing else reads, as those of a linear layer;
      autograd raises `RuntimeError` where it would need them again.

    Padding may hold anything, NaN included, and its gradient is exactly zero. Labels may outnumber
    frames. An utterance without frames has no alignment: its loss and gradient are zero, and it
    does not count in the "mean", which is over utterances (see `usable`). Where no
    alignment has any probability the loss is infinite and the gradient zero.

    Raises `ValueError` where shapes, lengths or targets do not fit.
    """
    options = Options(blank, fastemit, delay_penalty, normalised, overwrite)
    frames, labels = frames.to(logits.device), labels.to(logits.device)
    problem = Problem(targets.to(logits.device), frames, labels, None, options)
    losses = transducer_losses(logits, problem)
    return reduce(losses, usable(frames, labels), reduction)
