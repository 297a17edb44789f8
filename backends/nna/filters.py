"""Weights as codes, with what their scales make of a bias."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...compiler.diagnostics import AsrcError, diagnostic
from ...compiler.graph import Graph
from .codebook import snapped
from .program import Array, Tensor


@dataclass(frozen=True)
class Filter:
    """Codes in any layout, a scale (float32) for each output channel, a bias in real numbers."""

    codes: Array
    scales: Array
    bias: Array | None = None

    def laid_out(self, change: Callable[[Array], Array]) -> Filter:
        """The same weights in another order."""
        return replace(self, codes=change(self.codes))

    def tensors(self, name: str, scale: float, axis: int) -> tuple[Tensor, Tensor]:
        """Weight, output channels along `axis`, and bias, for an input of some scale."""
        scales = tuple(map(float, self.scales))
        weight = Tensor(f"{name}.weight", self.codes.shape, "int8", scales, 0, axis, self.codes)
        product = np.float32(scale) * self.scales
        bias = np.zeros(len(product)) if self.bias is None else self.bias
        summed = _within(name, np.rint(bias / product.astype(np.float64)))
        by = tuple(map(float, product))
        return weight, Tensor(f"{name}.bias", summed.shape, "int32", by, 0, 0, summed)


def _within(name: str, bias: Array) -> Array:
    """As int32. Raises AsrcError E0601 for what does not fit."""
    (over,) = np.nonzero(np.abs(bias) > _MOST)
    if over.size:
        some = f"the bias of row {over[0]} of `{name}`, and of {len(over)} in all,"
        message = f"{some} does not fit into an accumulator: its weights are next to nothing"
        help = "quantise the float model anew, which gives such a row a larger scale"
        raise AsrcError(diagnostic("E0601", message, help=help))
    return bias.astype(np.int32)


_MOST = (1 << 31) - 1


def each_row(scales: Array, weight: Any) -> Array:
    """A scale for each output channel, where there may be one for all."""
    return np.broadcast_to(scales, weight.shape[:1])


def filters(graph: Graph, weights: Mapping[str, Array]) -> dict[str, Filter]:
    """The weights of every value whose bits a pass has noted, by the path that owns them."""
    return {
        node.path: Filter(
            snapped(
                weights[f"{node.path}.weight"],
                weights[f"{node.path}.scale"],
                weights.get(f"{node.path}.codebook"),
            ),
            each_row(weights[f"{node.path}.scale"], weights[f"{node.path}.weight"]),
            weights.get(f"{node.path}.bias"),
        )
        for node in graph
        if "weights" in node.attrs and node.owner is None
    }
