"""Products with a weight, `factor * act(x W^T + b) + residual`, in float or in 1 to 8 bits.

Few rows (a step of some streams) multiply and add in registers, and are bound by reading W; more
rows go through the tensor cores. A packed W is read in its own bits, 16 columns at a time
(`packed.py`); its codebook stays in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..packed import Packed, Weight, bytes_of, dense_of, shape_of
from ..tuning import TUNER, Config, about
from .activations import REFERENCES, activate
from .cost import Cost

FEW = 8
"""Rows up to which a product is not worth the fill of a tensor core."""


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What follows a product while it is in registers; `residual` is `[rows, outputs]`."""

    activation: str = "none"
    factor: float = 1.0
    residual: Tensor | None = None


PLAIN = Epilogue()


def linear(
    x: Tensor,
    weight: Weight,
    bias: Tensor | None = None,
    then: Epilogue = PLAIN,
    out: Tensor | None = None,
) -> Tensor:
    """`[..., N]` of `[..., K]` and a weight `[N, K]`, in x's dtype.

    Raises ValueError where the widths differ: a kernel would read what is behind.
    """
    n, k = shape_of(weight)
    if x.shape[-1] != k:
        raise ValueError(f"rows of {x.shape[-1]} numbers, and a weight for {k}")
    rows = side_by_side(x.reshape(-1, x.shape[-1]))
    y = x.new_empty(len(rows), n) if out is None else out.view(-1, n)
    residual = None if then.residual is None else then.residual.reshape(-1, n).contiguous()
    if prod(y.shape) == 0:
        return y.view(*x.shape[:-1], n)
    if isinstance(weight, Packed):
        _packed(rows, weight, bias, residual, y, then)
    else:
        _float(rows, weight, bias, residual, y, then)
    return y.view(*x.shape[:-1], n)


def side_by_side(x: Tensor) -> Tensor:
    """With the numbers of a row side by side in memory, as kernels read them."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def reference(
    x: Tensor, weight: Weight, bias: Tensor | None = None, then: Epilogue = PLAIN
) -> Tensor:
    """The same in PyTorch, float32."""
    dense = dense_of(weight).float()
    y = torch.nn.functional.linear(x.float(), dense, None if bias is None else bias.float())
    y = then.factor * REFERENCES[then.activation](y)
    return y if then.residual is None else y + then.residual.reshape(y.shape).float()


def cost(rows: int, weight: Weight, element: int = 4) -> Cost:
    """Of so many rows whose numbers have `element` bytes."""
    n, k = shape_of(weight)
    return Cost(bytes_of(weight) + rows * (n + k) * element, 2.0 * rows * n * k)


# --- launches ---

_FEW = tuple(Config({"BLOCK": block}, warps) for block in (16, 32, 64) for warps in (1, 2, 4))
_MANY = tuple(
    Config({"BLOCK_M": m, "BLOCK_N": n}, warps)
    for m, n, warps in ((16, 64, 4), (32, 64, 4), (64, 64, 4), (64, 128, 8), (128, 128, 8))
)
_FLOAT = tuple(
    Config({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k}, warps, stages)
    for m, n, k, warps, stages in (
        *((16, 64, 64, 4, 3), (32, 64, 32, 4, 3), (64, 64, 32, 4, 3)),
        *((64, 128, 32, 8, 3), (128, 128, 32, 8, 3), (16, 32, 128, 4, 2)),
    )
)


def _packed(
    x: Tensor,
    weight: Packed,
    bias: Tensor | None,
    residual: Tensor | None,
    y: Tensor,
    then: Epilogue,
) -> None:
    m, few = len(x), len(x) <= FEW
    tensors = (x, weight.words, weight.book, weight.scale, bias, residual, y)
    sizes = (m, weight.rows, weight.columns, weight.words.shape[1], x.stride(0), then.factor)

    def run(config: Config) -> None:
        given = config.sizes
        parts = triton.cdiv(weight.rows, given["BLOCK" if few else "BLOCK_N"])
        grid = (parts,) if few else (triton.cdiv(m, given["BLOCK_M"]), parts)
        rows = {"ROWS": triton.next_power_of_2(m)} if few else {}
        (_few_rows if few else _many_rows)[grid](
            *_given(tensors), *sizes, BITS=weight.bits, ACT=then.activation,
            BIAS=bias is not None, RESIDUAL=residual is not None, **rows, **config.options(),
        )  # fmt: skip

    shape = (about(m), weight.rows, weight.columns, weight.bits, x.dtype)
    name = "linear.few" if few else "linear.many"
    run(TUNER.best(name, shape, _few(m) if few else _MANY, run, x.device))


def _few(rows: int) -> tuple[Config, ...]:
    """Those of few rows that keep their sums in registers, at most 128 a thread."""
    sums = triton.next_power_of_2(rows) * 16
    return tuple(one for one in _FEW if one.sizes["BLOCK"] * sums <= one.warps * 32 * 128)


def _float(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    y: Tensor,
    then: Epilogue,
) -> None:
    (m, k), n = x.shape, len(weight)
    weight = weight.contiguous()

    def run(config: Config) -> None:
        grid = triton.cdiv(m, config.sizes["BLOCK_M"]), triton.cdiv(n, config.sizes["BLOCK_N"])
        _product[grid](
            *_given((x, weight, bias, residual, y)), m, n, k, x.stride(0), then.factor,
            ACT=then.activation, BIAS=bias is not None, RESIDUAL=residual is not None,
            **config.options(),
        )  # fmt: skip

    run(TUNER.best("linear.float", (about(m), n, k, x.dtype), _FLOAT, run, x.device))


def _given(tensors: tuple[Tensor | None, ...]) -> list[Tensor]:
    """What is not there is a pointer that nothing follows."""
    return [tensors[0] if x is None else x for x in tensors]  # type: ignore[misc]


# --- kernels ---


@triton.jit
def _finished(
    acc, n, rows, bias, residual, y, M, N, factor,
    ACT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """Stores `[rows, n]` after bias, activation and residual."""
    inside = (rows < M)[:, None] & (n < N)[None, :]
    if BIAS:
        acc += tl.load(bias + n, n < N, 0.0).to(tl.float32)[None, :]
    acc = factor * activate(acc, ACT)
    place = rows[:, None].to(tl.int64) * N + n[None, :]
    if RESIDUAL:
        acc += tl.load(residual + place, inside, 0.0).to(tl.float32)
    tl.store(y + place, acc.to(y.dtype.element_ty), inside)


@triton.constexpr_function
def places(bits):
    """How many codes of a lane a tile has: whole words of them, as few as can be."""
    return 32 // (bits & -bits)


@triton.jit
def word_at(words, n, inside, word, per_lane):
    """uint32 `[N, 16]`: a word of every lane of some rows."""
    at = words + (n[:, None].to(tl.int64) * per_lane + word) * 16 + tl.arange(0, 16)[None, :]
    return tl.load(at, inside[:, None] & (word < per_lane), 0).to(tl.uint32, bitcast=True)


@triton.jit
def values(
    low, words, book, n, inside, tile, per_lane, P: tl.constexpr, BITS: tl.constexpr
):  # fmt: skip
    """`[N, 16]`: what the codes at place `P` of a tile stand for, in every lane; and the word that
    the next place begins in, `low` being that of this one, so that each word is read once."""
    first = tile * (BITS * places(BITS) // 32) + P * BITS // 32
    shift: tl.constexpr = P * BITS % 32
    if shift == 0:
        low = word_at(words, n, inside, first, per_lane)
    code = low >> shift
    if shift + BITS > 32:
        low = word_at(words, n, inside, first + 1, per_lane)
        code = code | (low << (32 - shift))
    return tl.load(book + (code & ((1 << BITS) - 1)).to(tl.int32)), low


@triton.jit
def _few_rows(
    x, words, book, scale, bias, residual, y, M, N, K, per_lane, stride, factor,
    ROWS: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, ACT: tl.constexpr,
    BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """A program makes `BLOCK` outputs of all rows."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    rows, lane = tl.arange(0, ROWS), tl.arange(0, 16)
    acc = tl.zeros((ROWS, BLOCK, 16), tl.float32)
    for tile in range(tl.cdiv(K, 16 * places(BITS))):
        low = tl.zeros((BLOCK, 16), tl.uint32)
        for p in tl.static_range(places(BITS)):
            k = (tile * places(BITS) + p) * 16 + lane
            there = (rows < M)[:, None] & (k < K)[None, :]
            row = tl.load(x + rows[:, None] * stride + k[None, :], there, 0.0).to(tl.float32)
            value, low = values(low, words, book, n, n < N, tile, per_lane, p, BITS)
            acc += row[:, None, :] * value[None, :, :]
    total = tl.sum(acc, 2) * tl.load(scale + n, n < N, 0.0)[None, :]
    _finished(total, n, rows, bias, residual, y, M, N, factor, ACT, BIAS, RESIDUAL)


@triton.jit(do_not_specialize=("M",))
def _many_rows(
    x, words, book, scale, bias, residual, y, M, N, K, per_lane, stride, factor,
    BITS: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, ACT: tl.constexpr,
    BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """A program makes a tile `[BLOCK_M, BLOCK_N]`."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    lane = tl.arange(0, 16)
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for tile in range(tl.cdiv(K, 16 * places(BITS))):
        low = tl.zeros((BLOCK_N, 16), tl.uint32)
        for p in tl.static_range(places(BITS)):
            k = (tile * places(BITS) + p) * 16 + lane
            there = (rows < M)[:, None] & (k < K)[None, :]
            row = tl.load(x + rows[:, None].to(tl.int64) * stride + k[None, :], there, 0.0)
            value, low = values(low, words, book, n, n < N, tile, per_lane, p, BITS)
            acc = dotted(row, tl.trans(value), acc)
    acc *= tl.load(scale + n, n < N, 0.0)[None, :]
    _finished(acc, n, rows, bias, residual, y, M, N, factor, ACT, BIAS, RESIDUAL)


@triton.jit(do_not_specialize=("M",))
def _product(
    x, weight, bias, residual, y, M, N, K, stride, factor,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, ACT: tl.constexpr,
    BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """The same with a weight in float."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(0, K, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        there = (rows < M)[:, None] & (k < K)[None, :]
        row = tl.load(x + rows[:, None].to(tl.int64) * stride + k[None, :], there, 0.0)
        known = (k < K)[:, None] & (n < N)[None, :]
        value = tl.load(weight + n[None, :].to(tl.int64) * K + k[:, None], known, 0.0)
        acc = dotted(row, value, acc)
    _finished(acc, n, rows, bias, residual, y, M, N, factor, ACT, BIAS, RESIDUAL)


@triton.jit
def dotted(a, b, acc):
    """`acc + a b`: in the dtype of `a` where that is a half one, otherwise in whole float32."""
    if a.dtype == tl.float32:
        return tl.dot(a, b.to(tl.float32), acc, input_precision="ieee")
    return tl.dot(a, b.to(a.dtype), acc)
