"""What every operator of the accelerator is in PyTorch: exact codes forward, real slopes backward.

Recipes are those of `backends/nna/recipes.py`. Gradients are those of the real function; where an
output saturates they are zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from ...nna.formats import Code
from ...nna.kernels import Site
from ...nna.program import Tensor as Format
from .rounding import reals_of

Codes: TypeAlias = Sequence[Tensor]
Grads: TypeAlias = list[Tensor | None]


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


def add(grads: dict[str, Tensor], found: Iterable[tuple[str, Tensor | None]]) -> None:
    """Adds up gradients by name."""
    for name, grad in found:
        if grad is not None:
            grads[name] = grads[name] + grad if name in grads else grad


def narrowed(grad: Tensor, like: Tensor) -> Tensor:
    """The gradient of what was broadcast."""
    axes = [n for n, size in enumerate(like.shape) if size == 1 and grad.shape[n] > 1]
    return grad.sum(axes, keepdim=True) if axes else grad
