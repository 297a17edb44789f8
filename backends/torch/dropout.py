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
        if not self.training or self.p == 0:
            return x
        if self.keys is None and (x.device.type != "cpu" or torch.compiler.is_compiling()):
            return functional.dropout(x, self.p)
        mask: Tensor = self._mask(x, self.keys)
        return x * mask

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def _mask(self, x: Tensor, keys: tuple[int, ...] | None) -> Tensor:
        """Zero, or what makes the mean one. Numbers are drawn frame after frame: padding draws
        last."""
        mask = torch.empty(x.shape, dtype=x.dtype)
        lost = min(round(self.p * _STEPS), _STEPS - 1)
        if keys is None:
            _fill(mask, lost, None)
        else:
            for row, key in zip(mask, keys, strict=True):
                seed = (key * 0x9E3779B1 + self.place) % 2**63
                _fill(row, lost, torch.Generator().manual_seed(seed))
        return mask.mul_(_STEPS / (_STEPS - lost)).to(x.device)


_STEPS = 1 << 16
"""Probabilities are multiples of `2^-16`: four numbers are cut from each that is drawn, since on
a processor drawing them costs more than all else that dropout does."""


def _fill(mask: Tensor, lost: int, source: torch.Generator | None) -> None:
    """Zero at `lost` of 65536 places, one elsewhere."""
    words = torch.empty((mask.numel() + 3) // 4, dtype=torch.int64)
    words.random_(-(2**63), None, generator=source)
    numbers = words.view(torch.int16)[: mask.numel()].view(mask.shape)
    torch.ge(numbers, lost - _STEPS // 2, out=mask)
