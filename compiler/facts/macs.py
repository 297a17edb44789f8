"""Multiply-accumulates: products inside contractions (dense maps, convolutions, attention).

Element-wise products, look-ups and the log-mel front end do not count; results pages say so.
A value costs its MACs once for each demanded frame, label, joint evaluation or utterance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, prod
from typing import cast

from ..graph import Graph, Node
from ..types import Finite, Label, Lattice, Stream, Type, base_clock, inner_steps
from .demand import NEVER, Demand, demanded_share
from .params import RULES as PARAMS
from .params import WITHOUT
from .reads import Reads, ReadsTable

Rule = Callable[[Node, Sequence[Type], Type, ReadsTable], int | None]


@dataclass(frozen=True, slots=True)
class Cost:
    """MACs by what makes them due. `unbounded`: an attention over everything adds to these."""

    second: Fraction = Fraction(0)
    label: Fraction = Fraction(0)
    joint: Fraction = Fraction(0)
    utterance: Fraction = Fraction(0)
    unbounded: bool = False

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.second + other.second,
            self.label + other.label,
            self.joint + other.joint,
            self.utterance + other.utterance,
            self.unbounded or other.unbounded,
        )

    def worse(self, other: Cost) -> Cost:
        """The dearer of two alternatives a frame; an utterance may well take both in turn."""
        return Cost(
            max(self.second, other.second),
            max(self.label, other.label),
            max(self.joint, other.joint),
            self.utterance + other.utterance,
            self.unbounded or other.unbounded,
        )

    def better(self, other: Cost) -> Cost:
        """The cheaper of two alternatives."""
        return Cost(
            min(self.second, other.second),
            min(self.label, other.label),
            min(self.joint, other.joint),
            min(self.utterance, other.utterance),
            self.unbounded and other.unbounded,
        )


def _zero(node: Node, ins: Sequence[Type], out: Type, reads: ReadsTable) -> int:
    return 0


def _weights(node: Node, ins: Sequence[Type], out: Type, reads: ReadsTable) -> int:
    """One product for each weight."""
    return prod(PARAMS[node.op](node, ins, out)["weight"])


def _convf(node: Node, ins: Sequence[Type], out: Type, reads: ReadsTable) -> int:
    """One product for each weight and output band."""
    return _weights(node, ins, out, reads) * out.dims[-1]


def _attend(node: Node, ins: Sequence[Type], out: Type, reads: ReadsTable) -> int | None:
    """Scores and mixture over the keys that one query sees at most; `None` without bound."""
    q, k, v = ins[:3]
    keys = _keys_seen(node, q, k, reads)
    if keys is None:
        return None
    relative = q.size if len(ins) == 5 else 0
    return keys * (k.size + v.size + relative)


def _keys_seen(node: Node, q: Type, k: Type, reads: ReadsTable) -> int | None:
    if isinstance(k.clock, Finite):
        return k.clock.size
    if base_clock(k.clock) == k.clock and not isinstance(k.clock, Stream | Label):
        return 1
    pattern = cast(Reads, reads.at(node.path, 1))
    span = max(pattern.last(i) - pattern.first(i) for i in range(pattern.cycle[0])) + 1
    return None if span == inf else int(span)


RULES: dict[str, Rule] = {
    **dict.fromkeys(set(WITHOUT) - {"attend"}, _zero),
    **dict.fromkeys(("weight", "embed", "layernorm", "rmsnorm", "batchnorm"), _zero),
    "dense": _weights,
    "convf": _convf,
    "depthwise": _weights,
    "attend": _attend,
}


def infer_macs(
    graph: Graph,
    types: Mapping[str, Type],
    demand: Mapping[str, Demand],
    reads: ReadsTable,
    offsets: Mapping[str, int | None],
) -> Mapping[str, Cost]:
    """The cost of every value that has one."""
    found: dict[str, Cost] = {}
    for node in graph:
        ins = [types[p] for p in node.inputs]
        macs = RULES[node.op](node, ins, types[node.path], reads)
        macs = _times(macs, offsets.get(node.path, 1))
        if macs != 0 and demand[node.path] != NEVER:
            found[node.path] = _cost(macs, types[node.path], demand[node.path])
    return found


def _times(macs: int | None, count: int | None) -> int | None:
    """A product in which nothing done without bound is still nothing."""
    if macs == 0 or count == 0:
        return 0
    return None if macs is None or count is None else macs * count


def _cost(macs: int | None, out: Type, demand: Demand) -> Cost:
    if macs is None:
        return Cost(unbounded=True)
    each = Fraction(macs * inner_steps(out.clock)) * demanded_share(demand)
    base = base_clock(out.clock)
    if isinstance(base, Stream):
        return Cost(second=each / base.period)
    if isinstance(base, Label):
        return Cost(label=each)
    return Cost(joint=each) if isinstance(base, Lattice) else Cost(utterance=each)
