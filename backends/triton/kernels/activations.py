"""Functions of one number, inside of kernels, and their references."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional


@triton.jit
def tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def softplus(x):
    """Without overflow, and as PyTorch has it."""
    return tl.maximum(x, 0.0) + tl.log(1 + tl.exp(-tl.abs(x)))


@triton.jit
def activate(x, ACT: tl.constexpr):
    """float32 to float32."""
    if ACT == "relu":
        x = tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)
    elif ACT == "swish":
        x = x * tl.sigmoid(x)
    elif ACT == "sigmoid":
        x = tl.sigmoid(x)
    elif ACT == "tanh":
        x = tanh(x)
    elif ACT == "gelu":
        x = 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))
    elif ACT == "softplus":
        x = softplus(x)
    elif ACT == "abs":
        x = tl.abs(x)
    elif ACT == "exp":
        x = tl.exp(x)
    elif ACT == "log":
        x = tl.log(x)
    elif ACT == "sqrt":
        x = tl.sqrt(x)
    else:
        tl.static_assert(ACT == "none")
    return x


REFERENCES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": torch.relu,
    "swish": functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "softplus": functional.softplus,
    "abs": torch.abs,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
}
"""By the names that `ACT` may have."""
