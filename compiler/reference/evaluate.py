"""Evaluation of a graph on one whole utterance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..facts import Facts
from ..facts.gates import Gates, infer_gates
from ..graph import Graph
from ..types import Clock, Finite, Label, Static, Stream, Type, base_clock
from .call import Call, Extent
from .plan import Loop, Plan, make_plan
from .recurrence import unroll
from .rules import RULES
from .value import Array, Index, Mask, Value, blank, broadcast, element, frame_shape, index_rank

Given = ArrayLike | tuple[ArrayLike, ArrayLike | None]
Inputs = Mapping[str, Given]


def evaluate(
    graph: Graph,
    weights: Mapping[str, ArrayLike],
    inputs: Inputs,
    *,
    types: Mapping[str, Type] | None = None,
    dtype: DTypeLike = np.float64,
) -> dict[str, Value]:
    """Every value of the graph on one utterance.

    `weights` are named `<path>.<parameter>`. `inputs` maps the path of each input to an array
    `[*index, *dims]`, alone or with its presence: a mask of the index axes, or how many steps of
    the innermost axis are there (a number, or one for each of the outer steps). Inner axes
    shorter than their type are padded. Raises AsrcError for a graph that is not well-formed,
    ValueError for inputs that do not fit it.
    """
    kinds = types if types is not None else Facts(graph).types
    real = np.dtype(dtype)
    given = {p: _given(p, kinds[p], inputs[p], real) for p in _inputs(graph) if p in inputs}
    arrays = {name: np.asarray(array, real) for name, array in weights.items()}
    extent = _extent(kinds, given)
    run = _Run(graph, kinds, infer_gates(graph, kinds), arrays, given, extent, real)
    values: dict[str, Value] = {}
    with np.errstate(all="ignore"):  # absent frames are NaN
        run.solve(make_plan(graph, kinds, run.gates), values)
    return {path: values[path] for path in graph.nodes}


def _inputs(graph: Graph) -> Iterator[str]:
    return (node.path for node in graph if node.op == "input")


@dataclass(frozen=True)
class _Run:
    graph: Graph
    types: Mapping[str, Type]
    gates: Gates
    weights: Mapping[str, Array]
    given: Mapping[str, Value]
    extent: Extent
    dtype: np.dtype[Any]

    def solve(self, plan: Plan, values: dict[str, Value]) -> None:
        """Adds what the plan names to `values`."""
        for entry in plan:
            if isinstance(entry, Loop):
                unroll(self.graph, self.types, entry, values, self)
            else:
                values[entry] = self.compute(entry, values)

    def compute(self, path: str, values: Mapping[str, Value]) -> Value:
        """One value, from those of its inputs."""
        if path in self.given:
            return self.given[path]
        node = self.graph[path]
        kinds = tuple(self.types[p] for p in node.inputs)
        ins = tuple(values[p] for p in node.inputs)
        call = Call(node, kinds, self.types[path], ins, self.weights, self.extent, self.reach)
        found = RULES[node.op](call)
        if path in self.gates:
            taken = self.taken(path, values, found.present.shape)
            found = Value(found.data, np.asarray(found.present & taken))
        return blank(found, element(self.types[path], self.dtype))

    def taken(self, path: str, values: Mapping[str, Value], index: Index) -> Mask:
        """Where the flags let a value run."""
        mask = np.ones(index, bool)
        for gate in self.gates.get(path, ()):
            flag, clock = values[gate.flag], self.types[gate.flag].clock
            up = flag.data.reshape(flag.present.shape) == gate.up
            wanted = Value(flag.present & up, flag.present)
            wide = broadcast(wanted, clock, self.types[path].clock, index)
            mask &= wide.data.astype(bool)
        return mask

    @cached_property
    def reach(self) -> int:
        """The greatest distance between a query and a key with relative positions."""
        clocks = (
            self.types[path].clock
            for node in self.graph
            if node.op == "attend" and len(node.inputs) == 5
            for path in node.inputs[:2]
        )
        return max((self.extent.steps(clock) for clock in clocks), default=1)


# --- inputs ---


def _given(path: str, kind: Type, given: Given, real: np.dtype[Any]) -> Value:
    data, presence = given if isinstance(given, tuple) else (given, None)
    array, rank = np.asarray(data), index_rank(kind.clock)
    index, features = array.shape[:rank], frame_shape(kind)
    if len(index) < rank or array.size != np.prod(index + features, dtype=int):
        raise ValueError(f"`{path}` is {kind}, an array of shape {array.shape} is not")
    value = Value(array.reshape(index + features), _presence(presence, index))
    return blank(_padded(path, kind.clock, value), element(kind, real))


def _presence(given: ArrayLike | None, index: Index) -> Mask:
    if given is None:
        return np.ones(index, bool)
    presence = np.asarray(given)
    if presence.dtype != bool:
        presence = np.arange(index[-1]) < presence[..., None]
    return np.broadcast_to(presence, index)


def _padded(path: str, clock: Clock, value: Value) -> Value:
    """Inner axes filled up to the size of their type."""
    if not isinstance(clock, Finite):
        return value
    more = [(0, 0)] * value.rank
    while isinstance(clock, Finite):
        axis = index_rank(clock) - 1
        spare = (clock.size or 0) - value.present.shape[axis]
        if spare < 0:
            raise ValueError(f"`{path}` has more than {clock.size} {clock.axis}")
        more[axis], clock = (0, spare), clock.outer
    still = [(0, 0)] * (value.data.ndim - value.rank)
    return Value(np.pad(value.data, more + still), np.pad(value.present, more))


def _extent(types: Mapping[str, Type], given: Mapping[str, Value]) -> Extent:
    """How much of each timeline the inputs hold."""
    seconds, labels = Fraction(0), 0
    for path, value in given.items():
        base = base_clock(types[path].clock)
        steps = value.present.shape[0] if not isinstance(base, Static) else 0
        if isinstance(base, Stream):
            seconds = max(seconds, steps * base.period)
        elif isinstance(base, Label):
            labels = max(labels, steps)
    return Extent(seconds, labels)
