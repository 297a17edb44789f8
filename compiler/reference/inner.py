"""Inner axes: made, folded away, aggregated. `mean` and `max` also run over a whole stream."""

from __future__ import annotations

import numpy as np

from ..types import Finite, Static
from .call import Call, Rule
from .value import Array, Value, any_step, over_features, select


def _unfold(call: Call) -> Value:
    """`[..., bands]` becomes pieces along a new innermost axis."""
    size, step = call.count("size"), call.count("step")
    x, bands = call.x.data, call.x.rank + len(call.kind.dims) - 1
    pieces = np.lib.stride_tricks.sliding_window_view(x, size, axis=bands)
    pieces = np.moveaxis(pieces, -1, bands + 1)  # right after the axis that counts the pieces
    pieces = np.moveaxis(pieces, bands, call.x.rank)
    chosen = pieces[(slice(None),) * call.x.rank + (slice(None, None, step),)]
    count = chosen.shape[call.x.rank]
    return Value(chosen, np.repeat(call.x.present[..., None], count, -1))


def _collect(call: Call) -> Value:
    """The steps of the innermost axis as taps; absent ones are zero."""
    entries = select(call.x.present, call.x.data, 0.0)
    return Value(np.moveaxis(entries, call.x.rank - 1, -1), any_step(call.x.present))


def _last(call: Call) -> Value:
    steps = call.x.present.shape[-1]
    return _pick(call, steps - 1 - np.argmax(call.x.present[..., ::-1], -1))


def _first(call: Call) -> Value:
    return _pick(call, np.argmax(call.x.present, -1))


def _pick(call: Call, step: Array) -> Value:
    """One step of the innermost axis for each of the outer ones."""
    axis = call.x.rank - 1
    where = np.expand_dims(step, axis)
    taken = np.take_along_axis(call.x.data, over_features(where, call.x.data), axis)
    return Value(taken.squeeze(axis), any_step(call.x.present))


def _mean(call: Call) -> Value:
    """Over the steps that are there; absent when none is."""
    axis = call.x.rank - 1
    total = select(call.x.present, call.x.data, 0.0).sum(axis)
    count = call.x.present.sum(axis)
    return Value(total / over_features(np.maximum(count, 1), total), count > 0)


def _max(call: Call) -> Value:
    axis = call.x.rank - 1
    found = select(call.x.present, call.x.data, -np.inf).max(axis, initial=-np.inf)
    return Value(found, any_step(call.x.present))


def _append(call: Call) -> Value:
    """One more entry at the end: of a catalogue always, of an inner axis where it has any."""
    x, entry = call.ins
    there = x.present.any(-1, keepdims=True)
    if isinstance(call.kind.clock, Finite) and isinstance(call.kind.clock.outer, Static):
        there = np.ones_like(there)
    shape = there.shape + x.data.shape[x.rank :]
    more = np.broadcast_to(entry.data.reshape(shape[x.rank :]), shape)
    axis = x.rank - 1
    return Value(
        np.concatenate([x.data, more], axis),
        np.concatenate([x.present, there & entry.present], axis),
    )


RULES: dict[str, Rule] = {
    "unfold": _unfold,
    "collect": _collect,
    "last": _last,
    "first": _first,
    "mean": _mean,
    "max": _max,
    "append": _append,
}
