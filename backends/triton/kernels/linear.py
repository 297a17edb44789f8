"""Products with a weight, `factor * act(x W^T + b) + residual`, in float or in 1 to 8 bits.

One row (a step of one stream) is bound by reading W (`one_row.py`); more go through the tensor
cores. A packed W is read in its own bits (`codes.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..packed import Packed, Weight, bytes_of, dense_of, shape_of
from ..tuning import TUNER, Config, about
from . import norm as norms
from .activations import REFERENCES, activate
from .codes import DEEPEST, INTERPRETED, as_kind, in_ptx, kind_of, parts_of, values
from .cost import Cost
from .norm import layer_norm, moments
from .one_row import ON_CORES, ONE_ROW, held, row_sums
from .overlap import early, expect, follow

GLU = "glu"


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What follows a product while it is in registers; `residual` is `[rows, outputs]`.

    The activation `glu` lets the second half of the outputs gate the first; that half comes out.
    """

    activation: str = "none"
    factor: float = 1.0
    residual: Tensor | None = None

    def outputs(self, rows: int) -> int:
        """Of a weight with so many rows."""
        return rows // 2 if self.activation == GLU else rows


PLAIN = Epilogue()


@dataclass(frozen=True, slots=True)
class Prologue:
    """A norm of the rows before a product, over all their numbers, and the activation behind it:
    layer norm, without a bias RMS norm."""

    weight: Tensor
    bias: Tensor | None
    eps: float
    activation: str = "none"


WIDEST_NORMED, MOST_NORMED = 512, 4096
"""Numbers in a row, and rows, up to which a product norms them itself: each of its programs does,
and has them in registers. That saves a launch, which is most of what a norm of few rows takes."""


def linear(
    x: Tensor,
    weight: Weight,
    bias: Tensor | None = None,
    then: Epilogue = PLAIN,
    out: Tensor | None = None,
    first: Prologue | None = None,
) -> Tensor:
    """`[..., N]` of `[..., K]` and a weight `[N, K]`, in x's dtype; tensor cores multiply in a half
    type where x or the weight is in one. `first`, rows are normed.

    Raises ValueError where the widths differ: a kernel would read what is behind.
    """
    n = then.outputs(shape_of(weight)[0])
    rows, first = _normed_rows(x, weight, first)
    y = x.new_empty(len(rows), n) if out is None else out.view(-1, n)
    residual = None if then.residual is None else then.residual.reshape(-1, n).contiguous()
    if prod(y.shape) > 0:
        _launch(rows, [weight], [bias], residual, y, then, first)
    return y.view(*x.shape[:-1], n)


def linear_beside(
    x: Tensor,
    weights: Sequence[Weight],
    biases: Sequence[Tensor | None],
    first: Prologue | None = None,
) -> tuple[Tensor, ...]:
    """The products with several weights, in one launch if they are alike: queries, keys and values
    of few rows, which alone leave most of a GPU idle."""
    pairs = list(zip(weights, biases, strict=True))
    if len({_kind(*pair) for pair in pairs}) > 1:
        return tuple(linear(x, weight, bias, first=first) for weight, bias in pairs)
    n, (rows, first) = shape_of(weights[0])[0], _normed_rows(x, weights[0], first)
    y = x.new_empty(len(weights), len(rows), n)
    if y.numel() > 0:
        _launch(rows, weights, biases, None, y, PLAIN, first)
    return tuple(each.view(*x.shape[:-1], n) for each in y)


def _kind(weight: Weight, bias: Tensor | None) -> tuple[object, ...]:
    """Of what a kernel is compiled for, and the sizes."""
    own = (weight.bits, weight.products) if isinstance(weight, Packed) else (0, weight.dtype)
    return *shape_of(weight), *own, None if bias is None else bias.dtype


def _normed_rows(
    x: Tensor, weight: Weight, first: Prologue | None
) -> tuple[Tensor, Prologue | None]:
    """Rows as kernels read them, and the norm that is still to be made of them."""
    k = shape_of(weight)[1]
    if x.shape[-1] != k:
        raise ValueError(f"rows of {x.shape[-1]} numbers, and a weight for {k}")
    rows = side_by_side(x.reshape(-1, k))
    if first is None or (len(rows) <= MOST_NORMED and k <= WIDEST_NORMED):
        return rows, first
    norm = first.weight, first.bias, first.eps
    return layer_norm(rows, *norm, activation=first.activation)[0], None


def side_by_side(x: Tensor) -> Tensor:
    """With the numbers of a row side by side in memory, as kernels read them."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def reference(
    x: Tensor,
    weight: Weight,
    bias: Tensor | None = None,
    then: Epilogue = PLAIN,
    first: Prologue | None = None,
) -> Tensor:
    """The same in PyTorch, float32."""
    dense = dense_of(weight).float()
    if first is not None:
        norm = first.weight.float(), None if first.bias is None else first.bias.float(), first.eps
        x = norms.reference(x.float(), *norm, activation=first.activation)[0]
    y = torch.nn.functional.linear(x.float(), dense, None if bias is None else bias.float())
    if then.activation == GLU:
        y = then.factor * torch.nn.functional.glu(y, -1)
    else:
        y = then.factor * REFERENCES[then.activation](y)
    return y if then.residual is None else y + then.residual.reshape(y.shape).float()


def cost(rows: int, weight: Weight, element: int = 4) -> Cost:
    """Of so many rows whose numbers have `element` bytes."""
    n, k = shape_of(weight)
    return Cost(bytes_of(weight) + rows * (n + k) * element, 2.0 * rows * n * k)


# --- launches ---

_FLOAT = tuple(
    Config({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k}, warps, stages)
    for m, n, k, warps, stages in (
        *((16, 64, 64, 4, 3), (32, 64, 32, 4, 3), (64, 64, 32, 4, 3)),
        *((64, 128, 32, 8, 3), (128, 128, 32, 8, 3), (16, 32, 128, 4, 2)),
    )
)
_HALF = tuple(
    Config({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k}, warps, stages)
    for m, n, k, warps, stages in (
        *((16, 64, 64, 4, 3), (16, 32, 128, 4, 3), (32, 64, 64, 4, 3), (64, 64, 64, 4, 3)),
        *((64, 128, 64, 4, 3), (128, 128, 64, 8, 3), (128, 256, 64, 8, 3), (64, 256, 64, 8, 3)),
        *((16, 16, 256, 2, 3), (16, 16, 128, 1, 4)),
    )
)
"""Tensor cores take more of a row at once, and have more of the sums. A product of few rows has
too few programs for a GPU, unless each has few outputs."""
_PACKED = tuple(
    Config({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k}, warps)
    for m, n, k, warps in (
        *((16, 64, 64, 4), (16, 32, 128, 4), (32, 64, 64, 4), (64, 64, 64, 4)),
        *((64, 128, 64, 8), (128, 128, 64, 8), (16, 16, 256, 2)),
    )
)


def _launch(
    x: Tensor,
    weights: Sequence[Weight],
    biases: Sequence[Tensor | None],
    residual: Tensor | None,
    y: Tensor,
    then: Epilogue,
    first: Prologue | None,
) -> None:
    (m, k), n, many = x.shape, shape_of(weights[0])[0], len(weights)
    one = m == 1 and k <= DEEPEST
    parts, quads, bits = _parts(weights)
    products, with_bias = kind_of(x, weights[0]), biases[0] is not None
    norm = (None, None, 0.0) if first is None else (first.weight, first.bias, first.eps)
    more = tuple(x if bias is None else bias for bias in biases)
    tensors = (x, *parts, more, *_given((y, residual, y, *norm[:2]))[1:])
    kind = {"BITS": bits, "ACT": then.activation, "PTX": in_ptx(x), **_before(first, k)}
    kind |= {"BIAS": with_bias, "RESIDUAL": residual is not None, "MANY": many}

    def run(config: Config) -> None:
        if one:
            _row[triton.cdiv(n, config.sizes["BLOCK"]), many](
                *tensors, n, k, quads, then.factor, norm[2], **kind, **config.options(), **early(x)
            )
            return
        grid = triton.cdiv(m, config.sizes["BLOCK_M"]), triton.cdiv(n, config.sizes["BLOCK_N"])
        _product[*grid, many](
            *tensors, m, n, k, quads, x.stride(0), then.factor, norm[2], KIND=products, **kind,
            **config.options(), **early(x),
        )  # fmt: skip

    tiles = _PACKED if bits else _FLOAT if products == "float32" else _HALF
    tiles = ONE_ROW + (ON_CORES if bits else ()) if one else tiles
    shape = (about(m), n, k, bits, x.dtype, products, then.activation == GLU, first is not None)
    name = "linear.one" if one else "linear"
    run(TUNER.best(name, shape if many == 1 else (*shape, many), tiles, run, x.device))


def _parts(weights: Sequence[Weight]) -> tuple[list[tuple[Tensor, ...]], int, int]:
    """Words, codebooks and scales; vectors of words a row, and bits, which all have."""
    found = [parts_of(weight) for weight in weights]
    return list(zip(*(parts for parts, *_ in found), strict=True)), *found[0][1:]


def _before(first: Prologue | None, k: int) -> dict[str, object]:
    if first is None:
        return {"NORM": "none", "BEFORE": "none", "WIDE": 1}
    kind = "rms" if first.bias is None else "layer"
    return {"NORM": kind, "BEFORE": first.activation, "WIDE": triton.next_power_of_2(k)}


def _given(tensors: tuple[Tensor | None, ...]) -> list[Tensor]:
    """What is not there is a pointer that nothing follows."""
    return [tensors[0] if x is None else x for x in tensors]  # type: ignore[misc]


# --- kernels ---


@triton.jit
def _chosen(options, which, MANY: tl.constexpr):
    """One of several pointers; it is as aligned as all are."""
    found = options[0]
    for n in tl.static_range(1, MANY):
        if which == n:
            found = options[n]
    return found


@triton.jit
def _rows_of(first, N, ACT: tl.constexpr, BLOCK: tl.constexpr):
    """Which rows of the weight a program has, and which there are: a gate beside what it gates."""
    at = first + tl.arange(0, BLOCK)
    rows = at
    if ACT == "glu":
        rows = at % 2 * (N // 2) + at // 2
    return rows.to(tl.int64), at < N


@triton.jit
def _expected(
    weight, first, N, K, quads, ACT: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr
):
    """Those rows are."""
    parts: tl.constexpr = 2 if ACT == "glu" else 1
    expect(weight, first // parts, BLOCK // parts, N // parts, K, quads, parts, BITS)


@triton.jit
def _outputs(first, rows, M, N, ACT: tl.constexpr, BLOCK: tl.constexpr):
    """Where the outputs of a program are, `[rows, outputs]`, and which there are; `first` is its
    first row of the weight."""
    halves: tl.constexpr = 2 if ACT == "glu" else 1
    column, outputs = first // halves + tl.arange(0, BLOCK // halves), N // halves
    inside = (rows < M)[:, None] & (column < outputs)[None, :]
    return rows[:, None].to(tl.int64) * outputs + column[None, :], inside


@triton.jit
def _followed(acc, factor, ACT: tl.constexpr):
    """`[rows, outputs]` after the activation."""
    if ACT == "glu":
        value, gate = tl.split(tl.reshape(acc, (acc.shape[0], acc.shape[1] // 2, 2)))
        found = factor * value * tl.sigmoid(gate)
    else:
        found = factor * activate(acc, ACT)
    return found


@triton.jit
def _row(
    x, weights, books, scales, biases, residual, y, gamma, beta, N, K, quads, factor, eps,
    BITS: tl.constexpr, ACT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
    PTX: tl.constexpr, NORM: tl.constexpr, BEFORE: tl.constexpr, WIDE: tl.constexpr,
    MANY: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr, CORES: tl.constexpr = False,
):  # fmt: skip
    """A program has `BLOCK` rows of one of `MANY` weights."""
    first, which = tl.program_id(0) * BLOCK, tl.program_id(1)
    weight, book = _chosen(weights, which, MANY), _chosen(books, which, MANY)
    scale, bias = _chosen(scales, which, MANY), _chosen(biases, which, MANY)
    n, known = _rows_of(first, N, ACT, BLOCK)
    row = tl.arange(0, 1)
    own = held(weight, book, scale, bias, n, known, K, quads, BITS, BIAS, CHUNK)
    if K > CHUNK:
        _expected(weight, first, N, K, quads, ACT, BITS, BLOCK)
    follow()
    place, inside = _outputs(first, row, 1, N, ACT, BLOCK)
    if RESIDUAL:
        more = tl.load(residual + place, inside, 0.0).to(tl.float32)
    norm = (gamma, beta, 0.0, 1.0)
    if NORM != "none":
        mean, spread = moments(x, row, 1, K, K, eps, NORM, WIDE)
        norm = (gamma, beta, tl.sum(mean, 0), tl.sum(spread, 0))
    total = row_sums(
        x, x, K, K, weight, book, own, n, known, quads, norm,
        False, NORM, BEFORE, BITS, CHUNK, PTX, CORES,
    )[None, :]  # fmt: skip
    found = _followed(total, factor, ACT)
    if RESIDUAL:
        found += more
    tl.store(y + which * N + place, found.to(y.dtype.element_ty), inside)


@triton.jit
def _normed(
    row, there, mean, spread, gamma, beta, k, K, NORM: tl.constexpr, BEFORE: tl.constexpr
):  # fmt: skip
    """Numbers k of some rows, in float32."""
    row = (row.to(tl.float32) - mean[:, None]) * spread[:, None]
    row *= tl.load(gamma + k, k < K, 0.0).to(tl.float32)[None, :]
    if NORM == "layer":
        row += tl.load(beta + k, k < K, 0.0).to(tl.float32)[None, :]
    return tl.where(there, activate(row, BEFORE), 0.0)


@triton.jit(do_not_specialize=("M",))
def _product(
    x, weights, books, scales, biases, residual, y, gamma, beta,
    M, N, K, quads, stride, factor, eps,
    BITS: tl.constexpr, ACT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
    PTX: tl.constexpr, KIND: tl.constexpr, NORM: tl.constexpr, BEFORE: tl.constexpr,
    WIDE: tl.constexpr, MANY: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """A program makes a tile of `BLOCK_M` rows by `BLOCK_N` of those of one of `MANY` weights."""
    which = tl.program_id(2)
    weight, book = _chosen(weights, which, MANY), _chosen(books, which, MANY)
    scale, bias = _chosen(scales, which, MANY), _chosen(biases, which, MANY)
    rows, begin = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M), tl.program_id(1) * BLOCK_N
    n, known = _rows_of(begin, N, ACT, BLOCK_N)
    if tl.program_id(0) == 0:
        _expected(weight, begin, N, K, quads, ACT, BITS, BLOCK_N)
    follow()
    if NORM != "none":
        mean, spread = moments(x, rows, M, K, stride, eps, NORM, WIDE)
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(0, K, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        there = (rows < M)[:, None] & (k < K)[None, :]
        row = tl.load(x + rows[:, None].to(tl.int64) * stride + k[None, :], there, 0.0)
        if NORM != "none":
            row = _normed(row, there, mean, spread, gamma, beta, k, K, NORM, BEFORE)
        value = values(weight, book, n, known, first, K, quads, BITS, BLOCK_K, PTX, KIND)
        acc = dotted(row, tl.trans(value), acc, KIND)
    if BITS > 0:
        acc *= tl.load(scale + n, known, 0.0)[None, :]
    if BIAS:
        acc += tl.load(bias + n, known, 0.0).to(tl.float32)[None, :]
    found = _followed(acc, factor, ACT)
    place, inside = _outputs(begin, rows, M, N, ACT, BLOCK_N)
    if RESIDUAL:
        found += tl.load(residual + place, inside, 0.0).to(tl.float32)
    tl.store(y + which.to(tl.int64) * M * N + place, found.to(y.dtype.element_ty), inside)


@triton.jit
def dotted(a, b, acc, KIND: tl.constexpr):
    """`acc + a b`: in a half type, or in whole float32."""
    a, b = as_kind(a, KIND), as_kind(b, KIND)
    if INTERPRETED:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, acc, input_precision="ieee")
