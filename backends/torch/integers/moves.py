"""Codes that only move."""

from __future__ import annotations

import torch
from torch import Tensor

from .kernel import Codes, Grads, Kernel, narrowed


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
        return [narrowed(part, x) for part, x in zip(parts, codes, strict=True)]


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
