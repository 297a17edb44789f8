"""Values: an array with leading index axes, and which of its frames are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import Clock, Finite, Label, Lattice, Static, Type

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Index = tuple[int, ...]


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


def over_features(mask: Array, data: Array) -> Array:
    """A number or a flag for each frame, with singleton axes for the features of `data`."""
    return mask.reshape(mask.shape + (1,) * (data.ndim - mask.ndim))


def element(kind: Type, real: np.dtype[Any]) -> np.dtype[Any]:
    """Tokens are integers; flags are numbers, zero and one."""
    return np.dtype(np.int64) if kind.elem == "token" else real


def any_step(present: Mask) -> Mask:
    """Whether anything is there along the innermost axis."""
    return np.asarray(present.any(-1))


def initial(start: Value | None, kind: Type) -> Array | float:
    """What absent frames of a value read as: zero, or the start of a shift, at every tap."""
    if start is None:
        return 0.0
    return start.data if kind.taps is None else start.data[..., None]


def select(mask: Mask, data: Array, other: Array | float | int) -> Array:
    """`data` where the frame is present, else `other`: what is absent is never read."""
    return np.where(over_features(mask, data), data, other)


def blank(value: Value, dtype: np.dtype[Any]) -> Value:
    """The value with its absent frames made unreadable."""
    if value.present.all():
        return Value(value.data.astype(dtype, copy=False), value.present)
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


def own_axes(source: Clock, target: Clock) -> range:
    """Which index axes of `target` a value on `source` has."""
    if isinstance(target, Lattice) and isinstance(source, Label):
        return range(1, 2)
    return range(index_rank(source))


def common_index(values: Sequence[Value], clocks: Sequence[Clock], target: Clock) -> Index:
    """The longest extent of each index axis of `target` among values that have it."""
    index = [0] * index_rank(target)
    for value, clock in zip(values, clocks, strict=True):
        for axis, extent in zip(own_axes(clock, target), value.present.shape, strict=True):
            index[axis] = max(index[axis], extent)
    return tuple(index)


def broadcast(value: Value, source: Clock, target: Clock, index: Index) -> Value:
    """The value on all frames of `index`: repeated along axes that are not its own; along those
    that are, cut at the end or absent beyond it."""
    if value.present.shape == index and source == target:
        return value
    own = own_axes(source, target)
    data, present = (_fitted(array, index, own) for array in (value.data, value.present))
    features = data.shape[value.rank :]
    spread = tuple(index[axis] if axis in own else 1 for axis in range(len(index)))
    return Value(
        np.broadcast_to(data.reshape(spread + features), index + features),
        np.broadcast_to(present.reshape(spread), index),
    )


def _fitted(array: Array, index: Index, own: range) -> Array:
    """Leading axes cut or filled up to their extents."""
    cut = array[tuple(slice(index[axis]) for axis in own)]
    more = [(0, index[axis] - extent) for axis, extent in zip(own, cut.shape, strict=False)]
    if not any(after for _, after in more):
        return cut
    return np.pad(cut, more + [(0, 0)] * (cut.ndim - len(more)))
