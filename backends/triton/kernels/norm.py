"""Rows that are normalised: layer norm, RMS norm, softmax and its logarithm, each in one pass.

A program has one row in registers. Before a norm a residual may be added, `x + factor * more`, and
what was added up is stored beside the result: the next residual reads it. Behind a norm there may
be an activation.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from .activations import REFERENCES, activate
from .cost import Cost, nbytes
from .overlap import early, follow

WIDEST = 1 << 14
"""Numbers of a row."""


def layer_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    eps: float,
    more: Tensor | None = None,
    factor: float = 1.0,
    activation: str = "none",
) -> tuple[Tensor, Tensor]:
    """The norm of `x + factor * more` over the last axis (Ba et al. 2016), and that sum; of the
    norm the `activation`.

    Without a bias it is the RMS norm (Zhang and Sennrich 2019). Raises ValueError for rows of more
    than `WIDEST` numbers.
    """
    _check(x)
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    added = None if more is None else more.expand(x.shape).reshape(rows.shape).contiguous()
    y, total = torch.empty_like(rows), rows if added is None else torch.empty_like(rows)
    if y.numel():
        _norm[(len(rows),)](
            rows, rows if added is None else added, weight, weight if bias is None else bias,
            y, total, rows.shape[1], eps, factor,
            WIDTH=triton.next_power_of_2(rows.shape[1]), CENTRED=bias is not None,
            MORE=added is not None, ACT=activation, num_warps=_warps(rows.shape[1]), **early(x),
        )  # fmt: skip
    return y.view(x.shape), total.view(x.shape)


def softmax(x: Tensor, *, log: bool = False) -> Tensor:
    """Over the last axis. Raises ValueError for rows of more than `WIDEST` numbers."""
    _check(x)
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    y = torch.empty_like(rows)
    if y.numel():
        width = triton.next_power_of_2(rows.shape[1])
        warps = _warps(rows.shape[1])
        _softmax[(len(rows),)](
            rows, y, rows.shape[1], WIDTH=width, LOG=log, num_warps=warps, **early(x)
        )
    return y.view(x.shape)


def reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    eps: float,
    more: Tensor | None = None,
    factor: float = 1.0,
    activation: str = "none",
) -> tuple[Tensor, Tensor]:
    """`layer_norm` in PyTorch."""
    total, then = x if more is None else x + factor * more, REFERENCES[activation]
    shape = x.shape[-1:]
    if bias is None:
        return then(functional.rms_norm(total, shape, weight, eps)), total
    return then(functional.layer_norm(total, shape, weight, bias, eps)), total


def cost(x: Tensor, *, more: bool = False) -> Cost:
    """Of a norm; with a residual one row more is read and one more written."""
    return Cost((4 if more else 2) * nbytes(x), 8.0 * x.numel())


def _check(x: Tensor) -> None:
    if x.shape[-1] > WIDEST:
        raise ValueError(f"rows of {x.shape[-1]} numbers: at most {WIDEST} fit into registers")


def _warps(width: int) -> int:
    return min(16, max(1, triton.next_power_of_2(width) // 256))


@triton.jit
def normed(row, weight, bias, n, N, eps, CENTRED: tl.constexpr):
    """A row in float32, zero where `n` is not below N, over its spread, times weight, plus bias."""
    inside = n < N
    if CENTRED:
        row = tl.where(inside, row - tl.sum(row) / N, 0.0)
    found = row * tl.rsqrt(tl.sum(row * row) / N + eps)
    found *= tl.load(weight + n, inside, 0.0).to(tl.float32)
    if CENTRED:
        found += tl.load(bias + n, inside, 0.0).to(tl.float32)
    return found


@triton.jit
def moments(x, rows, M, K, stride, eps, NORM: tl.constexpr, WIDE: tl.constexpr):
    """Of each row the mean, which an RMS norm takes for zero, and one over the spread."""
    k = tl.arange(0, WIDE)
    there = (rows < M)[:, None] & (k < K)[None, :]
    row = tl.load(x + rows[:, None].to(tl.int64) * stride + k[None, :], there, 0.0).to(tl.float32)
    mean = tl.sum(row, 1) / K if NORM == "layer" else tl.zeros_like(rows).to(tl.float32)
    apart = tl.where(there, row - mean[:, None], 0.0)
    return mean, tl.rsqrt(tl.sum(apart * apart, 1) / K + eps)


@triton.jit
def _norm(
    x, more, weight, bias, y, total, N, eps, factor,
    WIDTH: tl.constexpr, CENTRED: tl.constexpr, MORE: tl.constexpr, ACT: tl.constexpr,
):  # fmt: skip
    follow()
    n = tl.arange(0, WIDTH)
    inside, at = n < N, tl.program_id(0).to(tl.int64) * N + n
    row = tl.load(x + at, inside, 0.0).to(tl.float32)
    if MORE:
        row += factor * tl.load(more + at, inside, 0.0).to(tl.float32)
        tl.store(total + at, row.to(total.dtype.element_ty), inside)
    found = activate(normed(row, weight, bias, n, N, eps, CENTRED), ACT)
    tl.store(y + at, found.to(y.dtype.element_ty), inside)


@triton.jit
def _softmax(x, y, N, WIDTH: tl.constexpr, LOG: tl.constexpr):
    follow()
    n = tl.arange(0, WIDTH)
    inside, at = n < N, tl.program_id(0).to(tl.int64) * N + n
    row = tl.load(x + at, inside, float("-inf")).to(tl.float32)
    row -= tl.max(row, 0)
    powers = tl.exp(row)
    found = row - tl.log(tl.sum(powers, 0)) if LOG else powers / tl.sum(powers, 0)
    tl.store(y + at, found.to(y.dtype.element_ty), inside)
