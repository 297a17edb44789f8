"""The signature of a part: its order of values, its inputs and its outputs as fx nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from ...compiler.graph import Graph
from ...compiler.reference import Plan, Planner, index_rank
from ...compiler.types import Label, Stream, base_clock
from .emit import Emitter, Model, There, word
from .parts import Part


@dataclass(frozen=True, slots=True)
class Port:
    """One tensor of a part's signature.

    `kind` is `value` (`[B, *index, *dims]`), `length` (`[B]`, in frames of the value), or `there`
    (`[B, *index]`, which entries of a catalogue there are).
    """

    path: str
    name: str
    kind: str


def plan(model: Model, part: Part, without: frozenset[str] = frozenset()) -> Plan:
    """The order of a part's values; positions come after the queries they are for."""
    graph = model.graph
    needs = {
        n.path: frozenset(n.inputs) | {g.flag for g in model.gates.get(n.path, ())} for n in graph
    }
    for node in graph:
        if node.op == "attend" and len(node.inputs) == 5:
            for path in graph.ancestors([node.inputs[4]]):
                if graph[path].op == "positions":
                    needs[path] |= {*node.inputs[:2]}
    return Planner(graph, model.types, needs).plan((part.members | part.free) - without)


def value_name(graph: Graph, path: str) -> str:
    """What users call a value: its input or output name, else its path."""
    for name, target in (*graph.outputs.items(), *graph.losses.items()):
        if target == path:
            return word(name)
    return word(path)


def input_name(graph: Graph, path: str) -> str:
    """What users call a value that a part is given: a model's input keeps its own name."""
    return word(path) if graph[path].op == "input" else value_name(graph, path)


def place_inputs(emitter: Emitter, part: Part) -> Iterator[Port]:
    graph, types = emitter.model.graph, emitter.model.types
    flags = {g.flag for p in part.members for g in emitter.model.gates.get(p, ())}
    for path in dict.fromkeys((*part.inputs, *sorted(flags - part.members))):
        name = input_name(graph, path)
        yield Port(path, name, "value")
        emitter.data[path] = emitter.placeholder(name)
        there = There()
        base = base_clock(types[path].clock)
        if isinstance(base, Stream | Label):
            there = There(length=emitter.placeholder(f"{name}_length"))
            yield Port(path, f"{name}_length", "length")
        elif index_rank(types[path].clock):
            there = There(inner=emitter.placeholder(f"{name}_there"))
            yield Port(path, f"{name}_there", "there")
        emitter.there[path] = there
        if graph[path].op == "input" and there.length is not None:
            emitter.data[path] = emitter.call(cleared, emitter.data[path], there.length)
        elif graph[path].op == "input" and there.inner is not None:
            emitter.data[path] = emitter.call(cleared_mask, emitter.data[path], there.inner)


def cleared(x: Tensor, length: Tensor) -> Tensor:
    """What is not there is zero, whatever it was: padding is never read."""
    there = torch.arange(x.shape[1], device=x.device) < length.unsqueeze(1)
    return torch.where(there.reshape(there.shape + (1,) * (x.ndim - 2)), x, 0)


def cleared_mask(x: Tensor, there: Tensor) -> Tensor:
    return torch.where(there.reshape(there.shape + (1,) * (x.ndim - there.ndim)), x, 0)


def place_outputs(emitter: Emitter, part: Part) -> Iterator[Port]:
    for path in part.outputs:
        name = value_name(emitter.model.graph, path)
        yield Port(path, name, "value")
        there = emitter.there[path]
        if there.length is not None and part.name != "lattice":
            yield Port(path, f"{name}_length", "length")
        if there.inner is not None:
            yield Port(path, f"{name}_there", "there")


def port_node(emitter: Emitter, port: Port) -> fx.Node:
    if port.kind == "value":
        return emitter.data[port.path]
    there = emitter.there[port.path]
    found = there.length if port.kind == "length" else there.inner
    assert found is not None
    return found
