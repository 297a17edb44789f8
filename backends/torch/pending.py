"""Frames of an input that wait for a whole step, for a batch of streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Pending:
    """`counts[b]` frames of stream `b` wait: the last ones of its row in `frames`.

    Rows end together, so that a push of as many frames to all is one concatenation.
    """

    frames: Tensor
    counts: list[int]

    def push(self, new: Tensor, counts: Sequence[int]) -> None:
        """The first `counts[b]` frames of row `b` of `new`, `[B, n, *dims]`, come in."""
        both = torch.cat([self.frames, new.to(self.frames)], 1)
        width, size = new.shape[1], both.shape[1]
        if any(count != width for count in counts):
            both = _shifted(both, [width - count for count in counts])
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]
        self.frames = both[:, size - max(self.counts) :]

    def take(self, count: int, streams: Sequence[bool]) -> Tensor:
        """The next `count` frames, `[B, count, *dims]`. Those of `streams` are used up; zeros
        stand where fewer wait."""
        begin = [self.frames.shape[1] - waiting for waiting in self.counts]
        found = _padded(self.frames, max(begin) + count)
        found = found[:, begin[0] :] if len(set(begin)) == 1 else _shifted(found, begin, -1)
        self.counts = [
            max(0, n - count) if taken else n for n, taken in zip(self.counts, streams, strict=True)
        ]
        self.frames = self.frames[:, self.frames.shape[1] - max(self.counts) :]
        return found[:, :count]

    def clear(self, streams: Sequence[bool], count: int) -> None:
        """Some streams begin anew: `count` zero frames wait."""
        self.frames = _padded(self.frames, count, before=True).clone()
        for row, anew in enumerate(streams):
            if anew:
                self.counts[row] = count
                self.frames[row] = 0


def _shifted(x: Tensor, by: Sequence[int], sign: int = 1) -> Tensor:
    """Each row moved by a number of frames of its own, to the right or (-1) to the left."""
    place = torch.arange(x.shape[1], device=x.device)
    moved = place - sign * torch.tensor(by, device=x.device).unsqueeze(1)
    source = moved.clamp(0, x.shape[1] - 1).reshape(*moved.shape, *(1,) * (x.ndim - 2))
    return x.gather(1, source.expand(x.shape))


def _padded(x: Tensor, width: int, before: bool = False) -> Tensor:
    missing = max(0, width - x.shape[1])
    zeros = x.new_zeros((len(x), missing, *x.shape[2:]))
    return torch.cat([zeros, x] if before else [x, zeros], 1)
