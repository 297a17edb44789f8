"""Modules of a streaming step that read rings: old frames where they lie, then the new ones.

Which state a module reads, and since which frame, follows from the age of the streams.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..torch.leaves import Depthwise
from .kernels.attention import Ring, attention_step
from .kernels.depthwise import Around, Taps, depthwise_step, of_norm
from .kernels.depthwise import Ring as Frames
from .kernels.rings import Moment, window
from .modules import Attention, Fast, Filters, as_wide_as


@dataclass(frozen=True, slots=True)
class Turn:
    """How the frames of a value come: those of a step, which are `count` for each quantum, begin
    with `start` in streams of age zero. A ring of `capacity` has the frames before them."""

    count: int
    start: int
    capacity: int

    def at(self, age: Tensor) -> Moment:
        return Moment(age, self.count, self.start)


class RingAttention(Attention):
    """An attention whose keys and values are in rings."""

    kernel = "attention.step"

    def __init__(
        self, heads: int, spans: tuple[tuple[int, int], ...], low: int | None, turn: Turn
    ) -> None:
        super().__init__(heads, {}, spans, low)
        self.turn = turn

    def forward(  # type: ignore[override]
        self,
        age: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        keys: Tensor,
        values: Tensor,
        there: Tensor,
        p: Tensor | None = None,
        r: Tensor | None = None,
        *shifts: Tensor | None,
    ) -> Tensor:
        q, p, shifts = as_wide_as(q, p, shifts)
        mixed = v.shape[-1] // self.heads
        wide = max(x.shape[-1] for x in (q, v, q if p is None else p)) // self.heads
        k, v, keys, values = (self._as_wide(x, wide) for x in (k, v, keys, values))
        more: tuple[Tensor | None, Tensor | None] = None, None
        if p is not None and r is not None:
            more = self._as_wide(p, wide, scaled=True), self._as_wide(r, wide)
        ring = Ring(keys, values, self.turn.at(age))
        spans, mask = self._seen(q, k), there.expand(len(q), -1)
        wide_q = self._as_wide(q, wide, scaled=True)
        y = attention_step(
            wide_q, k, v, self.heads, ring, *spans, mask, *more,
            low=self.low, products=self.precision, shifts=self._wide_shifts(wide, shifts),
        )  # fmt: skip
        return self._as_mixed(y, mixed)


class RingFilters(Filters):
    """`Depthwise` over a window whose older frames are in a ring."""

    kernel = "depthwise.step"

    def __init__(self, leaf: Depthwise, taps: Taps, glu: bool, turn: Turn) -> None:
        super().__init__(leaf, None, glu)
        self.taps, self.turn = taps, turn

    def forward(self, age: Tensor, x: Tensor, frames: Tensor, there: Tensor) -> Tensor:  # type: ignore[override]
        norm = None if self.norm is None else of_norm(self.norm)
        around = Around(self.glu, norm, self.activation)
        ring, weight = Frames(frames, self.turn.at(age)), self.leaf.kernel().detach()
        return depthwise_step(
            x.contiguous(), ring, weight, self.taps, self.leaf.bias, around, there
        )


class Unrolled(Fast):
    """The window that a ring and the new frames are, in one piece: for whatever reads no rings."""

    kernel = "window"

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn

    def forward(self, age: Tensor, ring: Tensor, new: Tensor) -> Tensor:
        return window(ring, new, self.turn.at(age))
