"""Attention with masks and relative positions; the switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from ..types import Finite, Label
from .call import Call, Rule
from .value import Array, Mask, Value, any_step, broadcast, common_index, select


def _positions(call: Call) -> Value:
    """Sinusoids of every distance from `-reach` to `reach`: sine and cosine in turn, at
    wavelengths from 2 pi in a geometric series to 20,000 pi (Vaswani et al. 2017, 3.5)."""
    data = sinusoids(np.arange(-call.reach, call.reach + 1), call.count("n"))
    return Value(data, np.ones(len(data), bool))


def sinusoids(distances: Array, n: int) -> Array:
    """`[distances, n]`."""
    rate = 10_000.0 ** (-2 * (np.arange(n) // 2) / n)
    angle = distances[:, None] * rate
    return np.where(np.arange(n) % 2, np.cos(angle), np.sin(angle))


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Queries `[*index, width]`, keys and values `[*outer, keys, width]`, who sees whom.

    In self-attention (`own`) the innermost axis of the queries is the one that the keys run
    along; of a catalogue, each query sees all entries.
    """

    queries: Value
    keys: Array
    values: Array
    seen: Mask
    own: bool

    def rows(self, queries: Array) -> Array:
        """Queries with an axis that meets the keys."""
        return queries if self.own else np.expand_dims(queries, -2)


def _attend(call: Call) -> Value:
    """`softmax(q k / sqrt(d)) v` in each head, over the keys that are there and seen."""
    heads, own = call.count("heads"), call.kind.clock == call.kinds[1].clock
    met = _self_attention(call) if own else _catalogue(call)
    scores = _products(_in_heads(met.rows(met.queries.data), heads), _in_heads(met.keys, heads))
    if len(call.ins) == 5:
        scores = scores + _relative(call, met)
    share = _softmax(scores / np.sqrt(call.kind.dims[0] // heads), met.seen)
    mixed = np.einsum("...hqk,...khd->...qhd", share, _in_heads(met.values, heads))
    present = met.queries.present
    return Value(mixed.reshape(present.shape + call.out.dims), present)


def _in_heads(x: Array, heads: int) -> Array:
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)


def _products(q: Array, k: Array) -> Array:
    return np.asarray(np.einsum("...qhd,...khd->...hqk", q, k))


def _softmax(scores: Array, seen: Mask) -> Array:
    """Over the last axis, where `seen`; a query that sees nothing gets zeros."""
    visible = np.broadcast_to(seen[..., None, :, :], scores.shape)
    masked = np.where(visible, scores, -np.inf)
    top = masked.max(-1, keepdims=True, initial=-np.inf)
    weight = np.exp(masked - np.where(np.isfinite(top), top, 0.0))
    total = weight.sum(-1, keepdims=True)
    return np.asarray(weight / np.where(total > 0, total, 1.0))


def _self_attention(call: Call) -> _Meeting:
    clock = call.kind.clock
    index = common_index(call.ins[:3], (clock,) * 3, clock)
    q, k, v = (broadcast(x, clock, clock, index) for x in call.ins[:3])
    there = k.present & v.present
    keys, values = select(there, k.data, 0.0), select(there, v.data, 0.0)
    return _Meeting(q, keys, values, there[..., None, :] & _mask(call, index[-1]), True)


def _catalogue(call: Call) -> _Meeting:
    k, v = call.ins[1:3]
    there = k.present & v.present
    clocks = (call.kind.clock, cast(Finite, call.kinds[1].clock).outer)
    outer = Value(there, any_step(there))
    index = common_index((call.x, outer), clocks, clocks[0])
    q = broadcast(call.x, clocks[0], clocks[0], index)
    keys, values, seen = (
        broadcast(Value(entries, outer.present), clocks[1], clocks[0], index).data
        for entries in (select(there, k.data, 0.0), select(there, v.data, 0.0), there)
    )
    return _Meeting(q, keys, values, seen[..., None, :], False)


def _mask(call: Call, frames: int) -> Mask:
    """Which frames `s` each query `t` may see; along an inner axis, all."""
    clock = call.kind.clock
    t, s = np.arange(frames)[:, None], np.arange(frames)[None]
    mask = "causal" if isinstance(clock, Label) else call.node.attrs["mask"]
    if isinstance(clock, Finite) or mask == "full":
        return np.ones((frames, frames), bool)
    left, right = call.frames_in("left", clock), call.frames_in("right", clock) or 0
    first, last = t, t + (right if mask == "limited" else 0)
    if mask == "chunk":
        chunk = call.frames_in("chunk", clock) or 1
        first = t // chunk * chunk
        last = first + chunk - 1
    allowed = s <= last
    return np.asarray(allowed if left is None else allowed & (s >= first - left))


def _relative(call: Call, met: _Meeting) -> Array:
    """`q' r[t - s]`, where `r` runs over the distances `-reach .. reach`."""
    clock, heads = call.kind.clock, call.count("heads")
    index = met.queries.present.shape
    queries = met.rows(broadcast(call.ins[3], call.kinds[3].clock, clock, index).data)
    t = np.arange(index[-1]) if met.own else np.zeros(1, int)
    distance = t[:, None] - np.arange(met.keys.shape[-2])[None]
    rows = call.ins[4].data[distance + call.reach]
    return np.asarray(
        np.einsum("...qhd,qkhd->...hqk", _in_heads(queries, heads), _in_heads(rows, heads))
    )


def _switch(call: Call) -> Value:
    """The chosen branch, frame by frame; the other one is never read."""
    flag, on, off = call.joined
    up = flag.data.reshape(call.index) == 1
    data = np.where(up.reshape(up.shape + (1,) * (on.data.ndim - up.ndim)), on.data, off.data)
    return Value(data, flag.present & np.where(up, on.present, off.present))


RULES: dict[str, Rule] = {"positions": _positions, "attend": _attend, "switch": _switch}
