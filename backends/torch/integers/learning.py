"""Scales and ranges beside an integer program that a training moves, and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ...nna.formats import Code
from .rounding import range_grad, scale_grad


@dataclass(frozen=True)
class Learned:
    """A scale or a range, and its gradient from what a backward pass has found.

    It finds something for a range alone: under names of the program's `tensor`.
    """

    value: Tensor
    grad: Callable[[Mapping[str, Tensor]], Tensor | None]
    tensor: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return () if self.tensor is None else names_of_ends(self.tensor)


def learns(module: nn.Module | None, name: str) -> bool:
    """Whether a training moves this buffer of a module."""
    value = getattr(module, name, None)
    return isinstance(value, Tensor) and value.requires_grad


def names_of_ends(name: str) -> tuple[str, str]:
    """Under which the gradients of the ends of a tensor's range are found."""
    return f"{name}:low", f"{name}:high"


def ends(
    name: str, grad: Tensor, codes: Tensor, limits: tuple[int, int]
) -> Iterable[tuple[str, Tensor]]:
    """The gradients of the ends of a tensor's range: of what is saturated there."""
    for found, limit in zip(names_of_ends(name), limits, strict=True):
        yield found, (grad * (codes == limit)).sum()


def learned_range(name: str, value: Tensor, code: Code) -> Learned:
    """The range behind the codes of a program's tensor."""
    low, high = names_of_ends(name)

    def grad(found: Mapping[str, Tensor]) -> Tensor | None:
        return range_grad(value, code, found[low], found[high]) if low in found else None

    return Learned(value, grad, name)


def learned_scale(name: str, module: Any, back: Callable[[Tensor], Tensor]) -> Learned:
    """The scales of a module's weight, which is a program's tensor `name`."""
    book = getattr(module, "codebook", None)

    def grad(found: Mapping[str, Tensor]) -> Tensor | None:
        if name not in found:
            return None
        return scale_grad(back(found[name]), module.weight, module.scale, book)

    return Learned(module.scale, grad)
