"""Functions of single frames that PyTorch has under no name of their own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .recurrent import select


def softmax(x: Tensor, first: int, rank: int) -> Tensor:
    """Over the `rank` axes of a frame, from axis `first` on."""
    return functional.softmax(x.flatten(first, first + rank - 1), first).view(x.shape)


def log_softmax(x: Tensor, first: int, rank: int) -> Tensor:
    """Over the `rank` axes of a frame, from axis `first` on."""
    return functional.log_softmax(x.flatten(first, first + rank - 1), first).view(x.shape)


def ones(x: Tensor, rank: int) -> Tensor:
    """A one for each frame of `x`, whose first `rank` axes are batch and index."""
    return x.new_ones((*x.shape[:rank], 1))


def joined(values: tuple[Tensor, ...], axis: int) -> Tensor:
    """Values side by side along a feature axis, on the frames of all."""
    return torch.cat(_aligned(values, axis), axis)


def stacked(values: tuple[Tensor, ...], axis: int) -> Tensor:
    """Values as planes of a new feature axis, on the frames of all."""
    return torch.stack(_aligned(values, axis), axis)


def _aligned(values: tuple[Tensor, ...], rank: int) -> list[Tensor]:
    index = torch.broadcast_shapes(*(x.shape[:rank] for x in values))  # type: ignore[no-untyped-call]
    return [x.expand(index + x.shape[rank:]) for x in values]


def safe(x: Tensor, there: Tensor, value: float) -> Tensor:
    """A harmless number in absent frames, so that no gradient becomes infinite there."""
    return select(there, x, value)


def chosen(flag: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """`up` where the flag is up, else `down`; the other one is never computed with."""
    wide = flag.reshape(flag.shape[:-1] + (1,) * (max(up.ndim, down.ndim) - flag.ndim + 1))
    return torch.where(wide > 0.5, up, down)


def raised(flag: Tensor, up: bool) -> Tensor:
    """Where a flag says so: `[B, T]`."""
    return (flag.squeeze(-1) > 0.5) == up
