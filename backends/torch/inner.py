"""Operators on inner axes and catalogues, and attention that does not run along a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from ...compiler.graph import Node
from ...compiler.reference import index_rank
from ...compiler.types import Finite, Label, Static, Stream, base_clock
from . import attention, frames
from .emit import Model, Row, Site, There
from .recurrent import select


def _axis(site: Site) -> int:
    """The innermost index axis of the input."""
    return index_rank(site.kind.clock)


def _steps(site: Site) -> fx.Node:
    """Which steps of the input's innermost axis are there; `[B, *index]` or `[1, *index]`."""
    mask = site.emitter.mask(site.node.inputs[0])
    return site.call(frames.all_there, site.x, 1 + _axis(site)) if mask is None else mask


def _inner_mask(site: Site) -> fx.Node | None:
    return site.emitter.there[site.node.inputs[0]].inner


def _fold(function: Callable[..., Any]) -> Row:
    """One value from the steps of an axis."""
    return lambda site: site.call(function, site.x, _steps(site), _axis(site))


def _collect(site: Site) -> fx.Node:
    x, mask = site.x, _inner_mask(site)
    if mask is not None:
        x = site.call(select, mask, x, 0.0)
    return site.method("movedim", x, _axis(site), -1)


def _append(site: Site) -> fx.Node:
    return site.call(frames.appended, site.raw[0], site.raw[1], _axis(site))


def _unfold(site: Site) -> fx.Node:
    rank = 1 + index_rank(site.kind.clock)
    return site.call(frames.pieces, site.raw[0], site.int("size"), site.int("step"), rank)


def is_inner_shift(model: Model, node: Node) -> bool:
    """Whether a shift runs along an inner axis."""
    shifts = node.op in ("delay", "ahead", "window")
    return shifts and isinstance(model.types[node.path].clock, Finite)


def _entries(site: Site) -> fx.Node:
    """The entries to shift: absent ones as zero, or as what the shift begins with."""
    mask, x = _inner_mask(site), site.raw[0]
    if mask is None:
        return x
    if len(site.raw) == 1:
        return site.call(select, mask, x, 0.0)
    start = site.emitter.spread(site.raw[1], site.kinds[1].clock, site.kind.clock)
    return site.call(select, mask, x, start)


def _start(site: Site) -> fx.Node | None:
    return site.raw[1] if len(site.raw) > 1 else None


def _shift(sign: int) -> Row:
    def row(site: Site) -> fx.Node:
        offset = sign * site.int("frames")
        return site.call(frames.shifted, _entries(site), offset, _axis(site), _start(site))

    return row


def _window(site: Site) -> fx.Node:
    past, future, by = (site.int(n) for n in ("past", "future", "by"))
    offsets = tuple(o * by for o in range(-past, future + 1))
    return site.call(frames.taps, _entries(site), offsets, _axis(site), 1, _start(site))


def inner_there(site: Site) -> There:
    """The presence of what an inner operator makes."""
    there = site.emitter.there[site.node.inputs[0]]
    mask, op = there.inner, site.node.op
    if op in ("delay", "ahead", "window", "attend"):
        return there
    if op in ("mean", "max") and isinstance(site.kind.clock, Stream | Label):
        return There()
    if mask is None or op == "unfold":
        return there
    if op == "append":
        return replace(there, inner=site.call(appended_mask, mask, _closed(site)))
    if index_rank(site.out.clock) == 0:
        return replace(there, inner=None)
    return replace(there, inner=site.method("any", mask, -1))


def _closed(site: Site) -> bool:
    """Whether the entry is there even where the axis has nothing: always in a catalogue."""
    clock = site.kind.clock
    return isinstance(clock, Finite) and isinstance(clock.outer, Static)


def appended_mask(mask: torch.Tensor, always: bool) -> torch.Tensor:
    """The presence of an axis with one more entry."""
    more = mask.any(-1, keepdim=True)
    return torch.cat([mask, torch.ones_like(more) if always else more], -1)


def attend_elsewhere(site: Site) -> fx.Node:
    """Attention to a catalogue, or along an inner axis."""
    q, k, v = site.raw[:3]
    if site.kind.clock != site.kinds[1].clock:
        return _to_catalogue(site, q, k, v)
    seen = site.emitter.meet(site.node.inputs[1:3]).inner
    rows = None if seen is None else site.method("unsqueeze", seen, -2)
    return site.call(attention.attend, q, k, v, site.int("heads"), rows)


def _to_catalogue(site: Site, q: fx.Node, k: fx.Node, v: fx.Node) -> fx.Node:
    assert len(site.node.inputs) == 3, "a catalogue has no positions"
    keys = site.kinds[1].clock
    seen = site.emitter.meet(site.node.inputs[1:3]).inner
    each = isinstance(keys, Finite) and not isinstance(base_clock(keys), Static)
    return site.call(attention.attend_catalogue, q, k, v, site.int("heads"), seen, each)


ROWS: Mapping[str, Row] = {
    "unfold": _unfold,
    "collect": _collect,
    "last": _fold(frames.last_of),
    "first": _fold(frames.first_of),
    "mean": _fold(frames.mean_over),
    "max": _fold(frames.max_over),
    "append": _append,
    "attend": attend_elsewhere,
    "delay": _shift(-1),
    "ahead": _shift(1),
    "window": _window,
}
