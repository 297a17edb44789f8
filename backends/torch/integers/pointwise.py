"""Operators on one code of each input.

One of up to 16 bits of input, all inputs together, is a table of what the executor's kernel gives
for each of them; others are computed in 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ...nna.kernels import KERNELS as EXACT
from ...nna.kernels import Site
from ...nna.program import Tensor as Format
from ...nna.recipes import Scaled, Sum
from .kernel import Codes, Grads, Kernel, narrowed
from .rounding import Rescaler, reals_of

TABLED = 16
"""Bits of input of which there are tables."""


def bits(tensors: Iterable[Format]) -> int:
    return sum(16 if tensor.dtype == "int16" else 8 for tensor in tensors)


class Table(Kernel):
    """Whatever has 16 bits of input at most."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        grids = [np.arange(low, high + 1) for low, high in (t.limits for t in site.tensors)]
        mesh = np.meshgrid(*grids, indexing="ij")
        inputs = [one.astype(t.dtype) for one, t in zip(mesh, site.tensors, strict=True)]
        quiet = Site(site.kind, site.tensors, site.output, site.recipe, site.options)
        self.table = torch.from_numpy(EXACT[site.kind](quiet)(inputs).astype(np.int32).ravel())

    def run(self, codes: Codes) -> Tensor:
        limits = [tensor.limits for tensor in self.site.tensors]
        return looked_up(self.table, place_of(codes, limits))


def place_of(codes: Codes, limits: Sequence[tuple[int, int]]) -> Tensor:
    """Where a table of all codes has these."""
    index = codes[0] - limits[0][0]
    for x, (low, high) in zip(codes[1:], limits[1:], strict=True):
        index = index * (high - low + 1) + (x - low)
    return index


def looked_up(table: Tensor, index: Tensor) -> Tensor:
    return table.to(index.device).index_select(0, index.flatten()).view(index.shape)


class Pair(Kernel):
    """add, sub, mul."""

    def back(self, grad: Tensor, codes: Codes, out: Tensor) -> Grads:
        grad, kind = self.held(grad, out), self.site.kind
        if kind == "mul":
            one, other = grad * self.real(1, codes), grad * self.real(0, codes)
        else:
            one, other = grad, grad if kind == "add" else -grad
        return [narrowed(one, codes[0]), narrowed(other, codes[1])]


class TabledPair(Table, Pair):
    pass


class WidePair(Pair):
    """With int16 among the inputs."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        to = site.recipe
        self.left = to.left if isinstance(to, Sum) else 0
        several = (to.first, to.second, to.out) if isinstance(to, Sum) else cast("Scaled", to).by
        self.by = [Rescaler([one]) for one in several]

    def run(self, codes: Codes) -> Tensor:
        first, second = (codes[place].to(torch.int64) - self.inputs[place].zero for place in (0, 1))
        if self.site.kind == "mul":
            return self.saturated(self.by[0](first * second))
        one, other, out = self.by
        first, second = one(first << self.left), other(second << self.left)
        return self.saturated(out(first + second if self.site.kind == "add" else first - second))


class Requantise(Kernel):
    def back(self, grad: Tensor, codes: Codes, out: Tensor) -> Grads:
        return [self.held(grad, out)]


class TabledRequantise(Table, Requantise):
    pass


class Function(Table):
    """sigmoid, tanh and the inverse root: the slope of the real function."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        low, high = site.tensors[0].limits
        x = reals_of(torch.arange(low, high + 1), self.inputs[0])
        least = self.inputs[0].scale / 2
        self.slopes = {
            "sigmoid": torch.sigmoid(x) * torch.sigmoid(-x),
            "tanh": 1 - torch.tanh(x) ** 2,
            "rsqrt": torch.where(x > 0, -0.5 * x.clamp(min=least) ** -1.5, 0.0),
        }[site.kind]

    def back(self, grad: Tensor, codes: Codes, out: Tensor) -> Grads:
        index = place_of(codes, [self.site.tensors[0].limits])
        return [grad * looked_up(self.slopes, index)]


class Mean(Kernel):
    def run(self, codes: Codes) -> Tensor:
        by = Rescaler(cast("Scaled", self.site.recipe).by)
        centred = codes[0].to(torch.int64) - self.inputs[0].zero
        return self.saturated(by(centred.sum(self.axes, keepdim=True)))

    def back(self, grad: Tensor, codes: Codes, out: Tensor) -> Grads:
        count = int(np.prod([codes[0].shape[axis] for axis in self.axes]))
        return [(self.held(grad, out) / count).expand(codes[0].shape)]

    @property
    def axes(self) -> tuple[int, ...]:
        return tuple(self.site.options["axes"])


def pair(site: Site) -> Kernel:
    return TabledPair(site) if bits(site.tensors) <= TABLED else WidePair(site)
