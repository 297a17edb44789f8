"""Small graphs evaluated by the reference, for tests that compute the same by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from asrc.compiler.facts import Facts
from asrc.compiler.graph import Graph
from asrc.compiler.reference import Value, evaluate, random_weights
from asrc.compiler.types import Clock, Finite, Label, Static, Stream, Type
from asrc.tests.builders import Builder

Array = Any
TEN_MS = Stream(Fraction(1, 100))
CHARS = Finite("chars", 5, Finite("phrases", 3, Static()))


@dataclass(frozen=True)
class Result:
    """All values and the weights they were computed with."""

    values: Mapping[str, Value]
    weights: Mapping[str, Array]

    def __getitem__(self, path: str) -> Array:
        return self.values[path].data

    def present(self, path: str) -> list[Any]:
        return self.values[path].present.tolist()


def frames(b: Builder, path: str, *dims: int, clock: Clock = TEN_MS) -> str:
    return b(path, "input", type=Type(dims or (4,), clock))


def flag(b: Builder, path: str, clock: Clock = TEN_MS) -> str:
    return b(path, "input", type=Type((1,), clock, elem="flag"))


def tokens(b: Builder, path: str, vocab: int = 7, clock: Clock | None = None) -> str:
    return b(path, "input", type=Type((1,), clock or Label(), elem="token", vocab=vocab))


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def run(b: Builder | Graph, seed: int = 1, **inputs: Any) -> Result:
    """Evaluates everything; the last value of a builder is its output."""
    graph = b if isinstance(b, Graph) else b.graph(out=list(b.nodes)[-1])
    types = Facts(graph).types
    weights = random_weights(graph, types, seed)
    return Result(evaluate(graph, weights, inputs, types=types), weights)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
