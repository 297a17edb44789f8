"""What a quantised graph needs beside its weights, from what a float model does on real audio."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import cast

import numpy as np

from ...compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ...compiler.facts import Facts
from ...compiler.facts.numbers import bits_of, coded_of, inner_ranges, quantisers
from ...compiler.graph import Node
from ...compiler.reference import Value, evaluate
from .codebook import fitted
from .formats import Range, range_of
from .norms import too_coarse
from .program import Array
from .raised import raised


def calibrated(
    facts: Facts,
    weights: Mapping[str, Array],
    utterances: Iterable[Mapping[str, Array]],
    warn: Callable[[Diagnostic], None] | None = None,
) -> dict[str, Array]:
    """The weights, with the buffers that a quantised graph has beside them: ranges of values over
    some utterances of the float model, scales and codebooks of weights. Those that are there stay,
    but for scales of rows that could not be compiled (`raised`).

    `utterances` are inputs of the graph by path, as `compiler.reference.evaluate` takes them;
    `warn` is told of norms that they make too coarse (W0602). Raises AsrcError E1005 for a value of
    which they have no frame.
    """
    lacking, found = missing(facts, weights), dict(weights)
    if not lacking:
        return found
    variances: dict[str, list[Array]] = defaultdict(list)
    for path, seen in ranges_of(facts, weights, utterances, variances).items():
        found.setdefault(path, np.array([seen.low, seen.high], np.float32))
    for node in facts.graph:
        for name, made in of_weights(node, weights):
            found.setdefault(name, made)
        name = f"{node.path}.range"
        if node.op == "weight" and name in found and name not in weights:  # it learns
            found[name] = MARGIN * found[name]
    if warn is not None:
        for each in too_coarse(facts.graph, variances):
            warn(each)
    if unseen := lacking - found.keys():
        message = (
            f"no utterance has a frame of `{min(unseen).rpartition('.')[0]}` to take ranges of"
        )
        raise AsrcError(diagnostic("E1005", message, help="longer ones, or more of them"))
    found |= raised(facts.graph, found)
    return {name: x for name, x in found.items() if name in weights or name in lacking}


def missing(facts: Facts, weights: Mapping[str, Array]) -> set[str]:
    """The names of what a quantised graph has beside its weights, as far as it is not there."""
    return {
        f"{node.path}.{name}"
        for node in facts.graph
        for name in quantisers(node, facts.types[node.path])
    } - weights.keys()


_VARIANCE = ".variance"
MARGIN = 2.0
"""A layer norm's parameters may become so much larger in training."""


def of_weights(node: Node, weights: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """What a value has beside its parameters that follows from these alone: scales, codebooks, the
    largest numbers of a layer norm."""
    if node.owner is not None:
        return
    if node.op == "layernorm":
        both = (weights[f"{node.path}.{name}"] for name in ("weight", "bias"))
        yield f"{node.path}.reach", MARGIN * np.array([np.abs(x).max() for x in both], np.float32)
    if (bits := bits_of(node)) is not None:
        per = str(node.attrs.get("per", "row"))
        limit = coded_of(node)
        coded = None if limit is None else float(limit)
        weight, inputs = weights[f"{node.path}.weight"], node.op == "dense"
        scales, book = fitted(weight, bits, per, coded, inputs)
        yield f"{node.path}.scale", scales
        if book is not None:
            yield f"{node.path}.codebook", book


def ranges_of(
    facts: Facts,
    weights: Mapping[str, Array],
    utterances: Iterable[Mapping[str, Array]],
    variances: dict[str, list[Array]],
) -> dict[str, Range]:
    """Ranges by the names of their buffers: of every value, and of what is within layer norms,
    whose variances are added by path."""
    found: dict[str, Range] = {}
    for inputs in utterances:
        values = evaluate(facts.graph, weights, inputs, types=facts.types, dtype=np.float32)
        for path, seen in _seen(facts, weights, values):
            if path.endswith(_VARIANCE):
                variances[path.removesuffix(_VARIANCE)].append(seen)
            if seen.size:
                new = range_of(seen)
                found[path] = new.joined(found[path]) if path in found else new
    return found


def _seen(
    facts: Facts, weights: Mapping[str, Array], values: Mapping[str, Value]
) -> Iterator[tuple[str, Array]]:
    graph = facts.graph
    for path, value in values.items():
        if np.issubdtype(value.data.dtype, np.floating):
            yield f"{path}.range", value.data[value.present]
        if graph[path].op == "layernorm":
            (source,) = graph[path].inputs
            yield from _of_norm(graph[path], weights, values[source])
        if graph[path].op == "attend" and inner_ranges(graph[path]):
            ins = [values[source] for source in graph[path].inputs]
            yield from _of_attention(facts, graph[path], ins)


def _of_norm(
    node: Node, weights: Mapping[str, Array], source: Value
) -> Iterator[tuple[str, Array]]:
    x, eps = source.data[source.present], float(cast("Fraction", node.attrs["eps"]))
    weight, bias = (weights[f"{node.owner or node.path}.{name}"] for name in ("weight", "bias"))
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    root = 1 / np.sqrt(variance + eps)
    yield f"{node.path}.square", centred**2
    yield f"{node.path}{_VARIANCE}", variance
    yield f"{node.path}.root", root
    yield f"{node.path}.unit", centred * root
    yield f"{node.path}.scaled", centred * root * weight
    yield f"{node.path}.scaled", centred * root * weight + bias


def _of_attention(facts: Facts, node: Node, ins: list[Value]) -> Iterator[tuple[str, Array]]:
    """Products with keys and positions of every pair that meets; each query's largest score."""
    heads = cast(int, node.attrs["heads"])
    q, k, *_ = (x.data.reshape(len(x.data), heads, -1) for x in ins)
    met = _met(facts, node, len(q))
    content = np.einsum("qhd,khd->hqk", q, k)
    total = content
    yield f"{node.path}.content", content[:, met]
    if len(ins) == 5:
        p, r = (x.data.reshape(len(x.data), heads, -1) for x in ins[3:])
        apart = np.arange(len(q))[:, None] - np.arange(len(k)) + len(r) // 2
        position = np.einsum("qhd,qkhd->hqk", p, r[apart.clip(0, len(r) - 1)])
        yield f"{node.path}.position", position[:, met]
        total = content + position
    if met.any():
        tops = np.where(met, total, -np.inf).max(-1)
        yield f"{node.path}.tops", tops[np.isfinite(tops)]


def _met(facts: Facts, node: Node, frames: int) -> Array:
    """`[Q, K]`: which keys of an utterance each query sees."""
    reads = facts.timing.reads.at(node.path, 1)
    assert reads is not None
    place = np.arange(frames)
    return np.stack([(place >= reads.first(i)) & (place <= reads.last(i)) for i in range(frames)])
