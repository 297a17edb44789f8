"""Convolution over frames and bands (`Convf`) as an implicit matrix product.

The rows of the product are bands of frames, its columns the channels made in a group, and what is
summed runs over channels, bands and taps in the order of the weight.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...torch.leaves import Convf, Reach
from ..tuning import TUNER, Config, about
from .codes import kind_of
from .conv1d import TILES, ends, finished, followed, given, kept
from .cost import Cost, nbytes
from .linear import PLAIN, Epilogue, dotted
from .overlap import early, follow


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: Reach | None = None,
    groups: int = 1,
    stride: int = 1,
    then: Epilogue = PLAIN,
    lengths: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`[B, T / s, N, F']` of frames `[B, T, C, F]`, in x's dtype; `s` is the stride of the window.

    weight   `[N, C / groups, bands, taps]`, as `Convf` has it
    window   past, future, by, stride in frames, as in `conv1d`; without one x is windows
             `[..., C, F, taps]`, and one frame `[..., N, F']` is made of each
    stride   in bands: `F' = (F + 2 side - bands) / stride + 1` with `side = (bands - 1) / 2` zero
             bands on both sides, each quotient rounded down
    lengths  int `[B]`: frames from there on read as zero, whatever is in them
    then     `residual` has the shape of the result
    """
    if window is None:
        taps = weight.shape[3]
        frames, whole = x.flatten(0, -4).permute(0, 3, 1, 2), (taps - 1, 0, 1, taps)
        y = conv2d(frames, weight, bias, whole, groups, stride, then, lengths, out)
        return y.view(*x.shape[:-3], *y.shape[2:])
    made = x.shape[1] // window[3], len(weight), _bands(x.shape[3], weight, stride)
    y = x.new_empty(len(x), *made) if out is None else out.view(len(x), *made)
    if y.numel() > 0:
        _launched(x, weight, bias, window, groups, stride, then, lengths, y)
    return y


def reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: Reach | None = None,
    groups: int = 1,
    stride: int = 1,
    then: Epilogue = PLAIN,
    lengths: Tensor | None = None,
) -> Tensor:
    """The same by `Convf`, float32."""
    module = Convf(tuple(weight.shape), bias is not None, groups, stride).to(x.device)
    held = {"weight": weight.float()} | ({} if bias is None else {"bias": bias.float()})
    frames = kept(x.float(), lengths)
    y: Tensor = torch.func.functional_call(module, held, (frames,), {"window": window})
    return followed(y, then)


def cost(
    batch: int,
    frames: int,
    bands: int,
    weight: Tensor,
    window: Reach,
    groups: int = 1,
    stride: int = 1,
    element: int = 4,
) -> Cost:
    """Of a batch of so many frames of so many bands, whose numbers have `element` bytes."""
    made = frames // window[3] * len(weight) * _bands(bands, weight, stride)
    read = frames * weight.shape[1] * groups * bands
    moved = batch * (read + made) * element
    return Cost(nbytes(weight) + moved, 2.0 * batch * made * weight[0].numel())


def _bands(bands: int, weight: Tensor, stride: int) -> int:
    """How many bands are made."""
    size = weight.shape[2]
    return (bands + (size - 1) // 2 * 2 - size) // stride + 1


# --- launch ---


def _launched(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: Reach,
    groups: int,
    hop: int,
    then: Epilogue,
    lengths: Tensor | None,
    y: Tensor,
) -> None:
    (batch, made, outputs, high), (past, _, by, stride) = y.shape, window
    rows, n, (_, channels, size, taps) = batch * made * high, outputs // groups, weight.shape
    residual = None if then.residual is None else then.residual.contiguous()
    tensors = (x, weight.contiguous(), bias, residual, lengths, y)
    inner, kind = channels * size * taps, kind_of(x, weight)

    def run(config: Config) -> None:
        parts = triton.cdiv(n, config.sizes["BLOCK_N"])
        _convolved[triton.cdiv(rows, config.sizes["BLOCK_M"]), groups * parts](
            *given(tensors), rows, x.shape[1], channels, x.shape[3], n, inner, outputs, parts,
            made, high, past, by, stride, hop, (size - 1) // 2, *x.stride(), then.factor,
            SIZE=size, TAPS=taps, KIND=kind, ACT=then.activation, BIAS=bias is not None,
            RESIDUAL=residual is not None, LENGTHS=lengths is not None, **config.options(),
            **early(x),
        )  # fmt: skip

    shape = (about(rows, 1 << 12), n, channels, size, taps, groups, hop, x.dtype, kind)
    run(TUNER.best("conv2d", shape, TILES, run, x.device))


# --- kernel ---


@triton.jit(do_not_specialize=("M", "T", "made"))
def _convolved(
    x, weight, bias, residual, lengths, y, M, T, C, F, N, K, outputs, parts, made, high,
    past, by, stride, hop, side, x_batch, x_frame, x_channel, x_band, factor,
    SIZE: tl.constexpr, TAPS: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr, KIND: tl.constexpr, ACT: tl.constexpr, BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr, LENGTHS: tl.constexpr,
):  # fmt: skip
    """A program makes `BLOCK_M` bands, of all frames of all utterances in a row, by `BLOCK_N` of a
    group's `N` channels, of `C` channels each."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    group = tl.program_id(1) // parts
    n = tl.program_id(1) % parts * BLOCK_N + tl.arange(0, BLOCK_N)
    column = group * N + n
    follow()
    step, low = rows // high, rows % high * hop - side
    b, now = step // made, step % made * stride + stride - 1
    end = ends(lengths, b, rows < M, T, LENGTHS)
    at = x + b.to(tl.int64) * x_batch + now.to(tl.int64) * x_frame + low * x_band
    of = weight + column.to(tl.int64) * K
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(0, K, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        gap, up, c = (k % TAPS - past) * by, k // TAPS % SIZE, k // (TAPS * SIZE)
        frame, band = now[:, None] + gap[None, :], low[:, None] + up[None, :]
        there = (rows < M)[:, None] & (k < K)[None, :] & (frame >= 0) & (frame < end[:, None])
        there = there & (band >= 0) & (band < F)
        offset = gap * x_frame + up * x_band + (group * C + c) * x_channel
        row = tl.load(at[:, None] + offset[None, :], there, 0.0)
        known = (k < K)[:, None] & (n < N)[None, :]
        acc = dotted(row, tl.load(of[None, :] + k[:, None], known, 0.0), acc, KIND)
    place = ((step.to(tl.int64) * outputs) * high + rows % high)[:, None] + column[None, :] * high
    inside = (rows < M)[:, None] & (n < N)[None, :]
    finished(
        acc, column, n < N, place, inside, bias, residual, y, factor, ACT, BIAS, RESIDUAL
    )  # fmt: skip
