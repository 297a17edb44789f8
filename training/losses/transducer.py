"""The transducer loss as one function of autograd, over all label states or over windows of them.

Softmax is part of it: besides the scores only their gradient is ever as large as [B, T, S, V].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .batch import blank_class, check_batch, reaches
from .cells import Cells, gradient, measure, pick
from .lattice import Sweep, forward_sweep, occupancies


@dataclass(frozen=True)
class Options:
    """How the loss departs from the plain one; `rnnt_loss` says what each means."""

    blank: int = -1
    fastemit: float = 0.0
    delay_penalty: float = 0.0
    normalised: bool = False
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class Problem:
    """A batch without its scores: labels [B, U] and lengths [B], on the device of the scores.

    `states` [B, T, S] says which label state each cell stands for; None means S = U + 1, all.
    """

    targets: Tensor
    frames: Tensor
    labels: Tensor
    states: Tensor | None
    options: Options

    def cells(self, scores: Tensor) -> Cells:
        """Where to look in the scores. In padding the label is any class."""
        blank = blank_class(self.options.blank, scores.shape[-1])
        used = self.targets.masked_fill(~reaches(self.labels, self.targets.shape[1]), blank)
        following = torch.nn.functional.pad(used, (0, 1), value=blank)[:, None]
        following = self.narrow(following.expand(-1, scores.shape[1], -1))
        columns = (self.labels + 1).clamp(max=scores.shape[2])
        return Cells(
            torch.stack((torch.full_like(following, blank), following), -1),
            tuple(self.frames.tolist()),
            tuple(columns.tolist()),
        )

    def narrow(self, wide: Tensor) -> Tensor:
        """From all label states [B, T, U+1] to the cells [B, T, S]."""
        return wide if self.states is None else wide.gather(2, self.states)

    def widen(self, narrow: Tensor) -> Tensor:
        """From the cells [B, T, S] to all label states [B, T, U+1]; those without have log 0."""
        if self.states is None:
            return narrow
        batch, time, _ = narrow.shape
        wide = narrow.new_full((batch, time, self.targets.shape[1] + 1), -torch.inf)
        return wide.scatter_(2, self.states, narrow)

    def sweep(self, log_probs: Tensor) -> Sweep:
        """The forward recursion on log-probabilities [B, T, S, 2] of blank and label."""
        blank, label = (self.widen(part) for part in log_probs.unbind(-1))
        if self.options.delay_penalty:
            label = label + delay(self.frames, label.shape[1], self.options.delay_penalty)
        return forward_sweep(blank, label, self.frames, self.labels)

    def occupancy(self, sweep: Sweep) -> Tensor:
        """Posterior probabilities [B, T, S, 2] of blank and label arcs, with FastEmit's weight."""
        blank, label = (self.narrow(part) for part in occupancies(sweep))
        return torch.stack((blank, label * (1.0 + self.options.fastemit)), -1)


def delay(frames: Tensor, time: int, penalty: float) -> Tensor:
    """What a delay penalty adds to the label arcs of each frame, [B, T, 1] in float64."""
    middle = (frames.double() - 1.0) / 2.0
    ahead = middle[:, None] - torch.arange(time, device=frames.device)
    return penalty * ahead[:, :, None]


def transducer_losses(scores: Tensor, problem: Problem) -> Tensor:
    """Minus the log-probability of each utterance's labels, [B] in float32 (or float64).

    `scores` is [B, T, S, V]. Raises `ValueError` where the shapes or lengths do not fit.
    """
    batch, time, width, classes = scores.shape
    shape = (batch, time, classes)
    check_batch(shape, problem.targets, problem.frames, problem.labels, problem.options.blank)
    states = problem.targets.shape[1] + 1
    if problem.states is None and width != states:
        raise ValueError(
            f"logits are of {width} label states, targets of {states}; logits [B, T, U+1, V] "
            "and targets [B, U] are needed"
        )
    if problem.states is not None and problem.states.shape != scores.shape[:3]:
        raise ValueError(
            f"logits have shape {list(scores.shape)}, ranges {list(problem.states.shape)}; "
            "[B, T, S, V] and [B, T, S] are needed"
        )
    losses: Tensor = _Transducer.apply(scores, problem)  # type: ignore[no-untyped-call]
    return losses


class _Transducer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, problem: Problem) -> Tensor:
        cells = problem.cells(scores)
        if problem.options.normalised:
            log_probs, normaliser = pick(scores, cells), None
        else:
            log_probs, normaliser = measure(scores, cells)
        sweep = problem.sweep(log_probs)
        ctx.save_for_backward(scores)
        ctx.problem, ctx.cells, ctx.normaliser, ctx.sweep = problem, cells, normaliser, sweep
        return -sweep.total.to(torch.promote_types(scores.dtype, torch.float32))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, losses: Tensor) -> tuple[Tensor, None]:
        (scores,) = ctx.saved_tensors
        scores = scores.detach()
        weight = losses.double()[:, None, None, None]
        occupancy = ctx.problem.occupancy(ctx.sweep) * weight
        out = scores if ctx.problem.options.overwrite else torch.empty_like(scores)
        return gradient(scores, ctx.cells, occupancy, ctx.normaliser, out), None
