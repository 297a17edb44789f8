"""Constant folding: arithmetic on numbers, and operators that change nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isqrt
from typing import ClassVar, cast

from ..compiler.facts import Facts
from ..compiler.facts.gates import Gates, infer_gates
from ..compiler.graph import Graph, Node
from ..compiler.ops import BINARY, UNARY
from ..compiler.protocol import Weights
from ..compiler.types import Type

MAX_BITS = 256
"""Numbers that take more than this are left to the backend: exact arithmetic could explode."""


@dataclass(frozen=True)
class FoldConstants:
    """Computes what depends on numbers alone, exactly or not at all, and removes operators that
    give back their input: `x * 1`, `stride(1)`, `dropout(p=0)`, `flatten` of a vector."""

    name: ClassVar[str] = "fold_constants"
    keeps: ClassVar[frozenset[str]] = frozenset(
        {"lookahead", "rate", "shapes", "parameters", "numerics"}
    )

    def run(self, graph: Graph, weights: Weights | None) -> tuple[Graph, Weights | None]:
        folder = _Folder(graph)
        for path in graph.order:
            folder.visit(path)
        if not folder.changed:
            return graph, weights
        nodes = (folder.nodes[path] for path in graph.nodes if path in folder.nodes)
        return graph.rewrite(nodes, folder.moved), weights


class _Folder:
    """The graph as folded so far; inputs come before what reads them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types: Mapping[str, Type] = Facts(graph).types
        self.gates: Gates = infer_gates(graph, self.types)
        self.nodes = dict(graph.nodes)
        self.moved: dict[str, str] = {}

    @property
    def changed(self) -> bool:
        return bool(self.moved) or any(self.nodes[p] is not n for p, n in self.graph.nodes.items())

    def visit(self, path: str) -> None:
        node = self.graph[path]
        inputs = tuple(self.moved.get(source, source) for source in node.inputs)
        numbers = [self.number(source) for source in inputs]
        result = _computed(node.op, numbers)
        if result is not None:
            self.nodes[path] = replace(node, op="constant", inputs=(), attrs={"value": result})
            return
        slot = _given_back(node, numbers, self.types)
        if slot is not None and self.same(path, inputs[slot]):
            self.moved[path] = inputs[slot]
            del self.nodes[path]

    def number(self, path: str) -> Fraction | None:
        node = self.nodes[path]
        return Fraction(cast(Fraction, node.attrs["value"])) if node.op == "constant" else None

    def same(self, path: str, source: str) -> bool:
        """Whether `source` can stand for `path`: one type, and it runs on the same frames.

        A flag stays what it is: what two flags switch, one of them could switch off.
        """
        kind = self.types[path]
        alike = kind == self.types[source] and kind.elem != "flag" and source != path
        return alike and self.gates.get(path) == self.gates.get(source)


# --- numbers ---


def _computed(op: str, numbers: list[Fraction | None]) -> Fraction | None:
    """The exact value of an operator on numbers, if it has one of bounded size."""
    known = [n for n in numbers if n is not None]
    if len(known) < len(numbers):
        return None
    if op in BINARY:
        result = _arithmetic(op, *known)
    else:
        result = _function(op, *known) if op in UNARY else None
    return result if result is not None and _bits(result) <= MAX_BITS else None


def _bits(number: Fraction) -> int:
    return max(number.numerator.bit_length(), number.denominator.bit_length())


def _arithmetic(op: str, left: Fraction, right: Fraction) -> Fraction | None:
    if op == "div":
        return left / right if right else None
    return {"add": left + right, "sub": left - right, "mul": left * right}[op]


def _function(op: str, x: Fraction) -> Fraction | None:
    if op in _EXACT:
        return _EXACT[op](x)
    return _AT.get((op, x))


def _root(x: Fraction) -> Fraction | None:
    if x < 0:
        return None
    root = Fraction(isqrt(x.numerator), isqrt(x.denominator))
    return root if root * root == x else None


_EXACT: dict[str, Callable[[Fraction], Fraction | None]] = {
    "abs": abs,
    "relu": lambda x: max(x, Fraction(0)),
    "sqrt": _root,
}

_AT: dict[tuple[str, Fraction], Fraction] = {
    ("sigmoid", Fraction(0)): Fraction(1, 2),
    ("exp", Fraction(0)): Fraction(1),
    ("log", Fraction(1)): Fraction(0),
    **{(op, Fraction(0)): Fraction(0) for op in ("tanh", "swish", "gelu")},
}
"""The only rational values of these functions at rational arguments."""


# --- operators that change nothing ---


def _given_back(
    node: Node, numbers: list[Fraction | None], types: Mapping[str, Type]
) -> int | None:
    """The input that the value equals, whatever it is."""
    if node.op in _NEUTRAL:
        return next((s for s, n in _NEUTRAL[node.op] if numbers[1 - s] == n), None)
    if node.op == "flatten":
        kind = types[node.inputs[0]]
        return 0 if len(kind.dims) == 1 and kind.taps is None else None
    if node.op == "concat":
        return 0 if len(node.inputs) == 1 else None
    return 0 if any(node.attrs[n] == v for n, v in _IDLE.get(node.op, {}).items()) else None


_NEUTRAL: dict[str, tuple[tuple[int, int], ...]] = {
    "add": ((0, 0), (1, 0)),
    "sub": ((0, 0),),
    "mul": ((0, 1), (1, 1)),
    "div": ((0, 1),),
}
"""Operator -> which input is given back when the other one is that number."""

_IDLE: dict[str, dict[str, int]] = {
    "stride": {"factor": 1},
    "upsample": {"factor": 1},
    "slice": {"parts": 1},
    "dropout": {"p": 0},
}
"""Operator -> the option with which it does nothing."""
