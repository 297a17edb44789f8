"""Weights as int8 to keep or to send: matrices as codes, each row with a step of its own.

Only storage: a model that reads them computes in float32 with their products.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

STEP = ".step"
"""What the name of a matrix's steps ends in; `[rows]`, float32."""

_LARGEST = 127


def narrowed(name: str, matrix: Tensor) -> dict[str, Tensor]:
    """Codes and steps of `[rows, ...]`, by their names; a row's largest number is 127 steps."""
    rows = matrix.detach().float().flatten(1)
    steps = rows.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / _LARGEST
    codes = (rows / steps[:, None]).round().to(torch.int8)
    return {name: codes.reshape(matrix.shape), name + STEP: steps}


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in which codes are products with their steps; the others as they are."""
    found = dict(tensors)
    for name, codes in tensors.items():
        steps = tensors.get(name + STEP)
        if codes.dtype == torch.int8 and steps is not None and steps.shape == codes.shape[:1]:
            shape = (-1, *[1] * (codes.ndim - 1))
            found[name] = codes.float() * found.pop(name + STEP).reshape(shape)
    return found
