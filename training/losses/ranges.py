"""Which label states to keep at each frame (Kuang et al. 2022, arXiv 2206.13236)."""

from __future__ import annotations

import torch
from torch import Tensor


def prune_ranges(
    px_grad: Tensor, py_grad: Tensor, frames: Tensor, labels: Tensor, s_range: int
) -> Tensor:
    """Windows of label states, [B, T, S] int64 with S = min(s_range, U+1).

    `px_grad` [B, T, U] and `py_grad` [B, T, U+1] are the occupancies of label and blank arcs, as
    from `simple_loss`. A window holds the most blank occupancy that it can, less that of the label
    arc which leads into it. Over the frames windows never move back, move by less than
    `s_range` states at a time, and lead from state 0 to the last one, so that there is a path
    through them if there are at most `s_range - 1` labels a frame (see `usable`).

    Raises `ValueError` if `s_range` is below 2 with labels to pass, or below 1.
    """
    states = py_grad.shape[2]
    if s_range < min(2, states):
        raise ValueError(f"s_range is {s_range}; windows of at least 2 states are needed")
    width = min(s_range, states)
    last = (labels + 1 - width).clamp(min=0)
    starts = _best_starts(px_grad, py_grad, width, last)
    starts = _passable(starts, frames, last, max(width - 1, 1))
    return starts[:, :, None] + torch.arange(width, device=starts.device)


def gather(am: Tensor, lm: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
    """Encoder and predictor outputs for the windows, both [B, T, S, D].

    `am` is [B, T, D], `lm` [B, U+1, D], and D may differ. The first result is a view.
    """
    batch, _, width = ranges.shape
    rows = torch.arange(batch, device=ranges.device)[:, None, None]
    return am[:, :, None].expand(-1, -1, width, -1), lm[rows, ranges]


def _best_starts(px_grad: Tensor, py_grad: Tensor, width: int, last: Tensor) -> Tensor:
    """For each frame by itself the best first state up to `last` [B]; [B, T] int64."""
    kept = py_grad.unfold(2, width, 1).sum(-1)
    entering = torch.nn.functional.pad(px_grad, (1, 0))[:, :, : kept.shape[2]]
    choices = torch.arange(kept.shape[2], device=kept.device)
    worth = (kept - entering).masked_fill(choices > last[:, None, None], -torch.inf)
    return worth.argmax(2)


def _passable(starts: Tensor, frames: Tensor, last: Tensor, jump: int) -> Tensor:
    """The windows moved as little as it takes to be passable from the first to the last state."""
    time = torch.arange(starts.shape[1], device=starts.device)
    ended = time >= frames[:, None] - 1
    starts = torch.where(ended, last[:, None], starts)
    reachable = torch.minimum(starts, jump * time)
    rising = reachable.flip(1).cummin(1).values.flip(1)
    slanted = (rising - jump * time).flip(1).cummax(1).values.flip(1)
    return slanted + jump * time
