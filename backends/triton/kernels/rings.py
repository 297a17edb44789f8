"""Rings: the newest frames of streams, where a step writes what is new and moves nothing.

Frame `f` of a stream lies at `f % capacity` of its ring. So where to write follows from the
stream's age alone, and a stream that begins anew has nothing to clear. What reads a ring has the
frames that it held before the step, then the new ones: its window. Afterwards `keep` writes these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from .cost import Cost, nbytes
from .overlap import early, follow

WIDEST = 1 << 10
"""Numbers of a frame that one program copies."""
MOST = 32
"""Rings of one launch."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Streams before a step: the first new frame of stream `b` is `age[b] * count + start`; those
    before the stream's start have numbers below zero."""

    age: Tensor
    count: int
    start: int

    def oldest(self, capacity: int) -> Tensor:
        """The first frame in a ring, `[B]`."""
        return self.age * self.count + self.start - capacity


def keep(
    ring: Tensor, new: Tensor, now: Moment, moving: Tensor | None = None, *, gated: bool = False
) -> None:
    """Writes the new frames, `[B, n, *dims]`, over the oldest of a ring, `[B, capacity, *dims]`.

    With `gated`, they come before a gated linear unit, `[B, n, 2 D]`, and are kept behind it.
    Streams that are not `moving` (`[B]`, bool) stay as they are. A ring's `dims` are contiguous.
    """
    keep_all([ring], [new], now, moving, gated=gated)


def keep_all(
    rings: Sequence[Tensor],
    news: Sequence[Tensor],
    now: Moment,
    moving: Tensor | None = None,
    *,
    gated: bool = False,
) -> None:
    """The same for rings that are alike, in shape and strides, and new frames that are: one launch
    for as many as `MOST`."""
    if news[0].numel() == 0:
        return
    for first in range(0, len(rings), MOST):
        held = tuple(ring.view(*ring.shape[:2], -1) for ring in rings[first : first + MOST])
        frames = tuple(new.flatten(2).contiguous() for new in news[first : first + MOST])
        _launch(held, frames, now, moving, gated)


def _launch(
    held: tuple[Tensor, ...],
    frames: tuple[Tensor, ...],
    now: Moment,
    moving: Tensor | None,
    gated: bool,
) -> None:
    (batch, count, _), (_, capacity, width) = frames[0].shape, held[0].shape
    skipped = max(0, count - capacity)  # they would be overwritten at once
    block = min(WIDEST, triton.next_power_of_2(width))
    _kept[batch * (count - skipped), triton.cdiv(width, block), len(held)](
        frames, held, now.age, now.age if moving is None else moving.view(torch.uint8),
        count - skipped, skipped, width, capacity, now.count, now.start,
        *frames[0].stride()[:2], *held[0].stride()[:2],
        GLU=gated, MOVING=moving is not None, BLOCK=block, RINGS=len(held), **early(now.age),
    )  # fmt: skip


def window(ring: Tensor, new: Tensor, now: Moment) -> Tensor:
    """`[B, capacity + n, *dims]`, oldest first: by PyTorch, for whatever reads no rings."""
    capacity = ring.shape[1]
    place = now.oldest(capacity).unsqueeze(1) + torch.arange(capacity, device=ring.device)
    row = torch.arange(len(ring), device=ring.device).unsqueeze(1)
    return torch.cat([ring[row, place % capacity], new], 1)


def kept(
    ring: Tensor, new: Tensor, now: Moment, moving: Tensor | None = None, *, gated: bool = False
) -> Tensor:
    """The ring after `keep`, in PyTorch."""
    frames, capacity = functional.glu(new, -1) if gated else new, ring.shape[1]
    frames = window(ring, frames.to(ring.dtype), now)[:, -capacity:]
    place = now.oldest(capacity).unsqueeze(1) + new.shape[1]
    place = (place + torch.arange(capacity, device=ring.device)) % capacity
    found = ring.clone()
    found[torch.arange(len(ring), device=ring.device).unsqueeze(1), place] = frames
    return found if moving is None else found.where(moving.view(-1, *[1] * (ring.ndim - 1)), ring)


def cost(ring: Tensor, new: Tensor) -> Cost:
    """New frames are read and written once."""
    frames = min(new.shape[1], ring.shape[1])
    return Cost(nbytes(new[:, :frames]) + nbytes(ring[:, :frames]), 0.0)


@triton.jit
def first_place(age, count, start, capacity):
    """Of the frame with which a window begins: its number, and its place in the ring."""
    oldest = tl.load(age).to(tl.int64) * count + start - capacity
    # A remainder may have the sign of what is divided.
    return oldest, ((oldest % capacity + capacity) % capacity).to(tl.int32)


@triton.jit
def place_of(s, first, capacity):
    """Where in a ring the frames `s` of a window are, below `capacity`."""
    place = s + first
    return tl.where(place < capacity, place, place - capacity)


@triton.jit
def _kept(
    news, rings, age, moving, n, skipped, W, capacity, count, start, n_b, n_t, r_b, r_t,
    GLU: tl.constexpr, MOVING: tl.constexpr, BLOCK: tl.constexpr, RINGS: tl.constexpr,
):  # fmt: skip
    """A program copies (a part of) a frame of one of the rings."""
    follow()
    for one in tl.static_range(RINGS):
        if tl.program_id(2) == one:
            _copied(
                news[one], rings[one], age, moving, n, skipped, W, capacity, count, start,
                n_b, n_t, r_b, r_t, GLU, MOVING, BLOCK,
            )  # fmt: skip


@triton.jit
def _copied(
    new, ring, age, moving, n, skipped, W, capacity, count, start, n_b, n_t, r_b, r_t,
    GLU: tl.constexpr, MOVING: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, t = (tl.program_id(0) // n).to(tl.int64), tl.program_id(0) % n + skipped
    w = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = w < W
    if MOVING:
        inside = inside & (tl.load(moving + b) != 0)
    _, first = first_place(age + b, count, start, capacity)
    at = new + b * n_b + t * n_t + w
    value = tl.load(at, inside, 0.0)
    if GLU:
        gate = tl.load(at + W, inside, 0.0).to(tl.float32)
        value = (value.to(tl.float32) * tl.sigmoid(gate)).to(new.dtype.element_ty)
    place = (first + t) % capacity
    tl.store(ring + b * r_b + place * r_t + w, value.to(ring.dtype.element_ty), inside)
