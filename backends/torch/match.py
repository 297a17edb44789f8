"""Recurrences that a fused operator computes, recognised by their body, not by their name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from ...compiler.graph import Graph, Node
from ...compiler.reference import Loop
from ...compiler.types import Type

Pattern = str | tuple[object, ...]


@dataclass(frozen=True, slots=True)
class LstmBody:
    """The values of an LSTM: its one `dense`, its output `h`, its cell `c`, the two shifts.

    `gates` says which quarter of the dense is the input, forget, cell and output gate;
    `projection` is the dense that makes `h` from the cells, if there is one.
    """

    dense: str
    inputs: tuple[str, ...]
    h: str
    c: str
    h_shift: str
    c_shift: str
    gates: tuple[int, ...]
    projection: str | None


@dataclass(frozen=True, slots=True)
class SumBody:
    """`total = total[t-1] + x`."""

    total: str
    x: str


_CELL = ("add", ("mul", ("sigmoid", "f"), "c_shift"), ("mul", ("sigmoid", "i"), ("tanh", "g")))
_OUT = ("mul", ("sigmoid", "o"), ("tanh", "c"))
_COMMUTE = frozenset({"add", "mul"})


def match_lstm(graph: Graph, types: Mapping[str, Type], loop: Loop) -> LstmBody | None:
    """The loop as an LSTM that begins with zeros, one bias or none; else `None`."""
    shifts = {graph[p].inputs[0]: p for p in loop.shifts if _one_back(graph[p])}
    if len(loop.shifts) != 2 or len(shifts) != 2 or not _read_by_shifts_alone(graph, loop, shifts):
        return None
    for c, c_shift in shifts.items():
        (h,) = shifts.keys() - {c}
        found = _as_lstm(graph, h, c, shifts[h], c_shift)
        if found is not None and len(loop.members) == _SIZE + (found.projection is not None):
            return found
    return None


_SIZE = 2 + 1 + 4 + 5 + 3 + 1
"""Two shifts, a dense, four gates, five activations, three products, a sum."""


def _one_back(node: Node) -> bool:
    whole = node.op in ("delay", "ahead") and len(node.inputs) == 1
    return whole and node.attrs["frames"] == 1


def _read_by_shifts_alone(graph: Graph, loop: Loop, shifts: Mapping[str, str]) -> bool:
    """Whether nothing outside the loop reads more of it than its output."""
    seen = {*graph.outputs.values(), *graph.losses.values()}
    inner = loop.members - shifts.keys()
    return all(p not in seen and set(graph.readers[p]) <= loop.members for p in inner)


def _as_lstm(graph: Graph, h: str, c: str, h_shift: str, c_shift: str) -> LstmBody | None:
    projection, out = None, h
    if graph[h].op == "dense" and len(graph[h].inputs) == 1 and not graph[h].attrs["bias"]:
        projection, out = h, graph[h].inputs[0]
    names: dict[str, str] = {"c": c, "c_shift": c_shift}
    if not (_matches(graph, c, _CELL, names) and _matches(graph, out, _OUT, names)):
        return None
    gates = [graph[names[g]] for g in "ifgo"]
    dense = {g.inputs[0] for g in gates}
    if len(dense) != 1 or any(g.op != "slice" or g.attrs["parts"] != 4 for g in gates):
        return None
    body = graph[dense.pop()]
    if body.op != "dense" or body.attrs["groups"] != 1 or body.inputs[-1] != h_shift:
        return None
    if _seen(graph, c, {out, c_shift}) or _shared(graph, body):
        return None
    order = tuple(cast(int, g.attrs["index"]) for g in gates)
    return LstmBody(body.path, body.inputs[:-1], h, c, h_shift, c_shift, order, projection)


def _seen(graph: Graph, path: str, body: set[str]) -> bool:
    """Whether anything but the body reads a value."""
    roots = {*graph.outputs.values(), *graph.losses.values()}
    tanh = {p for p in graph.readers[path] if graph[p].op == "tanh"}
    return path in roots or not set(graph.readers[path]) <= body | tanh


def _shared(graph: Graph, node: Node) -> bool:
    """Whether other values use this one's parameters, or it uses theirs."""
    return node.owner is not None or any(n.owner == node.path for n in graph)


def _matches(graph: Graph, path: str, pattern: Pattern, names: dict[str, str]) -> bool:
    """Whether a value is computed as the pattern says; fills in the names of its leaves."""
    if isinstance(pattern, str):
        return names.setdefault(pattern, path) == path
    node = graph[path]
    op, *parts = cast("tuple[str, *tuple[Pattern, ...]]", pattern)
    if node.op != op:
        return False
    orders = [node.inputs, node.inputs[::-1]] if op in _COMMUTE else [node.inputs]
    for inputs in orders:
        tried = dict(names)
        if all(_matches(graph, i, p, tried) for i, p in zip(inputs, parts, strict=True)):
            names.update(tried)
            return True
    return False


def match_sum(graph: Graph, loop: Loop) -> SumBody | None:
    """The loop as a running sum from zero; else `None`."""
    if len(loop.members) != 2 or len(loop.shifts) != 1 or not _one_back(graph[loop.shifts[0]]):
        return None
    (shift,) = loop.shifts
    (total,) = loop.members - {shift}
    node = graph[total]
    if node.op != "add" or graph[shift].inputs[0] != total or graph.readers[shift] != (total,):
        return None
    others = [p for p in node.inputs if p != shift]
    return SumBody(total, others[0]) if len(others) == 1 else None
