"""Sums of one row with a weight, in float or in 1 to 8 bits: what a step of one stream is made of.

Such a product is bound by reading the weight. Threads of a program lie along the columns, so that a
warp reads hundreds of bytes of a row side by side, several rows at once, and sums come together at
the end alone. A packed weight multiplies in integers (`codes.py`), where a program has many rows on
tensor cores: the row's digits are as many columns there.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ..tuning import Config
from .activations import activate
from .codes import LIMIT, code_words, columns, digits, indices, spread, table_of, times

ONE_ROW = tuple(
    Config({"BLOCK": block, "CHUNK": chunk}, warps)
    for block, chunk, warps in (
        *((8, 1024, 4), (16, 1024, 4), (8, 2048, 4), (16, 2048, 4), (16, 512, 4), (8, 512, 2)),
        *((4, 1024, 4), (32, 1024, 8)),
    )
)
"""Outputs and columns of a program; the tiles of all that has one row."""
ON_CORES = tuple(
    Config({"BLOCK": block, "CHUNK": chunk, "CORES": True}, warps)
    for block, chunk, warps in (
        *((128, 128, 4), (64, 256, 4), (256, 128, 8), (64, 512, 4), (32, 256, 2), (16, 256, 1)),
    )
)
"""More of them, of packed weights. A warp has 16 outputs or 32, and all columns: fewer instructions
a weight, but fewer warps as well."""


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
def held(
    weight, book, scale, bias, rows, known, K, quads,
    BITS: tl.constexpr, BIAS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """What a program has of a weight before it knows the row: the first columns of its rows (int64
    `[N]`, as wide as K numbers, or if they are packed `quads` vectors of words), their scales and
    bias, and the codebook."""
    scales = tl.zeros((rows.shape[0],), tl.float32)
    more = scales
    if BITS == 0:
        one = _values(weight, rows, known, 0, K, CHUNK)
        first, table = (one, one), ()
    else:
        first = indices(weight, rows * quads * 4, known, 0, tl.cdiv(K, 8), BITS, CHUNK // 8)
        table = table_of(book, BITS)
        scales = tl.load(scale + rows, known, 0.0)
    if BIAS:
        more = tl.load(bias + rows, known, 0.0).to(tl.float32)
    return first, table, scales, more


@triton.jit
def row_sums(
    x, h, D, K, weight, book, own, rows, known, quads, norm,
    TWO: tl.constexpr, NORM: tl.constexpr, BEFORE: tl.constexpr, BITS: tl.constexpr,
    CHUNK: tl.constexpr, PTX: tl.constexpr, CORES: tl.constexpr,
):  # fmt: skip
    """float32 `[N]`: the products of a row `[x, h]` with the rows of a weight, plus their bias;
    `own` is what is `held` of them."""
    first, table, scales, more = own
    if BITS == 0:
        sums = _float_sums(x, h, D, K, norm, weight, first, rows, known, TWO, NORM, BEFORE, CHUNK)
    else:
        codes, worth = _code_sums(
            x, h, D, K, norm, weight, book, table, first, rows * quads * 4, known,
            TWO, NORM, BEFORE, BITS, CHUNK, PTX, CORES,
        )  # fmt: skip
        sums = codes * (worth * scales)
    return sums + more


@triton.jit
def _values(weight, rows, known, first, K, CHUNK: tl.constexpr):
    """`[N, CHUNK]` of a weight in float."""
    k = first + tl.arange(0, CHUNK)
    inside = known[:, None] & (k < K)[None, :]
    return tl.load(weight + rows[:, None] * K + k[None, :], inside, 0.0)


@triton.jit
def _float_sums(
    x, h, D, K, norm, weight, ahead, rows, known,
    TWO: tl.constexpr, NORM: tl.constexpr, BEFORE: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    N: tl.constexpr = rows.shape[0]
    acc = tl.zeros((N, CHUNK // 8), tl.float32)
    value, _ = ahead
    for first in range(0, K, CHUNK):
        row = _numbers(x, h, first, D, K, norm, CHUNK, TWO, NORM, BEFORE)
        product = value.to(tl.float32) * row[None, :]
        value = _values(weight, rows, known, first + CHUNK, K, CHUNK)
        acc += tl.sum(tl.reshape(product, (N, CHUNK // 8, 8)), 2)
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
    x, h, D, K, norm, words, book, table, ahead, rows, known,
    TWO: tl.constexpr, NORM: tl.constexpr, BEFORE: tl.constexpr, BITS: tl.constexpr,
    CHUNK: tl.constexpr, PTX: tl.constexpr, CORES: tl.constexpr,
):  # fmt: skip
    """Sums over codes, and what one of them stands for in the row."""
    G: tl.constexpr = CHUNK // 8
    groups = tl.cdiv(K, 8)
    low, high = ahead
    top, spoiled = _largest(x, h, D, K, norm, CHUNK, TWO, NORM, BEFORE)
    own = tl.maximum(top, 1e-30) / LIMIT
    sums = _no_sums(rows.shape[0], G, CORES)
    for first in range(0, groups, G):
        a, b = code_words(low, high, book, table, BITS, PTX)
        low, high = indices(words, rows, known, first + G, groups, BITS, G)
        row = _numbers(x, h, 8 * first, D, K, norm, CHUNK, TWO, NORM, BEFORE)
        if CORES:
            sums = tl.dot(spread(a, b, "int8"), columns(row, own), sums, out_dtype=tl.int32)
        else:
            d0, d1, d2 = digits(row, own, PTX)
            s0, s1, s2 = sums
            s0 += _four(a, b, d0[None, :], PTX)
            s1 += _four(a, b, d1[None, :], PTX)
            s2 += _four(a, b, d2[None, :], PTX)
            sums = (s0, s1, s2)
    return _of_digits(sums, CORES), own + spoiled


@triton.jit
def _no_sums(N: tl.constexpr, G: tl.constexpr, CORES: tl.constexpr):
    """int32, of each digit: columns of `[N, 4]`, or `[N, G / 4]` each."""
    if CORES:
        found = tl.zeros((N, 4), tl.int32)
    else:
        nothing = tl.zeros((N, G // 4), tl.int32)
        found = (nothing, nothing, nothing)
    return found


@triton.jit
def _of_digits(sums, CORES: tl.constexpr):
    """float32 `[N]`: each digit for what it is worth."""
    if CORES:
        n = tl.arange(0, 4)
        worth = tl.where(n == 0, 1.0, tl.where(n == 1, 256.0, tl.where(n == 2, 65536.0, 0.0)))
        found = tl.sum(sums.to(tl.float32) * worth[None, :], 1)
    else:
        s0, s1, s2 = sums
        high = tl.sum(s2, 1).to(tl.float32) * 65536 + tl.sum(s1, 1).to(tl.float32) * 256
        found = high + tl.sum(s0, 1).to(tl.float32)
    return found


@triton.jit
def _four(a, b, x, PTX: tl.constexpr):
    """int32 `[N, G / 4]`: the products of codes `[N, G]` with digits `[1, G]`, 4 groups in one."""
    found = times(a, b, x, PTX)
    return tl.sum(tl.reshape(found, (a.shape[0], a.shape[1] // 4, 4)), 2)
