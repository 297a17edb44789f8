"""Sums of products with weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import grad as conv_grad

from ...nna.kernels import Site
from ...nna.recipes import Scaled
from .kernel import Codes, Grads, Kernel
from .rounding import Rescaler


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
        if not self.plain:
            x = self.columns(x, weight.shape[1:3]).flatten(3)
        sums = x @ weight.flatten(1).to(self.exact).T
        return self.scaled(sums, bias)

    def scaled(self, sums: Tensor, bias: Tensor) -> Tensor:
        return self.saturated(self.by(sums.to(torch.int64).add_(bias)))

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
