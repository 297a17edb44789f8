"""Values: an array with leading index axes, and which of its frames are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import Clock, Finite, Label, Lattice, Static, Type

Array = NDArray[Any]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Value:
    """`data` is `[*index, *dims, taps]`, `present` is `[*index]`.

    The index axes are those of the clock, outermost first: none for a static value, frames or
    labels, frames and labels on a lattice, then the inner axes. Numbers of absent frames are NaN
    (tokens zero), so that a rule that reads one shows.
    """

    data: Array
    present: Mask

    @property
    def rank(self) -> int:
        return self.present.ndim

    def at(self, axis: int, step: int) -> Value:
        """One step along an index axis, which stays, of length one; absent past the end."""
        if step >= self.present.shape[axis]:
            return absent_like(self.at(axis, 0))
        here = (slice(None),) * axis + (slice(step, step + 1),)
        return Value(self.data[here], self.present[here])


def index_rank(clock: Clock) -> int:
    """How many index axes values on a clock have."""
    if isinstance(clock, Finite):
        return index_rank(clock.outer) + 1
    return 2 if isinstance(clock, Lattice) else int(not isinstance(clock, Static))


def frame_shape(kind: Type) -> tuple[int, ...]:
    """The shape of one frame."""
    return (*kind.dims, kind.taps) if kind.taps is not None else kind.dims


def over_features(mask: Mask, data: Array) -> Mask:
    """A presence mask with singleton axes for the features of `data`."""
    return mask.reshape(mask.shape + (1,) * (data.ndim - mask.ndim))


def select(mask: Mask, data: Array, other: Array | float | int) -> Array:
    """`data` where the frame is present, else `other`: what is absent is never read."""
    return np.where(over_features(mask, data), data, other)


def blank(value: Value, dtype: np.dtype[Any]) -> Value:
    """The value with its absent frames made unreadable."""
    fill = 0 if dtype.kind == "i" else np.nan
    data = select(value.present, value.data, fill).astype(dtype, copy=False)
    return Value(data, value.present)


def absent_like(value: Value) -> Value:
    fill = 0 if value.data.dtype.kind == "i" else np.nan
    return Value(np.full_like(value.data, fill), np.zeros_like(value.present))


def concatenate(values: Sequence[Value], axis: int) -> Value:
    """Values one after the other along an index axis."""
    data = np.concatenate([v.data for v in values], axis)
    return Value(data, np.concatenate([v.present for v in values], axis))


def spread(array: Array, source: Clock, target: Clock) -> Array:
    """Singleton index axes where `target` has an axis that `source` lacks."""
    if isinstance(target, Lattice) and isinstance(source, Label):
        return array[None]
    have, want = index_rank(source), index_rank(target)
    return array.reshape(array.shape[:have] + (1,) * (want - have) + array.shape[have:])


def broadcast(value: Value, source: Clock, target: Clock, index: tuple[int, ...]) -> Value:
    """The value on all frames of `index`; frames that it lacks are absent."""
    data, present = spread(value.data, source, target), spread(value.present, source, target)
    missing = index_rank(source) > 0 and any(
        1 != have < want for have, want in zip(present.shape, index, strict=True)
    )
    if missing or (index_rank(source) == index_rank(target) and present.shape != index):
        data, present = _pad(data, present, index)
    features = data.shape[len(index) :]
    return Value(np.broadcast_to(data, index + features), np.broadcast_to(present, index))


def _pad(data: Array, present: Mask, index: tuple[int, ...]) -> tuple[Array, Mask]:
    more = [(0, want - have) for have, want in zip(present.shape, index, strict=True)]
    still = [(0, 0)] * (data.ndim - len(index))
    return np.pad(data, more + still), np.pad(present, more)


def common_index(shapes: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """The longest extent of every index axis."""
    return tuple(max(extents) for extents in zip(*shapes, strict=True))
