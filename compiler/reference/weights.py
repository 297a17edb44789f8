"""Random parameters and statistics for a graph, the same for a path whatever stands beside it."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from zlib import crc32

import numpy as np

from ..facts.params import buffers, infer_params
from ..graph import Graph
from ..types import Type
from .value import Array

_AROUND_ONE = ("layernorm", "rmsnorm", "batchnorm")
_POSITIVE = ("deviation", "variance")


def random_weights(graph: Graph, types: Mapping[str, Type], seed: int) -> dict[str, Array]:
    """Parameter and buffer names, `<path>.<name>`, to float64 arrays of a size that keeps
    activations near one."""
    shapes = dict(infer_params(graph, types))
    for node in graph:
        shapes[node.path] = {**shapes.get(node.path, {}), **buffers(node, types[node.path])}
    return {
        f"{path}.{name}": _draw(graph[path].op, path, name, shape, seed)
        for path, found in shapes.items()
        for name, shape in found.items()
    }


def _draw(op: str, path: str, name: str, shape: tuple[int, ...], seed: int) -> Array:
    random = np.random.default_rng([seed, crc32(f"{path}.{name}".encode())])
    if name in _POSITIVE:
        return random.uniform(0.5, 2.0, shape)
    if op in _AROUND_ONE and name == "weight":
        return 1 + 0.2 * random.standard_normal(shape)
    fan_in = prod(shape[1:]) if name == "weight" and op != "embed" else 1
    return np.asarray(random.standard_normal(shape) / np.sqrt(fan_in))
