"""Reading other frames of a whole utterance, `[B, T, ...]`, and which frames are there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from .recurrent import select


def within(length: Tensor, x: Tensor) -> Tensor:
    """Which of the frames of `x` lie in an utterance of `length` frames: `[B, T]`."""
    return torch.arange(x.shape[1], device=x.device) < length.unsqueeze(1)


def fitted(mask: Tensor, x: Tensor) -> Tensor:
    """A mask with as many frames as `x`: beyond its end nothing is there."""
    missing = x.shape[1] - mask.shape[1]
    return pad(mask, (0, 0) * (mask.ndim - 2) + (0, missing))


def count_windows(samples: Tensor, window: int, hop: int) -> Tensor:
    """How many whole windows so many samples hold."""
    return ((samples - window).div(hop, rounding_mode="floor") + 1).clamp(min=0)


def slots(length: Tensor, factor: int) -> Tensor:
    """How many whole slots of `factor` frames there are."""
    return length.div(factor, rounding_mode="floor")


def every(x: Tensor, factor: int) -> Tensor:
    """The last frame of each whole slot."""
    return x[:, factor - 1 :: factor]


def together(*values: Tensor) -> tuple[Tensor, ...]:
    """Values cut to the frames that all of them have."""
    count = min(x.shape[1] for x in values)
    return tuple(x[:, :count] for x in values)


def shifted(x: Tensor, offset: int, axis: int, start: Tensor | None = None) -> Tensor:
    """Frame `t + offset` at `t`; beyond the ends zero, or `start`."""
    count = x.shape[axis]
    gap = min(abs(offset), count)
    shape = [*x.shape[:axis], gap, *x.shape[axis + 1 :]]
    fill = x.new_zeros(shape) if start is None else _spread(start, x, axis).expand(shape)
    if offset < 0:
        return torch.cat([fill.to(x.dtype), x.narrow(axis, 0, count - gap)], axis)
    return torch.cat([x.narrow(axis, gap, count - gap), fill.to(x.dtype)], axis)


def _spread(start: Tensor, x: Tensor, axis: int) -> Tensor:
    """An initial value `[B, *dims]` or `[1, *dims]` with index axes."""
    return start.reshape(start.shape[:1] + (1,) * axis + start.shape[1:])


def taps(
    x: Tensor,
    offsets: Sequence[int],
    axis: int,
    stride: int = 1,
    start: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """The frames at `t + offset` as a last axis, for every `stride`-th `t`; with a chunk, what
    lies beyond the end of the frame's chunk reads as absent."""
    if start is None and chunk is None and axis == 1 and (*offsets,) == (*range(1 - stride, 1),):
        return _slots_of(x, stride)
    read = [_chunked(shifted(x, o, axis, start), o, chunk, start) for o in offsets]
    if stride > 1:
        read = [every(tap, stride) for tap in read]
    return torch.stack(read, -1)


def _slots_of(x: Tensor, size: int) -> Tensor:
    """Whole slots of frames, the frames of each as a last axis: a view."""
    count = x.shape[1] // size
    return x[:, : count * size].reshape(len(x), count, size, *x.shape[2:]).movedim(2, -1)


def _chunked(tap: Tensor, offset: int, chunk: int | None, start: Tensor | None) -> Tensor:
    if chunk is None or offset <= 0:
        return tap
    t = torch.arange(tap.shape[1], device=tap.device)
    inside = (t % chunk + offset < chunk).unsqueeze(0)
    return select(inside, tap, 0.0 if start is None else _spread(start, tap, 1))


def repeated(x: Tensor, factor: int) -> Tensor:
    """Each frame `factor` times."""
    return x.repeat_interleave(factor, 1)


# --- over an axis of frames -----------------------------------------------------------------


def mean_over(x: Tensor, there: Tensor, axis: int) -> Tensor:
    """The mean of the frames that are there; zero where there is none."""
    total = select(there, x, 0.0).sum(axis)
    count = there.expand(x.shape[: there.ndim]).sum(axis).clamp(min=1)
    return total / count.reshape(count.shape + (1,) * (total.ndim - count.ndim))


def max_over(x: Tensor, there: Tensor, axis: int) -> Tensor:
    """The maximum of the frames that are there; zero where there is none."""
    found = select(there, x, float("-inf")).amax(axis)
    return select(there.any(axis), found, 0.0)


def last_of(x: Tensor, there: Tensor, axis: int) -> Tensor:
    """The last frame that is there along an axis."""
    there = there.expand(x.shape[: axis + 1])
    count = there.shape[axis]
    return _pick(x, count - 1 - there.flip(axis).int().argmax(axis), axis)


def first_of(x: Tensor, there: Tensor, axis: int) -> Tensor:
    """The first frame that is there along an axis."""
    return _pick(x, there.expand(x.shape[: axis + 1]).int().argmax(axis), axis)


def _pick(x: Tensor, step: Tensor, axis: int) -> Tensor:
    where = step.unsqueeze(axis)
    where = where.expand((*x.shape[:axis], 1))
    where = where.reshape(where.shape + (1,) * (x.ndim - where.ndim))
    return x.gather(axis, where.expand(*x.shape[:axis], 1, *x.shape[axis + 1 :])).squeeze(axis)


def all_there(x: Tensor, rank: int) -> Tensor:
    """A mask of the first `rank` axes of `x`, all up."""
    return x.new_ones(x.shape[:rank], dtype=torch.bool)


def reversed_within(x: Tensor, there: Tensor | None, axis: int) -> Tensor:
    """Frames in reverse; absent ones at the end stay there."""
    if there is None:
        return x.flip(axis)
    count = there.sum(axis, keepdim=True)
    place = torch.arange(x.shape[axis], device=x.device)
    source = torch.where(place < count, count - 1 - place, place)
    wide = source.reshape(source.shape + (1,) * (x.ndim - source.ndim))
    return x.gather(axis, wide.expand(x.shape))


def appended(x: Tensor, entry: Tensor, axis: int) -> Tensor:
    """One more entry at the end of an axis; the entry is `[1, *dims]` or `[B, *dims]`."""
    shape = [*x.shape[:axis], 1, *x.shape[axis + 1 :]]
    return torch.cat([x, _spread(entry, x, axis).to(x.dtype).expand(shape)], axis)


def pieces(x: Tensor, size: int, step: int, rank: int) -> Tensor:
    """`[*index, ..., bands]` cut into overlapping pieces along a new innermost index axis."""
    return x.unfold(-1, size, step).movedim(-2, rank)


def extent(x: Tensor) -> int:
    """How many frames a batch is wide."""
    return x.shape[1]


def register(x: Tensor, axis: int, depth: int, dims: Sequence[int]) -> Tensor:
    """A register of `depth` zero frames along an axis, for the batch and outer steps of `x`."""
    return x.new_zeros((*x.shape[:axis], depth, *dims))


def started(register: Tensor, start: Tensor, axis: int) -> Tensor:
    """A register whose frames are all `start`, `[B, *dims]` or `[1, *dims]`."""
    return _spread(start, register, axis).to(register.dtype).expand(register.shape)


def unfolded(y: Tensor, x: Tensor, axis: int) -> Tensor:
    """The outer axes of `x` back again, which were folded into the batch."""
    return y.view(*x.shape[:axis], *y.shape[1:])
