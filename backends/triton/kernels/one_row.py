"""Sums of one row with a weight, in float or in 1 to 8 bits: what a step of one stream is made of.

Such a product is bound by reading the weight. Threads of a program lie along the columns, so that a
warp reads hundreds of bytes of a row side by side, several rows at once, and sums come together at
the end alone. A packed weight multiplies in integers (`codes.py`).
"""

from __future__ import annotations

import triton
import triton.language as tl

from ..tuning import Config
from .activations import activate
from .codes import LIMIT, code_words, digits, indices, table_of, times

ONE_ROW = tuple(
    Config({"BLOCK": block, "CHUNK": chunk}, warps)
    for block, chunk, warps in (
        *((8, 1024, 4), (16, 1024, 4), (8, 2048, 4), (16, 2048, 4), (16, 512, 4), (8, 512, 2)),
        *((4, 1024, 4), (32, 1024, 8)),
    )
)
"""Outputs and columns of a program; the tiles of all that has one row."""


@triton.jit
def _numbers(
    x, h, first, D, K, norm, CHUNK: tl.constexpr, TWO: tl.constexpr, NORM: tl.constexpr,
    BEFORE: tl.constexpr,
):  # fmt: skip
    """float32 `[CHUNK]` of a row `[x, h]`, x the first D of it; x alone may be normed: `norm` are
    weight, bias, mean, and one over the spread."""
    k = first + tl.arange(0, CHUNK)
    found = tl.load(x + k, k < D, 0.0).to(tl.float32)
    if TWO:
        found += tl.load(h + (k - D), (k >= D) & (k < K), 0.0).to(tl.float32)
    if NORM != "none":
        found = (found - norm[2]) * norm[3] * tl.load(norm[0] + k, k < D, 0.0).to(tl.float32)
        if NORM == "layer":
            found += tl.load(norm[1] + k, k < D, 0.0).to(tl.float32)
        found = tl.where(k < D, activate(found, BEFORE), 0.0)
    return found


@triton.jit
def row_sums(
    x, h, D, K, weight, book, scale, rows, known, quads, norm,
    TWO: tl.constexpr, NORM: tl.constexpr, BEFORE: tl.constexpr, BITS: tl.constexpr,
    CHUNK: tl.constexpr, PTX: tl.constexpr,
):  # fmt: skip
    """float32 `[N]`: the products of a row `[x, h]` with the rows (int64 `[N]`) of a weight, which
    are as wide as K numbers, or if it is packed `quads` vectors of words."""
    if BITS == 0:
        sums = _float_sums(x, h, D, K, norm, weight, rows, known, TWO, NORM, BEFORE, CHUNK)
    else:
        codes, own = _code_sums(
            x, h, D, K, norm, weight, book, rows * quads * 4, known,
            TWO, NORM, BEFORE, BITS, CHUNK, PTX,
        )  # fmt: skip
        sums = codes * (own * tl.load(scale + rows, known, 0.0))
    return sums


@triton.jit
def _float_sums(
    x, h, D, K, norm, weight, rows, known,
    TWO: tl.constexpr, NORM: tl.constexpr, BEFORE: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    N: tl.constexpr = rows.shape[0]
    acc = tl.zeros((N, CHUNK // 8), tl.float32)
    for first in range(0, K, CHUNK):
        k = first + tl.arange(0, CHUNK)
        inside = known[:, None] & (k < K)[None, :]
        value = tl.load(weight + rows[:, None] * K + k[None, :], inside, 0.0).to(tl.float32)
        value *= _numbers(x, h, first, D, K, norm, CHUNK, TWO, NORM, BEFORE)[None, :]
        acc += tl.sum(tl.reshape(value, (N, CHUNK // 8, 8)), 2)
    return tl.sum(acc, 1)


@triton.jit
def _largest(
    x, h, D, K, norm, CHUNK: tl.constexpr, TWO: tl.constexpr, NORM: tl.constexpr,
    BEFORE: tl.constexpr,
):  # fmt: skip
    """The largest number of a row, and zero, or NaN where one is not finite."""
    top, spoiled = tl.zeros((CHUNK,), tl.float32), tl.zeros((CHUNK,), tl.float32)
    for first in range(0, K, CHUNK):
        row = _numbers(x, h, first, D, K, norm, CHUNK, TWO, NORM, BEFORE)
        top, spoiled = tl.maximum(top, tl.abs(row)), spoiled + row * 0
    return tl.max(top, 0), tl.sum(spoiled, 0)


@triton.jit
def _code_sums(
    x, h, D, K, norm, words, book, rows, known,
    TWO: tl.constexpr, NORM: tl.constexpr, BEFORE: tl.constexpr, BITS: tl.constexpr,
    CHUNK: tl.constexpr, PTX: tl.constexpr,
):  # fmt: skip
    """Sums over codes, and what one of them stands for in the row."""
    N: tl.constexpr = rows.shape[0]
    G: tl.constexpr = CHUNK // 8
    table, groups = table_of(book, BITS), tl.cdiv(K, 8)
    low, high = indices(words, rows, known, 0, groups, BITS, G)  # on its way from here on
    top, spoiled = _largest(x, h, D, K, norm, CHUNK, TWO, NORM, BEFORE)
    own = tl.maximum(top, 1e-30) / LIMIT
    nothing = tl.zeros((N, G // 4), tl.int32)
    s0, s1, s2 = nothing, nothing, nothing
    for first in range(0, groups, G):
        a, b = code_words(low, high, book, table, BITS, PTX)
        low, high = indices(words, rows, known, first + G, groups, BITS, G)
        row = _numbers(x, h, 8 * first, D, K, norm, CHUNK, TWO, NORM, BEFORE)
        d0, d1, d2 = digits(row, own, PTX)
        s0 += _four(a, b, d0[None, :], PTX)
        s1 += _four(a, b, d1[None, :], PTX)
        s2 += _four(a, b, d2[None, :], PTX)
    high = tl.sum(s2, 1).to(tl.float32) * 65536 + tl.sum(s1, 1).to(tl.float32) * 256
    return high + tl.sum(s0, 1).to(tl.float32), own + spoiled


@triton.jit
def _four(a, b, x, PTX: tl.constexpr):
    """int32 `[N, G / 4]`: the products of codes `[N, G]` with digits `[1, G]`, 4 groups in one."""
    found = times(a, b, x, PTX)
    return tl.sum(tl.reshape(found, (a.shape[0], a.shape[1] // 4, 4)), 2)
