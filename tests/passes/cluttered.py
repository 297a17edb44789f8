"""Random networks with clutter that a clean-up pass should remove, and whether it was exact."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from asrc.compiler.facts import Facts
from asrc.compiler.facts.params import LEARNED
from asrc.compiler.graph import Attr, Graph, Node
from asrc.compiler.keeps import broken_promise
from asrc.compiler.ops import OPS, REQUIRED
from asrc.compiler.protocol import Pass
from asrc.compiler.reference import evaluate, random_weights
from asrc.compiler.types import Stream, Type
from asrc.tests.facts.networks import random_network

SECONDS = Fraction(3, 10)
Inputs = Mapping[str, tuple[Any, Any]]


def node(path: str, op: str, *inputs: str, **attrs: Attr) -> Node:
    """Options that are not given take their defaults."""
    usual = {k: o.default for k, o in OPS[op].options.items() if o.default is not REQUIRED}
    return Node(path, op, inputs, {**usual, **attrs})  # type: ignore[dict-item]


class Clutter:
    """A network whose values get needless company; every move keeps what it computes."""

    def __init__(self, graph: Graph, seed: int) -> None:
        self.graph, self.types = graph, Facts(graph).types
        self.rng = random.Random(seed)
        self.nodes = {n.path: n for n in graph}
        self.added = 0

    def add(self, op: str, *inputs: str, **attrs: Attr) -> str:
        self.added += 1
        path = f"added{self.added}"
        self.nodes[path] = node(path, op, *inputs, **attrs)
        return path

    def number(self, value: int) -> str:
        """A number, written out or as the result of arithmetic on others."""
        if self.rng.random() < 0.7:
            return self.add("constant", value=Fraction(value))
        left, right = self.number(value + 1), self.number(1)
        return self.add("sub", left, right)

    def redirect(self, old: str, new: str) -> None:
        """Some of the readers of a value read another one instead."""
        for path, reader in list(self.nodes.items()):
            if path != new and old in reader.inputs and self.rng.random() < 0.6:
                inputs = tuple(new if p == old else p for p in reader.inputs)
                self.nodes[path] = replace(reader, inputs=inputs)

    def do_nothing(self, x: str) -> str | None:
        kind = self.types[x]
        moves: list[Callable[[], str]] = [
            lambda: self.add("mul", x, self.number(1)),
            lambda: self.add("add", self.number(0), x) if kind.size > 1 else x,
            lambda: self.add("div", x, self.number(1)),
            lambda: self.add("sub", x, self.number(0)),
            lambda: self.add("dropout", x, p=Fraction(0)),
            lambda: self.add("concat", x),
        ]
        if isinstance(kind.clock, Stream) and not any(x in c for c in self.graph.cycles):
            moves.append(lambda: self.add("stride", x, factor=1))
            moves.append(lambda: self.add("upsample", x, factor=1))
        if len(kind.dims) == 1 and kind.taps is None:
            moves.append(lambda: self.add("flatten", x))
            moves.append(lambda: self.add("slice", x, parts=1, index=0))
        return self.rng.choice(moves)() if kind.elem == "real" else None

    def repeat(self, x: str) -> str | None:
        """A value once more, with the same parameters."""
        original = self.nodes[x]
        if original.op in ("input", "weight"):
            return None
        owner = (original.owner or x) if original.op in LEARNED else None
        path = self.add(original.op, *original.inputs, **original.attrs)
        self.nodes[path] = replace(self.nodes[path], owner=owner)
        return path

    def clutter(self, moves: int) -> Graph:
        names = list(self.types)
        for _ in range(moves):
            x = self.rng.choice(names)
            new = self.rng.choice((self.do_nothing, self.repeat))(x)
            if new is not None and new != x:
                self.redirect(x, new)
        return replace(self.graph, nodes=self.nodes)


def cluttered(seed: int) -> Graph:
    return Clutter(random_network(seed), seed).clutter(8)


def random_inputs(graph: Graph, types: Mapping[str, Type], seed: int) -> Inputs:
    """Data for every input, with absent frames in between (NaN) but for audio."""
    found = {}
    for n in graph:
        if n.op == "input":
            random_ = np.random.default_rng([seed, len(found)])
            found[n.path] = _input(types[n.path], random_)
    return found


def _input(kind: Type, random_: np.random.Generator) -> tuple[Any, Any]:
    assert isinstance(kind.clock, Stream)
    frames = int(SECONDS / kind.clock.period)
    there = random_.random(frames) < (0.85 if frames < 100 else 1.1)
    data = random_.standard_normal((frames, *kind.dims))
    data = np.where(there.reshape(-1, *[1] * len(kind.dims)), data, np.nan)
    return (data > 0, there) if kind.elem == "flag" else (data, there)


def assert_exact(graph: Graph, step: Pass, seed: int = 0) -> Graph:
    """The pass leaves outputs, names and arguments alone; gives the new graph."""
    types = Facts(graph).types
    weights = random_weights(graph, types, seed)
    before = {name: array.copy() for name, array in weights.items()}
    inputs = random_inputs(graph, types, seed)
    new, changed = step.run(graph, weights)
    assert changed is not None
    assert all(np.array_equal(before[name], weights[name]) for name in before)
    old_values = evaluate(graph, weights, inputs)
    new_values = evaluate(new, changed, inputs)
    for name, path in graph.outputs.items():
        was, now = old_values[path], new_values[new.outputs[name]]
        assert np.array_equal(was.present, now.present), name
        np.testing.assert_allclose(now.data, was.data, rtol=0, atol=1e-9, err_msg=name)
    assert set(changed) == set(random_weights(new, Facts(new).types, seed))
    assert step.run(graph, None)[0] == new
    assert broken_promise(step, Facts(graph), Facts(new)) is None
    return new
