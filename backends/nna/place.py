"""Who computes what: the accelerator, or the processor beside it, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ...compiler.facts import Facts
from ...compiler.graph import Graph, Node
from .formats import VIEWS, readers
from .rows import ROWS

HOST: Mapping[str, str] = {
    "input": "it comes from outside",
    "logmel": "the accelerator has no spectrum; its result is quantised once, and is the input",
    "cmvn": "it belongs to the features, which are quantised behind it",
    "embed": "a row of a table is looked up, and is the input",
    "log_softmax": "the logits are what the accelerator gives; decoding needs their differences",
}
"""Operators that stay on the host, with the reason."""


@dataclass(frozen=True)
class Placement:
    """`host` says why of each value that stays there; the others run on the accelerator."""

    graph: Graph
    host: Mapping[str, str]

    def needs(self, output: str) -> list[str]:
        """What an output of the accelerator is made of by the host."""
        mine = {p for p in (output, *self.graph.ancestors([output])) if p not in self.host}
        read = {path for one in mine for path in self.graph[one].inputs}
        return sorted(read & self.host.keys())


def place(facts: Facts) -> Placement:
    """Raises AsrcError E0701 for values that neither side computes, each with its place."""
    graph = facts.graph
    host = {node.path: HOST[node.op] for node in graph if node.op in HOST}
    known = ROWS.keys() | VIEWS | HOST.keys()
    problems = [_nowhere(node) for node in graph if node.op not in known]
    problems += [_unfit(node, why) for node in graph if (why := _reason(facts, node))]
    if problems:
        raise AsrcError(*problems)
    return Placement(graph, host)


def _reason(facts: Facts, node: Node) -> str:
    """Why the accelerator's operator does not do what this one does."""
    if int(str(node.attrs.get("groups", 1))) > 1:
        return "it has groups"
    if node.op in ("window", "delay", "ahead") and len(node.inputs) > 1:
        return "it has a first value of its own"
    if node.attrs.get("in_chunk"):
        return "it stops at the edges of chunks"
    if node.op in ("layernorm", "depthwise") and len(facts.types[node.path].dims) > 1:
        return "it works on planes"
    line = facts.schedule.lines.get(node.path)
    if node.path in facts.graph.cycle_shifts and line is not None and line.count > 1:
        return f"it recurs {line.count} times in a step"
    return _misread(facts.graph, node)


def _misread(graph: Graph, node: Node) -> str:
    """Windows and flattened planes are but seen by those who multiply them with weights."""
    wanted = {"window": ("dense", "convf", "depthwise"), "flatten": ("dense",)}.get(node.op)
    if wanted is None:
        return ""
    for reader in readers(graph, node.path):
        if reader.op not in wanted or len(reader.inputs) > 1:
            return f"`{reader.path}` reads it"
    return ""


def _unfit(node: Node, why: str) -> Diagnostic:
    message = f"`{node.path}`: the accelerator's `{node.op}` does not do this: {why}"
    return diagnostic("E0701", message, node.span)


def _nowhere(node: Node) -> Diagnostic:
    message = f"`{node.path}`: the accelerator has no `{node.op}`, and the host does not run it"
    return diagnostic("E0701", message, node.span)
