"""Who computes what: the accelerator, or the processor beside it, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .diagnostics import AsrcError, Diagnostic, diagnostic
from .facts import Facts
from .facts.numbers import VIEWS
from .folding import chain_before, is_quantised
from .graph import Graph, Node
from .types import Stream

SUBSTITUTES: Mapping[str, tuple[str, ...]] = {
    "dense": ("requantise", "concat", "conv"),
    "convf": ("concat", "conv"),
    "depthwise": ("depthwise",),
    "sigmoid": ("sigmoid",),
    "tanh": ("requantise", "tanh"),
    "glu": ("slice", "sigmoid", "mul"),
    "swish": ("sigmoid", "mul"),
    "layernorm": ("requantise", "mean", "sub", "mul", "rsqrt", "add"),
    "add": ("requantise", "add"),
    "sub": ("requantise", "sub"),
    "mul": ("requantise", "mul"),
    "relu": ("requantise",),
    "slice": ("slice",),
    "flatten": ("reshape", "concat"),
    "concat": ("requantise", "concat"),
    "attend": (
        *("reshape", "transpose", "matmul", "slice", "requantise", "add"),
        *("maximum", "minimum", "softmax"),
    ),
    "weight": (),
    "constant": (),
    "positions": (),
}
"""Operators that the accelerator has, and those of its own that it may take for each."""

HOST: Mapping[str, str] = {
    "input": "it comes from outside",
    "logmel": "the accelerator has no spectrum; its result is quantised once, and is the input",
    "cmvn": "it belongs to the features, which are quantised behind it",
    "embed": "a row of a table is looked up, and is the input",
    "log_softmax": "the logits are what the accelerator gives; decoding needs their differences",
}
"""Operators that stay on the host, with the reason."""


def readers(graph: Graph, path: str) -> Iterable[Node]:
    """Who reads a value, views looked through."""
    for reader in graph.readers[path]:
        node = graph[reader]
        if node.op in VIEWS and node.path not in graph.cycle_shifts:
            yield from readers(graph, node.path)
        else:
            yield node


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


def place(facts: Facts, chosen: Collection[str] | None = None) -> Placement:
    """Raises AsrcError E0701 for values, all or the chosen ones, that neither side computes, each
    with its place."""
    graph = facts.graph
    host = {node.path: HOST[node.op] for node in graph if node.op in HOST}
    known = SUBSTITUTES.keys() | VIEWS | HOST.keys()
    asked = [node for node in graph if chosen is None or node.path in chosen]
    problems = [_nowhere(graph, node) for node in asked if node.op not in known]
    problems += [_unfit(node, why) for node in asked if (why := _reason(facts, node))]
    problems += [_single(n) for n in asked if n.op == "layernorm" and facts.types[n.path].size == 1]
    if problems:
        raise AsrcError(*problems)
    return Placement(graph, host)


def check_numbers(graph: Graph, chosen: Collection[str]) -> None:
    """Raises AsrcError E0703 for values of the accelerator, or that it reads, without a number
    format."""
    read = {path for one in chosen for path in graph[one].inputs}
    bare = [node for node in graph if node.path in {*chosen, *read} and "number" not in node.attrs]
    if bare:
        raise AsrcError(*(_numberless(node) for node in bare))


def _numberless(node: Node) -> Diagnostic:
    message = f"`{node.path}` has no number format, and the accelerator computes in integers"
    return diagnostic("E0703", message, node.span, help="`quantize()` gives it one")


def _reason(facts: Facts, node: Node) -> str:
    """Why the accelerator's operator does not do what this one does."""
    if node.op == "convf" and int(str(node.attrs["groups"])) > 1:
        return "it has groups"
    if node.op in ("window", "delay", "ahead") and len(node.inputs) > 1:
        return "it has a first value of its own"
    if node.attrs.get("in_chunk"):
        return "it stops at the edges of chunks"
    if node.op in ("layernorm", "depthwise") and len(facts.types[node.path].dims) > 1:
        return "it works on planes"
    if node.op == "attend":
        return _unattended(facts, node)
    return _misread(facts, node)


def _unattended(facts: Facts, node: Node) -> str:
    query, key = (facts.types[path].clock for path in node.inputs[:2])
    if query != key:
        return "its keys are on another clock"
    return "" if isinstance(query, Stream) else "it attends to labels"


def _misread(facts: Facts, node: Node) -> str:
    """Windows and flattened planes are but seen by those who multiply them with weights."""
    wanted = {
        "window": ("dense", "convf", "depthwise", "flatten"),
        "flatten": ("dense",),
    }.get(node.op)
    if wanted is None or (node.op == "flatten" and facts.types[node.inputs[0]].taps):
        return ""
    for reader in readers(facts.graph, node.path):
        planes = reader.op == "flatten" and len(facts.types[node.path].dims) > 1
        several = node.op == "flatten" and len(reader.inputs) > 1
        if reader.op not in wanted or several or planes:
            return f"`{reader.path}` reads it"
    return ""


def _unfit(node: Node, why: str) -> Diagnostic:
    message = f"`{node.path}`: the accelerator's `{node.op}` does not do this: {why}"
    return diagnostic("E0701", message, node.span)


def _single(node: Node) -> Diagnostic:
    """A norm whose variance is zero in every frame has no range to compute in."""
    message = f"`{node.path}` norms a single feature: it is always its bias, whatever comes in"
    help = "leave the norm out, or norm before the features become one"
    return diagnostic("E0701", message, node.span, help=help)


def _nowhere(graph: Graph, node: Node) -> Diagnostic:
    message = f"`{node.path}`: the accelerator has no `{node.op}`, and the host does not run it"
    help = _unfolded(graph, node.path) if node.op == "batchnorm" else ""
    return diagnostic("E0701", message, node.span, help=help)


def _unfolded(graph: Graph, path: str) -> str:
    """What would fold a batchnorm into a map."""
    chain = chain_before(graph, path)
    if chain is None:
        return (
            "put it right behind a `dense`, `convf` or `depthwise`, strides allowed, that nothing"
            " else reads: `fold_norm(batchnorm)` folds it there"
        )
    if is_quantised(graph, chain[0]):
        return f"`fold_norm(batchnorm)` folds it before `{chain[0]}` has bits from `quantize()`"
    return "`fold_norm(batchnorm)` before folds it"
