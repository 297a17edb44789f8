"""Parameters, state and products of a lowered model, counted on the modules as they run.

Products are counted by watching the contractions (matrix products, convolutions) that PyTorch is
asked for while a step runs far from its start. Three things are counted otherwise. A depthwise
filter is an element-wise product and a sum here; its products are taps times outputs. Of an
attention the products between a query and the keys that it sees count: a step of several queries
computes with all keys that any of them sees, and masks; `executed` has those as well. The log-mel
front end does not count, as in the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ...compiler.facts import Facts
from ...compiler.facts.macs import Cost
from ...compiler.reference.value import frame_shape
from ...compiler.types import Static, base_clock
from . import attention, stepping
from .audio import Logmel
from .emit import word
from .examples import Length, random_inputs
from .integers.attention import IntegerAttention
from .integers.leaves import Integer
from .leaves import Depthwise
from .lowered import Lowered, complete
from .modes import evaluating
from .ports import Port
from .session import utterance_values
from .step import State, inner_shape
from .streams import Streams

Number = int | Fraction


@dataclass(frozen=True, slots=True)
class Count:
    """A figure of the facts, measured."""

    name: str
    inferred: Number
    measured: Number

    @property
    def gap(self) -> float:
        """The relative difference."""
        return float(abs(Fraction(self.measured) - self.inferred) / max(self.inferred, 1))

    def words(self) -> str:
        return f"{self.name}: {float(self.measured):g} counted, {float(self.inferred):g} inferred"


@dataclass(frozen=True, slots=True)
class Products:
    """Multiply-accumulates: those that count, and all that were computed."""

    useful: Number = 0
    executed: Number = 0

    def __add__(self, other: Products) -> Products:
        return Products(self.useful + other.useful, self.executed + other.executed)

    def over(self, seconds: Fraction) -> Products:
        """In each second."""
        return Products(self.useful / seconds, self.executed / seconds)


def count_everything(lowered: Lowered) -> list[Count]:
    """Parameters; the state of one stream; products a second, a label, a joint evaluation and an
    utterance."""
    facts = lowered.facts
    wanted = facts.graph.ancestors(facts.graph.outputs.values())
    inferred = sum((cost for path, cost in facts.macs.items() if path in wanted), Cost())
    parts = [part for part in ("frames", "labels") if part in lowered.parts]
    streams = {part: steady(lowered, part) for part in parts}
    products = measure_products(lowered, streams)
    held, bits = facts.held_step, facts.held_bits(facts.graph.nodes, step=True) or 0
    return [
        Count("parameters", facts.param_count(facts.graph.nodes), _parameters(lowered, wanted)),
        Count("state values", sum(h.values or 0 for h in held), _state(streams, lambda s: 1)),
        Count("state bytes", Fraction(bits, 8), _state(streams, partial(_bytes, facts))),
        *(
            Count(f"products a {unit}", getattr(inferred, unit), found.useful)
            for unit, found in products.items()
        ),
    ]


def measure_products(lowered: Lowered, streams: Mapping[str, Streams]) -> dict[str, Products]:
    """By what makes them due."""
    found = {
        "second": Products(),
        "label": Products(),
        "joint": _joint(lowered),
        "utterance": _utterance(lowered, streams),
    }
    for part, unit in (("frames", "second"), ("labels", "label")):
        if part in streams:
            found[unit] = _step(streams[part])
    seconds = lowered.facts.schedule.seconds
    if "frames" in streams:
        found["second"] = found["second"].over(seconds)
    return found


# --- parameters and state -------------------------------------------------------------------


def _parameters(lowered: Lowered, wanted: Container[str]) -> int:
    """Of the recogniser, without what only a loss needs."""
    kept = (module for path, module in lowered.leaves.items() if path in wanted)
    return sum(x.numel() for module in kept for x in module.parameters(recurse=False))


def _state(streams: Mapping[str, Streams], size: Callable[[State], int]) -> int:
    """What the steps carry for one stream, the bits of flags apart."""
    return sum(
        stream.state[state.name].numel() * size(state)
        for stream in streams.values()
        for state in stream.step_of(1).states
        if state.kind != "flags"
    )


def _bytes(facts: Facts, state: State) -> int:
    """Of one number on a device: PyTorch's own tokens, flags and codes are wider."""
    if state.elem == "flag":
        return 1
    return {"int8": 1, "int16": 2}.get(str(facts.formats[state.path]), 4)


def steady(lowered: Lowered, part: str) -> Streams:
    """One stream, far enough from its start for all that attention sees to be there."""
    given = utterance_values(lowered, [p.name for p in lowered.step(part).given], _whole(lowered))
    streams = Streams(lowered, 1, given, part)
    for _ in range(_steps_to_fill(streams)):
        streams.step(_silence(streams))
    return streams


def _steps_to_fill(streams: Streams) -> int:
    step, facts = streams.step_of(1), streams.lowered.facts
    lines = (facts.label_schedule if streams.part == "labels" else facts.schedule).lines
    return 1 + max(
        (-(min(s.frames) // lines[s.path].count) for s in step.states if s.frames),
        default=step.warm_up,
    )


def _silence(streams: Streams) -> dict[str, Tensor]:
    types = {
        word(node.path): streams.lowered.facts.types[node.path]
        for node in streams.lowered.facts.graph
    }
    found = {}
    for feed in streams.step_of(1).feeds:
        kind = types[feed.name]
        shape = (1, feed.frames, *inner_shape(kind), *frame_shape(kind))
        dtype = torch.int64 if kind.elem == "token" else streams.like.dtype
        found[feed.name] = torch.zeros(shape, dtype=dtype, device=streams.like.device)
    return found


def _whole(lowered: Lowered) -> dict[str, Tensor]:
    """Inputs of one utterance whose catalogues are full."""
    like = lowered.like
    found = random_inputs(lowered.facts, [Length(Fraction(1), 1)], 0, like.dtype)
    full = {n: torch.ones_like(x) if n.endswith("_there") else x for n, x in found.items()}
    return {name: x.to(like.device) for name, x in full.items()}


# --- products -------------------------------------------------------------------------------


def _step(streams: Streams) -> Products:
    step = streams.step_of(1)
    return count_products(step.module, *streams.arguments(step, _silence(streams)))


def _joint(lowered: Lowered) -> Products:
    """One frame with one label."""
    if "lattice" not in lowered.parts:
        return Products()
    with torch.no_grad(), evaluating(lowered):
        facts = lowered.facts
        given = _whole(lowered)
        values = complete(facts.graph, facts.types, given) | lowered(given)
    lattice = lowered.parts["lattice"]
    return count_products(lattice.module, *(_one(p, values, facts) for p in lattice.inputs))


def _one(port: Port, values: Mapping[str, Tensor], facts: Facts) -> Tensor:
    x = values[port.name]
    if port.kind == "length":
        return torch.ones_like(x)
    static = isinstance(base_clock(facts.types[port.path].clock), Static)
    return x if static or port.kind == "there" else x[:, :1]


def _utterance(lowered: Lowered, streams: Mapping[str, Streams]) -> Products:
    """The static part, and what steps make once of parameters alone."""
    found = Products()
    if "static" in lowered.parts:
        static, facts = lowered.parts["static"], lowered.facts
        values = complete(facts.graph, facts.types, _whole(lowered))
        found += count_products(static.module, *(values[port.name] for port in static.inputs))
    for stream in streams.values():
        found += count_products(stream.step_of(1).prepare, lowered.like)
    return found


def count_products(module: fx.GraphModule, *arguments: Tensor) -> Products:
    """The products of one call."""
    with torch.no_grad(), _Watch() as watch:
        counter = _Counter(module, watch)
        counter.run(*arguments)
    return counter.found


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the products of all contractions: those of PyTorch's own counter of operations, a
    multiplication and an addition each, and of the fused operators that it leaves out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in flop_registry:
            self.products += flop_registry[packet](*args, **(kwargs or {}), out_val=found) // 2
        elif packet in _FUSED:
            self.products += _FUSED[packet](*args)
        return found


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, *_: Any) -> int:
    return prod(q.shape[:-1]) * k.shape[-2] * (k.shape[-1] + v.shape[-1])


def _fused_lstm(x: Tensor, *rest: Any) -> int:
    """Each step multiplies all weights: those of the input and those of the state."""
    weights = rest[0] if isinstance(rest[0], list) else rest[:2]
    return int(x.shape[0] * x.shape[1] * sum(w.numel() for w in weights if w.ndim == 2))


_FUSED: Mapping[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _fused_attention,
    torch.ops.aten.mkldnn_rnn_layer: _fused_lstm,
    torch.ops.aten._cudnn_rnn: _fused_lstm,
}


class _Counter(fx.Interpreter):
    """Runs a module node by node; some nodes have rules of their own."""

    def __init__(self, module: fx.GraphModule, watch: _Watch) -> None:
        super().__init__(module)
        self.watch, self.found = watch, Products()

    def run_node(self, n: fx.Node) -> Any:
        before = self.watch.products
        found = super().run_node(n)
        executed = self.watch.products - before
        rule = self._rule(n)
        if rule is None:
            self.found += Products(executed, executed)
        else:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            useful = rule(found, *args, **kwargs)
            self.found += Products(useful, max(useful, executed))
        return found

    def _rule(self, n: fx.Node) -> Callable[..., int] | None:
        if n.op == "call_function":
            return _RULES.get(n.target)
        if n.op == "call_module":
            module = self.fetch_attr(str(n.target))
            if isinstance(module, Depthwise):
                return lambda found, *_, **__: found.numel() * module.weight.shape[-1]
            if isinstance(module, Integer) and module.products:
                return lambda found, *_, **__: found.numel() * module.products
            if isinstance(module, IntegerAttention):
                return _attend_in_integers
            if isinstance(module, Logmel):
                return _nothing
        return None


def _nothing(*_: Any, **__: Any) -> int:
    return 0


def _attend(
    found: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    seen: Tensor | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
) -> int:
    """Pairs of a query and a key that it sees, by the features of both kinds of product."""
    if causal:
        pairs = prod(q.shape[:-2]) * q.shape[-2] * (q.shape[-2] + 1) // 2
    elif seen is None:
        pairs = prod(q.shape[:-1]) * k.shape[-2]
    else:
        pairs = int(seen.expand(*q.shape[:-1], k.shape[-2]).sum())
    return pairs * (k.shape[-1] + v.shape[-1] + (0 if bias is None else q.shape[-1]))


def _attend_in_integers(
    found: Tensor, q: Tensor, k: Tensor, v: Tensor, seen: Tensor, *relative: Tensor
) -> int:
    return _attend(found, q, k, v, 0, seen, relative[0] if relative else None)


def _attend_window(
    found: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    seen: tuple[tuple[int, int], ...],
    there: Tensor,
    bias: Tensor | None,
) -> int:
    inside = stepping.inside(k, seen)
    return _attend(found, q, k, v, heads, inside & there.unsqueeze(1), bias)


def _attend_catalogue(
    found: Tensor, q: Tensor, k: Tensor, v: Tensor, heads: int, seen: Tensor | None, each: bool
) -> int:
    entries = k.shape[-2] if seen is None else int(seen[0].sum())
    return prod(q.shape[:-1]) * entries * (k.shape[-1] + v.shape[-1])


_RULES: Mapping[Any, Callable[..., int]] = {
    attention.attend: _attend,
    attention.attend_catalogue: _attend_catalogue,
    attention.relative_scores: _nothing,  # counted with the attention that they are for
    stepping.attend_window: _attend_window,
    stepping.relative_window: _nothing,
}
