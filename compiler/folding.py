"""Into which weights a norm by fixed statistics folds: those of a map that is its alone."""

from __future__ import annotations

from .graph import Graph

MAPS = frozenset({"dense", "convf", "depthwise"})
"""Operators whose weights and bias take a scale and a shift of each channel in."""

_SAME = frozenset({"stride", "upsample"})
"""Views that leave frames out or repeat them. Others read absent frames as zero, which a norm moves
(`window`, `delay`, `ahead`), have other channels (`flatten`, `slice`) or are none in training
(`dropout`)."""


def chain_before(graph: Graph, norm: str) -> list[str] | None:
    """The map before a batchnorm and the views between them, in this order, if nothing else reads
    any of them and neither map nor norm shares its parameters."""
    here = graph[norm].inputs[0]
    found = [here]
    while private(graph, here):
        if graph[here].op in MAPS:
            return found[::-1] if unshared(graph, norm) else None
        if graph[here].op not in _SAME:
            return None
        here = graph[here].inputs[0]
        found.append(here)
    return None


def is_quantised(graph: Graph, path: str) -> bool:
    """Whether a map has scales of its weights as they are now, so that none may change."""
    return "weights" in graph[path].attrs


def private(graph: Graph, path: str) -> bool:
    """Whether a value is seen by one other value only, and shares no parameters."""
    seen = {*graph.outputs.values(), *graph.losses.values()}
    return len(graph.readers[path]) == 1 and path not in seen and unshared(graph, path)


def unshared(graph: Graph, path: str) -> bool:
    """Whether no other value uses the parameters of this one, nor this one those of another."""
    return graph[path].owner is None and all(node.owner != path for node in graph)
