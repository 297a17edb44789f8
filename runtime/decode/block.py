"""A block of encoder frames, and which of them are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from .protocol import Frames
from .state import index


@dataclass(frozen=True, slots=True)
class Block:
    """Frames of several streams: `values` are [batch * frames, ...], `rows[b]` the rows of stream b
    in order of time. Frames that are absent have no row and are never read."""

    values: Frames
    rows: tuple[Sequence[int], ...]

    def take(self, rows: Sequence[int]) -> Frames:
        """The frames in these rows, [N, ...]."""
        chosen = index(rows, next(iter(self.values.values())))
        return {name: value.index_select(0, chosen) for name, value in self.values.items()}


def block(
    frames: Frames | Tensor,
    lengths: Tensor | Sequence[int] | None = None,
    present: Tensor | None = None,
) -> Block:
    """Encoder outputs [batch, frames, ...] as a block.

    `lengths` [batch] counts the frames that are there from the first on; `present`
    [batch, frames] (bool) marks each one. Without either, all are there.
    Raises ValueError for shapes that do not fit together.
    """
    named = {"frames": frames} if isinstance(frames, Tensor) else frames
    batch, count = _extent(named)
    if lengths is not None and present is not None:
        raise ValueError("either lengths or present, not both")
    if present is not None:
        rows = _marked(present, batch, count)
    else:
        rows = _counted([count] * batch if lengths is None else _integers(lengths), batch, count)
    return Block({name: value.flatten(0, 1) for name, value in named.items()}, rows)


def _extent(frames: Frames) -> tuple[int, int]:
    extents = {(value.shape[0], value.shape[1]) for value in frames.values()}
    if len(extents) != 1:
        raise ValueError(f"frames of one block differ in batch or number: {sorted(extents)}")
    return extents.pop()


def _integers(lengths: Tensor | Sequence[int]) -> list[int]:
    return [int(n) for n in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]


def _counted(lengths: list[int], batch: int, count: int) -> tuple[Sequence[int], ...]:
    if len(lengths) != batch or any(not 0 <= n <= count for n in lengths):
        raise ValueError(f"lengths {lengths} for {batch} streams of {count} frames")
    return tuple(range(b * count, b * count + n) for b, n in enumerate(lengths))


def _marked(present: Tensor, batch: int, count: int) -> tuple[Sequence[int], ...]:
    if present.shape != (batch, count):
        raise ValueError(f"presence is {list(present.shape)}, the frames [{batch}, {count}]")
    marks: list[list[bool]] = present.tolist()
    return tuple(
        [b * count + i for i, there in enumerate(row) if there] for b, row in enumerate(marks)
    )
