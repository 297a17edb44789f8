"""Forward and backward recursion over the transducer's lattice, by anti-diagonals.

Node (t, u) stands before frame t with u labels out. Its blank arc goes to (t+1, u), its label arc
to (t, u+1). Nodes of equal t + u do not depend on each other, so a step of the recursion is a few
operations on [B, U+1] (Graves 2012, arXiv 1211.3711, section 2.4).

Arcs are stored with the diagonal n = t + u as the first axis. In such a buffer (t, b, u) lies at
(t + u) * row + b * (U+2) + u, an affine function of t, b and u: the lattice in its usual order is a
view with larger strides, and no index arithmetic is left. A column before u = 0 holds
log 0, where the label arc of the first state would come from.

All is in float64: in float32 the sums of hundreds of log-probabilities lose 1e-3, and the lattice
is smaller than the joint network's output by the number of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .batch import reaches

# Occupancies below this count as zero. Products with them would be denormal in float32, which
# makes a matrix product thirty times as slow; no sum of gradients would notice them.
NEGLIGIBLE = 1e-20


@dataclass(frozen=True, eq=False)
class Sweep:
    """What the forward recursion leaves for the backward one.

    `total` [B] is the log-probability of the labels, zero for an utterance without frames;
    `arcs` [T+U, 2, B, U+2] is that of all paths up to and over a blank or label arc.
    """

    total: Tensor
    arcs: Tensor
    frames: Tensor
    labels: Tensor
    shape: tuple[int, int, int]


def forward_sweep(blank: Tensor, label: Tensor, frames: Tensor, labels: Tensor) -> Sweep:
    """Sums over all paths.

    `blank` and `label` are the log-probabilities of the arcs, [B, T, U+1]; the last label
    column and all padding are ignored. `frames` and `labels` are lengths, [B].
    """
    batch, time, states = blank.shape
    arcs = blank.new_zeros((time + states - 1, 2, batch, states + 1), dtype=torch.float64)
    inside = _inside(frames, labels, time, states)
    for log_probs, place in zip((blank, label), _nodes(arcs, time), strict=True):
        place.copy_(log_probs.double().masked_fill(~inside, 0.0).transpose(0, 1))
    _accumulate(arcs)
    total = arcs[_last(frames, labels)].masked_fill(frames == 0, 0.0)
    return Sweep(total, arcs, frames, labels, (batch, time, states))


def _accumulate(arcs: Tensor) -> None:
    """Turns each arc's log-probability into that of all paths that end with the arc."""
    reached = torch.full_like(arcs[0, 0], -torch.inf)
    reached[:, 1] = 0.0
    following = reached[:, 1:]
    by_blank, by_label = arcs[:, 0, :, 1:].unbind(), arcs[:, 1, :, :-1].unbind()
    for step, stays, moves in zip(arcs.unbind(), by_blank, by_label, strict=True):
        step.add_(reached)
        torch.logaddexp(stays, moves, out=following)


def occupancies(sweep: Sweep) -> tuple[Tensor, Tensor]:
    """Posterior probability of each blank and each label arc, two of [B, T, U+1] in float64.

    Zero in padding, without frames, and where no path has any probability. A node hands what
    paths go through it back to the arcs it was reached by, in the proportion in which it was
    reached; the two shares add up to one exactly, so errors do not pile up over the frames.
    """
    batch, time, states = sweep.shape
    shares = _shares(sweep)
    passing = shares.new_zeros((len(shares) + 1, batch, states + 1))
    rows, _, utterances, columns = _last(sweep.frames, sweep.labels)
    passing[rows + 1, utterances, columns] = 1.0
    _hand_back(passing, shares)
    shares[:, 0] *= passing[1:]
    shares[:, 1, :, :-1] *= passing[1:, :, 1:]
    counts = _inside(sweep.frames, sweep.labels, time, states)
    counts &= (sweep.total != -torch.inf)[:, None, None]
    blank, label = (
        flow.where(counts & ~(flow < NEGLIGIBLE), 0.0)
        for flow in _nodes(shares, time).transpose(1, 2)
    )
    return blank, label


def _shares(sweep: Sweep) -> Tensor:
    """How much of what arrives at the end of an arc came over that arc, in 0..1."""
    by_blank, by_label = sweep.arcs[:, 0, :, 1:], sweep.arcs[:, 1, :, :-1]
    share = torch.where(by_label == -torch.inf, 0.0, torch.sigmoid(by_label - by_blank))
    shares = torch.zeros_like(sweep.arcs)
    shares[:, 0, :, 1:] = 1.0 - share
    shares[:, 1, :, :-1] = share
    rows, blank, utterances, columns = _last(sweep.frames, sweep.labels)
    shares[rows, blank, utterances, columns] = 1.0
    shares[rows, blank + 1, utterances, columns - 1] = 0.0
    return shares


def _hand_back(passing: Tensor, shares: Tensor) -> None:
    """From each diagonal to the one before it: the probability of passing through its nodes."""
    nodes = passing.unbind()
    after_label, before_label = passing[:, :, 1:].unbind(), passing[:, :, :-1].unbind()
    by_blank, by_label = shares[:, 0].unbind(), shares[:, 1, :, :-1].unbind()
    for n in reversed(range(len(by_blank))):
        nodes[n].addcmul_(nodes[n + 1], by_blank[n])
        before_label[n].addcmul_(after_label[n + 1], by_label[n])


def _nodes(diagonals: Tensor, time: int) -> Tensor:
    """The lattice [2, T, B, U+1] as a view of the buffer [T+U, 2, B, U+2]."""
    _, kinds, batch, columns = diagonals.shape
    row, kind, utterance, _ = diagonals.stride()
    size = (kinds, time, batch, columns - 1)
    return diagonals.as_strided(size, (kind, row, utterance, row + 1), 1)


def _last(frames: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where the final blank of each utterance is stored; anywhere without frames."""
    rows = (frames + labels - 1).clamp(min=0)
    return rows, torch.zeros_like(rows), torch.arange(len(rows), device=rows.device), labels + 1


def _inside(frames: Tensor, labels: Tensor, time: int, states: int) -> Tensor:
    return reaches(frames, time)[:, :, None] & reaches(labels + 1, states)[:, None]


class LatticeLoss(torch.autograd.Function):
    """Minus the log-probability of the labels [B], and the occupancies of both kinds of arcs.

    Called as `LatticeLoss.apply(blank, label, frames, labels)`, see `forward_sweep`. The gradient
    of an arc's log-probability is minus its occupancy; the occupancies themselves have none.
    """

    @staticmethod
    def forward(
        ctx: Any, blank: Tensor, label: Tensor, frames: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        sweep = forward_sweep(blank, label, frames, labels)
        blank_share, label_share = (part.to(blank.dtype) for part in occupancies(sweep))
        ctx.save_for_backward(blank_share, label_share)
        ctx.mark_non_differentiable(blank_share, label_share)
        return -sweep.total.to(blank.dtype), blank_share, label_share

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, None, None]:
        blank, label = ctx.saved_tensors
        weight = -loss[:, None, None]
        return blank * weight, label * weight, None, None
