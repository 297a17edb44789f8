"""Rows of a table: one for each token."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from .cost import Cost
from .overlap import early, follow


def embed(tokens: Tensor, table: Tensor) -> Tensor:
    """`[..., W]` of integers `[...]` and a table `[V, W]`.

    A token that the table does not have reads as zeros, where PyTorch ends the program.
    """
    flat, width = tokens.reshape(-1).contiguous(), table.shape[1]
    y = table.new_empty(len(flat), width)
    if y.numel():
        block = triton.next_power_of_2(width)
        _rows[(len(flat),)](flat, table.contiguous(), y, len(table), width, BLOCK=block, **early(y))
    return y.view(*tokens.shape, width)


def reference(tokens: Tensor, table: Tensor) -> Tensor:
    return functional.embedding(tokens, table)


def cost(tokens: Tensor, table: Tensor) -> Cost:
    row = table.shape[1] * table.element_size()
    return Cost(tokens.numel() * (tokens.element_size() + 2.0 * row), 0.0)


@triton.jit
def _rows(tokens, table, y, V, W, BLOCK: tl.constexpr):
    place, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    follow()
    token = tl.load(tokens + place).to(tl.int64)
    known = (column < W) & (token >= 0) & (token < V)
    tl.store(y + place * W + column, tl.load(table + token * W + column, known, 0.0), column < W)
