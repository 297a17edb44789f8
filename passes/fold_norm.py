"""Normalisation by fixed statistics, folded into the weights beside it.

`fold_norm()` folds both kinds, `fold_norm(batchnorm)` and `fold_norm(cmvn)` one of them.

Exact everywhere, edges included, or not done. Frames that a window finds absent read as zero
after a cmvn; before it, they must read as the mean, which becomes the window's initial value. A
cmvn does not fold into `convf`: its statistics differ from band to band, the weights do not. Which
map takes in a batchnorm: `compiler/folding.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, cast

from ..compiler.facts import Facts
from ..compiler.facts.gates import infer_gates
from ..compiler.folding import chain_before, is_quantised, private, unshared
from ..compiler.graph import Graph, Node
from ..compiler.protocol import Weights
from ..compiler.types import Type

_SHIFTS = ("delay", "ahead", "window")
_VIEWS = (*_SHIFTS, "stride", "upsample", "flatten")


@dataclass(frozen=True)
class FoldNorm:
    """Folds a batchnorm into the dense, convf or depthwise before it, also through strides and
    upsampling, and a cmvn into the dense or depthwise after it, also through windows, delays,
    strides and flatten."""

    name: ClassVar[str] = "fold_norm"
    keeps: ClassVar[frozenset[str]] = frozenset({"lookahead", "rate", "shapes", "numerics"})

    only: str | None = None

    def run(self, graph: Graph, weights: Weights | None) -> tuple[Graph, Weights | None]:
        new = None if weights is None else dict(weights)
        for kind, fold in (("batchnorm", _fold_batchnorm), ("cmvn", _fold_cmvn)):
            for norm in [n.path for n in graph if n.op == kind and self.only in (None, kind)]:
                graph = fold(graph, norm, new)
        return graph, new


def _with_bias(node: Node) -> Node:
    return node.with_attrs(bias=True)


# --- batchnorm, into what stands before ---


def _fold_batchnorm(graph: Graph, path: str, weights: dict[str, Any] | None) -> Graph:
    norm, chain = graph[path], chain_before(graph, path)
    if chain is None or is_quantised(graph, chain[0]):
        return graph
    before = graph[chain[0]]
    if weights is not None:
        _scale_outputs(before, norm, weights)
    nodes = (_with_bias(n) if n is before else n for n in graph if n is not norm)
    return _unnamed(graph, *chain).rewrite(nodes, {path: chain[-1]})


def _scale_outputs(before: Node, norm: Node, weights: dict[str, Any]) -> None:
    """`w' = s w` and `b' = s (b - mean) + shift`, per channel of the first axis."""
    import numpy as np

    scale, shift, mean, variance = _taken(weights, norm.path, _BATCHNORM)
    scale = scale / np.sqrt(variance + float(cast(Fraction, norm.attrs["eps"])))
    weight = weights[f"{before.path}.weight"]
    width = weight.shape[:-1] if before.op == "depthwise" else weight.shape[:1]
    bias = weights.get(f"{before.path}.bias", np.zeros(width))
    _put(weights, before.path, weight, _rows(scale, weight.ndim) * weight)
    moved = (bias - _rows(mean, bias.ndim)) * _rows(scale, bias.ndim) + _rows(shift, bias.ndim)
    weights[f"{before.path}.bias"] = moved.astype(weight.dtype)


_BATCHNORM = ("weight", "bias", "mean", "variance")


def _taken(weights: dict[str, Any], path: str, names: tuple[str, ...]) -> list[Any]:
    """Parameters of a value that goes away, in double precision."""
    return [weights.pop(f"{path}.{name}").astype("float64") for name in names]


def _put(weights: dict[str, Any], path: str, like: Any, weight: Any) -> None:
    weights[f"{path}.weight"] = weight.astype(like.dtype)


def _rows(x: Any, rank: int) -> Any:
    """One number a row, against an array of that rank."""
    return x.reshape(x.shape + (1,) * (rank - x.ndim))


# --- cmvn, into what stands behind ---


def _fold_cmvn(graph: Graph, path: str, weights: dict[str, Any] | None) -> Graph:
    chain = _chain(graph, path)
    if chain is None:
        return graph
    types = Facts(graph).types
    if not (_startable(graph, types, path, chain) and _same_frames(graph, types, path, chain)):
        return graph
    if weights is not None:
        _scale_inputs(graph, types, path, chain, weights)
    return _without_cmvn(graph, types, path, chain)


def _chain(graph: Graph, path: str) -> list[str] | None:
    """The views behind a cmvn and the dense or depthwise at their end, if that is all."""
    chain, here = [], path
    while private(graph, here):
        (here,) = graph.readers[here]
        chain.append(here)
        node = graph[here]
        if node.op in ("dense", "depthwise"):
            whole = node.op == "depthwise" or node.attrs["groups"] == 1
            whole = whole and not is_quantised(graph, here)
            return chain if whole and unshared(graph, here) else None
        started = len(node.inputs) > 1 or _start(here) in graph.nodes
        if node.op not in _VIEWS or (node.op in _SHIFTS and started):
            return None
    return None


def _startable(graph: Graph, types: Mapping[str, Type], path: str, chain: list[str]) -> bool:
    """Whether every shift sees the frames as the cmvn does, neither windowed nor flattened."""
    shifts = [graph[p] for p in chain if graph[p].op in _SHIFTS]
    seen = (types[shift.inputs[0]] for shift in shifts)
    return all((kind.dims, kind.taps) == (types[path].dims, types[path].taps) for kind in seen)


def _same_frames(graph: Graph, types: Mapping[str, Type], path: str, chain: list[str]) -> bool:
    """Whether the same flags, or none, switch off what is read now and what was read before."""
    gates = infer_gates(graph, types)
    return len({gates.get(p) for p in (graph[path].inputs[0], path, *chain)}) == 1


def _scale_inputs(
    graph: Graph, types: Mapping[str, Type], path: str, chain: list[str], weights: dict[str, Any]
) -> None:
    """`w' = w / deviation` and `b' = b - w' mean`, for the columns that the cmvn feeds."""
    import numpy as np

    *views, last = chain
    mean, deviation = _taken(weights, path, ("mean", "deviation"))
    for view in views:
        if graph[view].op in _SHIFTS:
            weights[f"{_start(view)}.value"] = mean.astype(weights[f"{last}.weight"].dtype)
    weight = weights[f"{last}.weight"]
    taps = weight.shape[-1] if graph[last].op == "depthwise" else _taps(types, [path, *views])
    centre, spread = (np.repeat(x[..., None], taps, -1) for x in (mean, deviation))
    if graph[last].op == "dense":
        mine = list(_columns(graph, types, last, views[-1] if views else path))
        centre, spread = (_row(x, mine, rest) for x, rest in ((centre, 0.0), (spread, 1.0)))
    scaled = weight.astype("float64") / spread
    bias = weights.get(f"{last}.bias", 0.0) - (scaled * centre).sum(-1)
    _put(weights, last, weight, scaled)
    weights[f"{last}.bias"] = bias.astype(weight.dtype)


def _taps(types: Mapping[str, Type], paths: list[str]) -> int:
    return max(types[path].taps or 1 for path in paths)


def _columns(
    graph: Graph, types: Mapping[str, Type], path: str, source: str
) -> Iterator[tuple[int, bool]]:
    """How many columns each input of a dense has, and whether they come from `source`."""
    return ((types[p].size, p == source) for p in graph[path].inputs)


def _row(x: Any, columns: list[tuple[int, bool]], rest: float) -> Any:
    """The statistics in the columns that they belong to, `rest` in the others."""
    import numpy as np

    return np.concatenate([x.reshape(-1) if own else np.full(n, rest) for n, own in columns])


def _without_cmvn(graph: Graph, types: Mapping[str, Type], path: str, chain: list[str]) -> Graph:
    (source,) = graph[path].inputs
    *views, last = chain
    nodes: list[Node] = []
    for node in graph:
        if node.path == last:
            nodes.append(_with_bias(node))
        elif node.path in views and node.op in _SHIFTS:
            nodes += _started(node, types[path].dims)
        elif node.path != path:
            nodes.append(node)
    return _unnamed(graph, path, *views).rewrite(nodes, {path: source})


def _started(shift: Node, dims: tuple[int, ...]) -> Iterator[Node]:
    """A shift that reads absent frames as a learned value, and that value."""
    start = _start(shift.path)
    yield Node(start, "weight", (), {"dims": dims, "init": "zeros"}, shift.span)
    yield replace(shift, inputs=(*shift.inputs, start))


def _start(shift: str) -> str:
    """The path of a shift's initial value."""
    return f"{shift}.initial"


def _unnamed(graph: Graph, *paths: str) -> Graph:
    """Without the names of values that no longer are what the user called so."""
    return replace(graph, names={k: v for k, v in graph.names.items() if v not in paths})
