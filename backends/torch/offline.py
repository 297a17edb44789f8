"""Whole utterances: the emitter for training and for offline recognition.

Values before a `stride` are only computed at the frames that it keeps: a value's `pace` is one in
how many of its frames stand in the tensor, the last of each slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import fx

from ...compiler.diagnostics import AsrcError, diagnostic
from ...compiler.facts.demand import Demand, infer_demand
from ...compiler.facts.gates import Gate
from ...compiler.graph import Node
from ...compiler.reference import Loop, index_rank
from ...compiler.types import Label, Lattice, Static, Stream, Type, base_clock
from . import attention, frame, frames, framewise, inner
from .emit import Model, Row, Site, There, frames_in, lengthened
from .framewise import integer_attention, rounded_if
from .loops import emit_loop
from .recurrent import select
from .recurring import Recurring

CONVOLUTIONS = frozenset({"dense", "convf", "depthwise"})


class Offline(Recurring):
    """`[batch, frames, ...]`; lengths are `[batch]`."""

    def __init__(self, model: Model, inside: frozenset[str]) -> None:
        super().__init__(model)
        self.pace = infer_pace(model)
        self.under = {p for p in inside if self._fuses(p)}

    # --- what is there ---

    def mask(self, path: str) -> fx.Node | None:
        """`[B, *index]`, of the frames that stand in the tensor."""
        there, kind = self.there[path], self.model.types[path]
        if isinstance(kind.clock, Lattice):
            return None
        found = there.inner
        if there.length is not None:
            here = self.call(frames.within, self._own_length(path), self.data[path])
            for _ in range(index_rank(kind.clock) - 1):
                here = self.method("unsqueeze", here, -1)
            found = here if found is None else self.call(torch.logical_and, found, here)
        for gate in sorted(there.gates, key=lambda g: (g.flag, g.up)):
            raised = self.call(frames.fitted, self._raised(gate, kind), self.data[path])
            found = raised if found is None else self.call(torch.logical_and, found, raised)
        return found

    def _own_length(self, path: str) -> fx.Node:
        """The length counted in the frames of the tensor."""
        length = self.there[path].length
        assert length is not None
        pace = self.pace.get(path, 1)
        return length if pace == 1 else self.call(frames.slots, length, pace)

    def _raised(self, gate: Gate, kind: Type) -> fx.Node:
        """Where a flag lets a value of some type run."""
        raised = self.call(frame.raised, self.data[gate.flag], gate.up)
        for _ in range(index_rank(kind.clock) - index_rank(self.model.types[gate.flag].clock)):
            raised = self.method("unsqueeze", raised, -1)
        return raised

    def cut(self, values: tuple[fx.Node, ...]) -> tuple[fx.Node, ...]:
        cut = self.call(frames.together, *values)
        return tuple(self.item(cut, n) for n in range(len(values)))

    # --- values ---

    def emit(self, node: Node) -> fx.Node:
        if node.path in self.under:  # its reader convolves over it
            self.there[node.path] = self.there[node.inputs[0]]
            return self.data[node.inputs[0]]
        ins = tuple(self.data[p] for p in node.inputs)
        if node.op in TIME and not inner.is_inner_shift(self.model, node):
            site = self.site(node, ins)
            there = self.there[node.inputs[0]] if node.inputs else There()
            self.there[node.path] = self.gated(node.path, lengthened(self, node, there))
            return rounded_if(self, node, TIME[node.op](site))
        if node.op in inner.ROWS:
            site = self.site(node, ins)
            self.there[node.path] = self.gated(node.path, inner.inner_there(site))
            return inner.ROWS[node.op](site)
        return self._framewise(node, ins)

    def _framewise(self, node: Node, ins: tuple[fx.Node, ...]) -> fx.Node:
        there = self.meet(node.inputs)
        if node.op == "switch":
            there = self._switched(node, there)
        self.there[node.path] = self.gated(node.path, there)
        if node.op in CONVOLUTIONS and node.inputs[0] in self.under:
            return self._convolved(node)
        return framewise.emitted(self._site_with_mask(node, self._paced(node, ins)))

    def _site_with_mask(self, node: Node, ins: tuple[fx.Node, ...]) -> Site:
        """Presence can be asked of a value before it is there: it is that of its inputs."""
        site = self.site(node, ins)
        wide = [x for x, p in zip(ins, node.inputs, strict=True) if self._has_frames(p)]
        if wide:
            self.data[node.path] = wide[0]
        return site

    def _switched(self, node: Node, there: There) -> There:
        """A switch is there wherever its flag is: one of the branches always runs."""
        own = {g for g in there.gates if g.flag == node.inputs[0]}
        return replace(there, gates=there.gates - own)

    def _has_frames(self, path: str) -> bool:
        return index_rank(self.model.types[path].clock) > 0

    def _paced(self, node: Node, ins: tuple[fx.Node, ...]) -> tuple[fx.Node, ...]:
        """Inputs at the pace of the result, cut to the frames that all of them have."""
        want = self.pace.get(node.path, 1)
        found = [self.at_pace(p, x, want) for p, x in zip(node.inputs, ins, strict=True)]
        streams = [n for n, p in enumerate(node.inputs) if self._is_stream(p)]
        lengths = {self.there[node.inputs[n]].length for n in streams}
        if len(lengths) > 1:
            cut = self.cut(tuple(found[n] for n in streams))
            for n, x in zip(streams, cut, strict=True):
                found[n] = x
        return tuple(found)

    def _is_stream(self, path: str) -> bool:
        return isinstance(base_clock(self.model.types[path].clock), Stream)

    def at_pace(self, path: str, x: fx.Node, want: int) -> fx.Node:
        """A value's tensor at a slower pace."""
        have = self.pace.get(path, 1)
        if want == have or not self._is_stream(path):
            return x
        assert want % have == 0, (path, have, want)
        return self.call(frames.every, x, want // have)

    def aligned(self, paths: tuple[str, ...]) -> tuple[fx.Node, ...]:
        """Values on the frames that all of them have."""
        data = tuple(self.data[p] for p in paths)
        return data if len({self.there[p].length for p in paths}) == 1 else self.cut(data)

    # --- fused convolutions ---

    def _fuses(self, path: str) -> bool:
        """Whether a window is read by one convolution alone, which can then run over time."""
        graph, node = self.model.graph, self.model.graph[path]
        if node.op != "window" or len(node.inputs) > 1 or path in graph.looped:
            return False
        clipped = bool(node.attrs["in_chunk"]) and node.attrs["chunk"] is not None
        readers = graph.readers[path]
        seen = {*graph.outputs.values(), *graph.losses.values()}
        if clipped or len(readers) != 1 or path in seen or not self._is_plain_stream(path):
            return False
        reader = graph[readers[0]]
        if "on" in reader.attrs:
            return False
        once = reader.inputs == (path,) and readers[0] not in graph.looped
        return once and reader.op in CONVOLUTIONS

    def _is_plain_stream(self, path: str) -> bool:
        return isinstance(self.model.types[path].clock, Stream | Label)

    def _convolved(self, node: Node) -> fx.Node:
        window = self.model.graph[node.inputs[0]]
        source = window.inputs[0]
        kind, dims = self.model.types[source], len(self.model.types[source].dims)
        past, future, by = (cast(int, window.attrs[n]) for n in ("past", "future", "by"))
        x = self.read(source, future > 0)
        if node.op == "dense" and dims > 1:
            x = self.method("flatten", x, 2)
        if node.op == "convf" and dims == 1:
            x = self.method("unsqueeze", x, 2)
        reach = (past, future, by, self.pace.get(node.path, 1))
        path, module = self.model.leaves.of(node)
        assert kind.taps is None
        return self.module(path, module, x, window=reach, hint=node.path)

    def read(self, path: str, ahead: bool, start: fx.Node | None = None) -> fx.Node:
        """A value for frames other than its own to read: absent frames are zero, or `start`.

        Past frames of a frame that is there are there, unless a gate says otherwise.
        """
        there = self.there[path]
        if not there.gates and not (ahead and there.length is not None):
            return self.data[path]
        mask = self.mask(path)
        if mask is None:
            return self.data[path]
        if start is None:
            return self.call(select, mask, self.data[path], 0.0)
        other = self.spread(start, Static(), self.model.types[path].clock)
        return self.call(select, mask, self.data[path], other)

    # --- recurrences ---

    def loop(self, loop: Loop) -> None:
        emit_loop(self, loop)

    def body(self) -> Offline:
        return Offline(self.model, frozenset())

    def outside(self, path: str, loop: Loop) -> fx.Node:
        """Steps of a stream are those that all values outside the loop have."""
        steps = [p for p in sorted(loop.outside) if self._is_stream(p)]
        if path not in steps:
            return self.data[path]
        return self.aligned(tuple(steps))[steps.index(path)]

    def taken(self, shift: str, loop: Loop) -> fx.Node | None:
        """A gate's steps alone, and in a catalogue the entries that are there."""
        source = self.model.graph[shift].inputs[0]
        there = self.there[source]
        found = there.inner
        for gate in sorted(there.gates, key=lambda g: (g.flag, g.up)):
            raised = self._raised(gate, self.model.types[shift])
            found = raised if found is None else self.call(torch.logical_and, found, raised)
        return found


def infer_pace(model: Model) -> dict[str, int]:
    """One in how many frames of each value anybody reads, where it is the last of each slot and
    nobody reads it at other frames than his own."""
    graph = model.graph
    everything = replace(graph, outputs={**graph.outputs, **graph.losses})
    demand = infer_demand(everything, model.facts.timing)
    pace = {p: len(wanted) for p, wanted in demand.items() if _is_slow(model, p, wanted)}
    for path in reversed(graph.order):
        node = graph[path]
        mine = pace.get(path, 1) * cast(
            int, node.attrs.get("factor", 1) if node.op == "stride" else 1
        )
        for source in node.inputs:
            if node.op in _READERS or mine % pace.get(source, 1):
                pace.pop(source, None)
    return pace


_READERS = frozenset({"delay", "ahead", "window", "upsample", "attend", "logmel", "mean", "max"})


def _is_slow(model: Model, path: str, wanted: Demand) -> bool:
    regular = len(wanted) > 1 and wanted == (*(False,) * (len(wanted) - 1), True)
    stream = isinstance(base_clock(model.types[path].clock), Stream)
    free = path not in model.graph.looped and model.graph[path].op != "input"
    return regular and stream and free


# --- rows of time operators ---


def _emitter(site: Site) -> Offline:
    return cast(Offline, site.emitter)


def _start(site: Site) -> fx.Node | None:
    return site.emitter.data[site.node.inputs[1]] if len(site.node.inputs) > 1 else None


def _source(site: Site, ahead: bool) -> fx.Node:
    """The frames to shift: absent ones as zero."""
    return _emitter(site).read(site.node.inputs[0], ahead, _start(site))


def _shift(sign: int) -> Row:
    def row(site: Site) -> fx.Node:
        offset = sign * site.int("frames")
        x = site.call(frames.shifted, _source(site, sign > 0), offset, 1, _start(site))
        return _slowed(site, x)

    return row


def _slowed(site: Site, x: fx.Node) -> fx.Node:
    """At the pace of the result; what is read stands at full pace."""
    emitter = _emitter(site)
    pace = emitter.pace.get(site.node.path, 1)
    return x if pace == 1 else site.call(frames.every, x, pace)


def _window(site: Site) -> fx.Node:
    past, future, by = (site.int(n) for n in ("past", "future", "by"))
    offsets = tuple(o * by for o in range(-past, future + 1))
    pace = _emitter(site).pace.get(site.node.path, 1)
    chunk = frames_in(site, "chunk", 0) if site.node.attrs["in_chunk"] else None
    x = _source(site, future > 0)
    return site.call(frames.taps, x, offsets, 1, pace, _start(site), chunk)


def _stride(site: Site) -> fx.Node:
    emitter, source = _emitter(site), site.node.inputs[0]
    want = site.int("factor") * emitter.pace.get(site.node.path, 1)
    return emitter.at_pace(source, emitter.data[source], want)


def _upsample(site: Site) -> fx.Node:
    return _slowed(site, site.call(frames.repeated, site.x, site.int("factor")))


def _attend(site: Site) -> fx.Node:
    clock = site.kind.clock
    if not isinstance(clock, Stream | Label) or clock != site.kinds[1].clock:
        return inner.attend_elsewhere(site)
    q, (k, v) = site.raw[0], _emitter(site).aligned(site.node.inputs[1:3])
    if "on" in site.node.attrs:
        return _attend_in_integers(site, q, k, v)
    causal, bias = _is_causal(site), _relative(site, k)
    if causal and bias is None and site.node.attrs["left"] is None:
        return site.call(attention.attend, q, k, v, site.int("heads"), causal=True)
    return site.call(attention.attend, q, k, v, site.int("heads"), _seen(site, k, causal), bias)


def _attend_in_integers(site: Site, q: fx.Node, k: fx.Node, v: fx.Node) -> fx.Node:
    seen = _seen(site, k, _is_causal(site))
    relative = site.raw[3:]
    rest = (*relative, site.call(attention.apart, q, k, relative[1])) if relative else ()
    return integer_attention(site, q, k, v, seen, *rest)


def _is_causal(site: Site) -> bool:
    """Whether the past alone is seen and all of it is there for every query that is."""
    there = _emitter(site).there
    query, *keys = (there[path] for path in site.node.inputs[:3])
    whole = all(key.length is query.length and not key.gates for key in keys)
    return whole and (isinstance(site.kind.clock, Label) or site.node.attrs["mask"] == "causal")


def _relative(site: Site, keys: fx.Node) -> fx.Node | None:
    """The scores of relative positions, where the attention has them."""
    if len(site.node.inputs) < 5:
        return None
    count = site.call(frames.extent, keys)
    return site.call(attention.relative_scores, *site.raw[3:], site.int("heads"), count)


def _seen(site: Site, keys: fx.Node, causal: bool) -> fx.Node:
    """Who sees whom."""
    emitter = _emitter(site)
    mask = "causal" if isinstance(site.kind.clock, Label) else site.node.attrs["mask"]
    left, right = (frames_in(site, n, 1) for n in ("left", "right"))
    bounds: dict[str, dict[str, Any]] = {
        "full": {"left": None, "right": None},
        "causal": {"left": left},
        "chunk": {"chunk": frames_in(site, "chunk", 1), "left": left},
        "limited": {"left": left, "right": right or 0},
    }
    options = bounds[cast(str, mask)]
    if not causal:
        options["there"] = _keys_there(site)
    return emitter.call(attention.visible, site.raw[0], keys, **options)


def _keys_there(site: Site) -> fx.Node | None:
    """Which keys are there with their values."""
    emitter, (keys, values) = _emitter(site), site.node.inputs[1:3]
    masks = [emitter.mask(keys)]
    if emitter.there[keys] != emitter.there[values]:
        masks.append(emitter.mask(values))
    found = tuple(mask for mask in masks if mask is not None)
    if len(found) == 2:
        return site.call(torch.logical_and, *emitter.cut(found))
    return found[0] if found else None


def _positions(site: Site) -> fx.Node:
    """As many as the attention that reads them has frames."""
    return site.call(attention.positions, *_positioned(site), site.int("n"))


def _positioned(site: Site) -> tuple[fx.Node, fx.Node]:
    """The queries and keys that positions are for."""
    graph, emitter, todo = site.emitter.model.graph, site.emitter, [site.node.path]
    while todo:
        path = todo.pop()
        for reader in graph.readers[path]:
            node = graph[reader]
            if node.op == "attend" and len(node.inputs) == 5 and node.inputs[4] == path:
                return emitter.data[node.inputs[0]], emitter.data[node.inputs[1]]
            todo.append(reader)
    message = "nothing says how many relative positions there are: no attention reads them"
    raise AsrcError(diagnostic("E0208", message, site.node.span))


TIME: Mapping[str, Row] = {
    "delay": _shift(-1),
    "ahead": _shift(1),
    "window": _window,
    "stride": _stride,
    "upsample": _upsample,
    "logmel": lambda site: _slowed(site, site.leaf(site.x)),
    "attend": lambda site: _slowed(site, _attend(site)),
    "positions": _positions,
}
