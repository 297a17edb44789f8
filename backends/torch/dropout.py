"""Dropout whose masks belong to the utterance, not to its place in a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Dropout(nn.Module):
    """Zero features with probability `p` in training, and rescale the rest.

    Where a trainer sets `keys`, one number an utterance, the mask of an utterance follows from
    its key and the place of this module alone: the same on one process or several, in any batch.
    """

    def __init__(self, p: float, place: int) -> None:
        super().__init__()
        self.p, self.place = p, place
        self.keys: tuple[int, ...] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or self.keys is None:
            return functional.dropout(x, self.p, self.training)
        return x * self._mask(x, self.keys)

    @torch.no_grad()
    def _mask(self, x: Tensor, keys: tuple[int, ...]) -> Tensor:
        """Zero or `1 / (1 - p)`. Numbers are drawn frame after frame: padding draws last."""
        mask = torch.empty(x.shape, dtype=x.dtype)
        for row, key in zip(mask, keys, strict=True):
            source = torch.Generator().manual_seed((key * 0x9E3779B1 + self.place) % 2**63)
            row.copy_(torch.rand(row.shape, generator=source) >= self.p)
        return (mask / (1 - self.p)).to(x.device)
