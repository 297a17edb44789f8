"""The accelerator's operators in PyTorch, on batches: exact codes forward, real slopes backward.

Recipes are those of `backends/nna/recipes.py`. An operator of up to 16 bits of input, all inputs
together, is a table of what the executor's kernel gives for each of them. Others are computed in
64 bits. Gradients are those of the real function; where an output saturates they are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import grad as conv_grad

from ..nna.formats import Code
from ..nna.kernels import KERNELS as EXACT
from ..nna.kernels import Site
from ..nna.program import Tensor as Format
from ..nna.recipes import Scaled, Sum
from .rounding import Rescaler, reals_of

Codes = Sequence[Tensor]
Grads = list[Tensor | None]


def code_of(tensor: Format) -> Code:
    return Code(tensor.dtype, tensor.scales[0], tensor.zero)


class Kernel:
    """An operator at its place. Codes are `[N, H, W, C]` int32; constants as the engine has them.

    `run` gives codes; `back` gives a gradient for each input, in real numbers, from that of the
    output.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.inputs = [code_of(tensor) for tensor in site.tensors]
        self.output = code_of(site.output)
        self.limits = site.output.limits

    def run(self, codes: Codes) -> Tensor:
        raise NotImplementedError

    def back(self, grad: Tensor, codes: Codes, out: Tensor) -> Grads:
        raise NotImplementedError

    def saturated(self, x: Tensor) -> Tensor:
        """Accumulators at the output's scale as codes."""
        return (x + self.output.zero).clamp(*self.limits).to(torch.int32)

    def held(self, grad: Tensor, out: Tensor) -> Tensor:
        """The gradient where the output is not at an end of its range."""
        low, high = self.limits
        return grad * ((out > low) & (out < high))

    def real(self, place: int, codes: Codes) -> Tensor:
        return reals_of(codes[place], self.inputs[place])


# --- sums of products ---


class Conv(Kernel):
    """`[N, H, W, C]` with codes `[O, h, w, C]` (float32) and a bias `[O]` (int64)."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.stride, self.dilation = (
            cast("tuple[int, int]", tuple(site.options.get(name, (1, 1))))
            for name in ("stride", "dilation")
        )
        shape = site.tensors[1].shape
        self.exact = torch.float32 if int(np.prod(shape[1:])) <= 1024 else torch.float64
        self.by = Rescaler(cast("Scaled", site.recipe).by)
        self.scales = torch.tensor(site.tensors[1].scales, dtype=torch.float32)

    def columns(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """`[N, H', W', h * w, C]`: what each output reads."""
        found = []
        for row in range(size[0]):
            for column in range(size[1]):
                first = row * self.dilation[0], column * self.dilation[1]
                rows = slice(first[0], x.shape[1] - (size[0] - 1 - row) * self.dilation[0])
                wide = slice(first[1], x.shape[2] - (size[1] - 1 - column) * self.dilation[1])
                found.append(x[:, rows, wide][:, :: self.stride[0], :: self.stride[1]])
        return torch.stack(found, 3)

    def folded(self, weight: Tensor, bias: Tensor) -> Tensor:
        """The bias, less what the input's zero adds up to."""
        sums = weight.to(torch.float64).sum(self.summed).to(torch.int64)
        return bias.to(torch.int64) - self.inputs[0].zero * sums

    summed: tuple[int, ...] = (1, 2, 3)

    def run(self, codes: Codes) -> Tensor:
        x, weight, bias = codes
        x = x.to(self.exact)
        if weight.shape[1:3] != (1, 1) or self.stride != (1, 1):
            x = self.columns(x, weight.shape[1:3]).flatten(3)
        sums = x @ weight.flatten(1).to(self.exact).T
        return self.scaled(sums, bias)

    def scaled(self, sums: Tensor, bias: Tensor) -> Tensor:
        return self.saturated(self.by(sums.to(torch.int64).add_(bias)))

    def weights(self, codes: Codes, channel: int) -> Tensor:
        """In real numbers, channels first: `[O, C, h, w]`."""
        shape = [1, 1, 1, 1]
        shape[channel] = -1
        wide: Tensor = codes[1] * self.scales.to(codes[1].device).reshape(shape)
        return wide.permute(0, 3, 1, 2)

    def back(self, grad: Tensor, codes: Codes, out: Tensor) -> Grads:
        grad = self.held(grad, out)
        return [self.by_input(grad, codes), *self.by_weight(grad, codes)]

    @property
    def plain(self) -> bool:
        """Whether it is a product of matrices."""
        return self.site.tensors[1].shape[1:3] == (1, 1) and self.stride == (1, 1)

    def by_input(self, grad: Tensor, codes: Codes) -> Tensor:
        if self.plain:
            scaled = grad * self.scales.to(grad.device)
            return (scaled @ codes[1].flatten(1)).view(codes[0].shape)
        weight, back = self.channels_first(codes[1]), grad.permute(0, 3, 1, 2).contiguous()
        size = codes[0].permute(0, 3, 1, 2).shape
        found = conv_grad.conv2d_input(size, weight, back, *self.options)  # type: ignore[no-untyped-call]
        return found.permute(0, 2, 3, 1)  # type: ignore[no-any-return]

    def by_weight(self, grad: Tensor, codes: Codes) -> tuple[Tensor, Tensor]:
        """Gradients of weight and bias; steps may be one long batch."""
        bias, shape = grad.sum((0, 1, 2)), codes[1].shape
        if self.plain:
            return (grad.flatten(0, 2).T @ self.real(0, codes).flatten(0, 2)).view(shape), bias
        x, back = self.real(0, codes).permute(0, 3, 1, 2), grad.permute(0, 3, 1, 2).contiguous()
        size = self.channels_first(codes[1]).shape
        found = conv_grad.conv2d_weight(x, size, back, *self.options)  # type: ignore[no-untyped-call]
        return self.channels_last(found), bias

    @property
    def options(self) -> Any:
        return self.stride, 0, self.dilation, 1

    def wide(self, codes: Tensor) -> Tensor:
        """Weights in real numbers."""
        return codes * self.scales.to(codes.device).view(-1, 1, 1, 1)

    def channels_first(self, codes: Tensor) -> Tensor:
        return self.wide(codes).permute(0, 3, 1, 2)

    def channels_last(self, grad: Tensor) -> Tensor:
        return grad.permute(0, 2, 3, 1)


class Depthwise(Conv):
    """`[N, H, W, C]` with codes `[1, h, w, C]` and a bias `[C]`."""

    summed = (0, 1, 2)

    def run(self, codes: Codes) -> Tensor:
        x, weight, bias = codes
        flat = weight.flatten(1, 2)[0].to(self.exact)
        sums = (self.columns(x.to(self.exact), weight.shape[1:3]) * flat).sum(3)
        return self.scaled(sums, bias)

    @property
    def plain(self) -> bool:
        return False

    @property
    def options(self) -> Any:
        return self.stride, 0, self.dilation, self.site.tensors[1].shape[3]

    def channels_first(self, codes: Tensor) -> Tensor:
        return (codes * self.scales.to(codes.device)).permute(3, 0, 1, 2)

    def channels_last(self, grad: Tensor) -> Tensor:
        return grad.permute(1, 2, 3, 0)


# --- one code of each input ---


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
        index = codes[0] - self.site.tensors[0].limits[0]
        if len(codes) > 1:
            low, high = self.site.tensors[1].limits
            index = index * (high - low + 1) + (codes[1] - low)
        return looked_up(self.table, index)


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
        return [_narrowed(one, codes[0]), _narrowed(other, codes[1])]


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


def _narrowed(grad: Tensor, like: Tensor) -> Tensor:
    """The gradient of what was broadcast."""
    axes = [n for n, size in enumerate(like.shape) if size == 1 and grad.shape[n] > 1]
    return grad.sum(axes, keepdim=True) if axes else grad


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
        index = codes[0] - self.site.tensors[0].limits[0]
        return [grad * looked_up(self.slopes, index)]


class Fused:
    """Several operators in a row, each a table, as one: of 16 bits of input at most.

    Codes and slopes are what the operators themselves give for all codes there are.
    """

    def __init__(self, roots: Sequence[Format], names: Sequence[str], stages: Sequence[Stage]):
        grids = [torch.arange(low, high + 1, dtype=torch.int32) for low, high in _limits(roots)]
        mesh = torch.meshgrid(*grids, indexing="ij")
        values = {n: x.reshape(-1, 1, 1, 1) for n, x in zip(names, mesh, strict=True)}
        for stage in stages:
            values[stage.output] = stage.kernel.run([values[name] for name in stage.inputs])
        output = stages[-1].output
        self.table = values[output].flatten()
        grads = {output: torch.ones(values[output].shape)}
        for stage in reversed(stages):
            if stage.output in grads:
                codes = [values[name] for name in stage.inputs]
                found = stage.kernel.back(grads.pop(stage.output), codes, values[stage.output])
                for name, grad in zip(stage.inputs, found, strict=True):
                    if grad is not None:
                        grads[name] = grads[name] + grad if name in grads else grad
        self.slopes = [grads[name].flatten() for name in names]
        self.limits = _limits(roots)

    def index(self, codes: Codes) -> Tensor:
        index = codes[0] - self.limits[0][0]
        for x, (low, high) in zip(codes[1:], self.limits[1:], strict=True):
            index = index * (high - low + 1) + (x - low)
        return index

    def run(self, codes: Codes) -> Tensor:
        return looked_up(self.table, self.index(codes))

    def back(self, grad: Tensor, codes: Codes, out: Tensor) -> Grads:
        index = self.index(codes)
        slopes = (grad * looked_up(slope, index) for slope in self.slopes)
        return [_narrowed(slope, x) for slope, x in zip(slopes, codes, strict=True)]


@dataclass(frozen=True)
class Stage:
    """An operator of a program, or several fused ones: what it reads by name, what it makes."""

    output: str
    inputs: tuple[str, ...]
    kernel: Kernel | Fused


def _limits(tensors: Sequence[Format]) -> list[tuple[int, int]]:
    return [tensor.limits for tensor in tensors]


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


# --- codes that only move ---


class Concat(Kernel):
    def run(self, codes: Codes) -> Tensor:
        return torch.cat(self.alike(codes), self.site.options["axis"])

    def alike(self, codes: Codes) -> list[Tensor]:
        """A constant among them is there for the whole batch."""
        batch = max(len(x) for x in codes)
        return [x.to(torch.int32).expand(batch, *x.shape[1:]) for x in codes]

    def back(self, grad: Tensor, codes: Codes, out: Tensor) -> Grads:
        axis = self.site.options["axis"]
        parts = torch.split_with_sizes(grad, [x.shape[axis] for x in codes], axis)
        return [_narrowed(part, x) for part, x in zip(parts, codes, strict=True)]


class Slice(Kernel):
    def index(self) -> tuple[slice, ...]:
        given = self.site.options
        first, count, by = given["first"], given["count"], given.get("by", 1)
        here = slice(first, first + (count - 1) * by + 1, by)
        return (*(slice(None),) * given["axis"], here)

    def run(self, codes: Codes) -> Tensor:
        return codes[0][self.index()]

    def back(self, grad: Tensor, codes: Codes, out: Tensor) -> Grads:
        whole = grad.new_zeros(codes[0].shape)
        whole[self.index()] = grad
        return [whole]


class Reshape(Kernel):
    def run(self, codes: Codes) -> Tensor:
        return codes[0].reshape(len(codes[0]), *self.site.output.shape[1:])

    def back(self, grad: Tensor, codes: Codes, out: Tensor) -> Grads:
        return [grad.reshape(codes[0].shape)]


TABLED = 16
"""Bits of input of which there are tables."""


def bits(tensors: Iterable[Format]) -> int:
    return sum(16 if tensor.dtype == "int16" else 8 for tensor in tensors)


def _pair(site: Site) -> Kernel:
    return TabledPair(site) if bits(site.tensors) <= TABLED else WidePair(site)


KERNELS: Mapping[str, Callable[[Site], Kernel]] = {
    "conv": Conv,
    "depthwise": Depthwise,
    "add": _pair,
    "sub": _pair,
    "mul": _pair,
    "requantise": TabledRequantise,
    "sigmoid": Function,
    "tanh": Function,
    "rsqrt": Function,
    "mean": Mean,
    "concat": Concat,
    "slice": Slice,
    "reshape": Reshape,
}
"""A row for each operator that a row of `backends/nna/rows.py` makes."""
