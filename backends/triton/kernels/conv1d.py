"""Products over a window of frames: 1-D convolution as an implicit matrix product.

The rows of the product are the frames made, its columns the outputs of a group, and what is summed
runs over the taps and dims of the window, gathered from the frames where they lie: no window is
ever written down.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...torch.frames import within
from ...torch.leaves import Dense, Reach
from ...torch.recurrent import select
from ..tuning import TUNER, Config, about
from .activations import REFERENCES, activate
from .codes import kind_of
from .cost import Cost, nbytes
from .linear import PLAIN, Epilogue, dotted
from .overlap import early, follow


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: Reach,
    groups: int = 1,
    then: Epilogue = PLAIN,
    lengths: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`[B, T / stride, N]` of frames `[B, T, D]`, in x's dtype.

    weight   `[N, D / groups * taps]`, dims then taps, as `Dense` has it; or the same `by_tap`
    window   past, future, by, stride in frames; output `j` is that of frame
             `j * stride + stride - 1`, and frames outside of `[0, T)` are zero
    lengths  int `[B]`: frames from there on read as zero, whatever is in them
    then     `residual` is `[B, T / stride, N]`

    A filter a feature, `groups = D`, leaves most of a tile empty: `depthwise` is made for those.
    """
    made, n = x.shape[1] // window[3], len(weight)
    y = x.new_empty(len(x), made, n) if out is None else out.view(len(x), made, n)
    if y.numel() > 0:
        _launched(x, _taps_last(weight, window), bias, window, groups, then, lengths, y)
    return y


def by_tap(weight: Tensor, taps: int) -> Tensor:
    """The weight as `[N, D / groups, taps]`, dims side by side in memory: what a kernel reads in
    whole lines. For a weight that stays, once."""
    return weight.view(len(weight), -1, taps).transpose(1, 2).contiguous().transpose(1, 2)


def reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: Reach,
    groups: int = 1,
    then: Epilogue = PLAIN,
    lengths: Tensor | None = None,
) -> Tensor:
    """The same by `Dense`, float32."""
    rows = weight.flatten(1).float()
    module = Dense((len(rows), rows.shape[1]), bias is not None, groups).to(x.device)
    held = {"weight": rows} | ({} if bias is None else {"bias": bias.float()})
    frames = kept(x.float(), lengths)
    y: Tensor = torch.func.functional_call(module, held, (frames,), {"window": window})
    return followed(y, then)


def kept(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Frames outside of an utterance as zeros."""
    return x if lengths is None else select(within(lengths, x), x, 0.0)


def followed(y: Tensor, then: Epilogue) -> Tensor:
    """The epilogue in PyTorch."""
    y = then.factor * REFERENCES[then.activation](y)
    return y if then.residual is None else y + then.residual.reshape(y.shape).float()


def cost(
    batch: int, frames: int, weight: Tensor, window: Reach, groups: int = 1, element: int = 4
) -> Cost:
    """Of a batch of so many frames each, whose numbers have `element` bytes."""
    n, k = len(weight), weight[0].numel()
    made, dims = frames // window[3], k // (window[0] + window[1] + 1) * groups
    moved = batch * (frames * dims + made * n) * element
    return Cost(nbytes(weight) + moved, 2.0 * batch * made * n * k)


# --- launches ---

TILES = tuple(
    Config({"BLOCK_M": m, "BLOCK_N": n, "BLOCK_K": k}, warps, stages)
    for m, n, k, warps, stages in (
        *((16, 64, 64, 4, 3), (32, 64, 32, 4, 3), (64, 64, 32, 4, 3)),
        *((64, 128, 32, 8, 3), (128, 128, 32, 8, 3), (64, 16, 32, 4, 2)),
    )
)
"""Of implicit products; the last is for groups, or channels, of few outputs."""
ENOUGH = 32
"""Dims that are worth a turn for each tap; fewer are gathered, several taps at once."""


def _taps_last(weight: Tensor, window: Reach) -> Tensor:
    taps = window[0] + window[1] + 1
    return weight if weight.ndim == 3 else weight.view(len(weight), -1, taps)


def _launched(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: Reach,
    groups: int,
    then: Epilogue,
    lengths: Tensor | None,
    y: Tensor,
) -> None:
    (batch, made, outputs), (past, _, by, stride) = y.shape, window
    rows, n, dims, taps = batch * made, outputs // groups, weight.shape[1], weight.shape[2]
    residual = None if then.residual is None else then.residual.contiguous()
    tensors, kind = (x, weight, bias, residual, lengths, y), kind_of(x, weight)

    def run(config: Config) -> None:
        parts = triton.cdiv(n, config.sizes["BLOCK_N"])
        _convolved[triton.cdiv(rows, config.sizes["BLOCK_M"]), groups * parts](
            *given(tensors), rows, x.shape[1], dims, n, taps, outputs, parts, made,
            past, by, stride, *x.stride(), *weight.stride(), then.factor, KIND=kind,
            WIDE=dims >= ENOUGH, ACT=then.activation, BIAS=bias is not None,
            RESIDUAL=residual is not None, LENGTHS=lengths is not None, **config.options(),
            **early(x),
        )  # fmt: skip

    shape = (about(rows), n, dims, taps, groups, x.dtype, kind)
    run(TUNER.best("conv1d", shape, TILES, run, x.device))


def given(tensors: tuple[Tensor | None, ...]) -> list[Tensor]:
    """What is not there is a pointer that nothing follows."""
    return [tensors[0] if x is None else x for x in tensors]  # type: ignore[misc]


# --- kernels ---


@triton.jit
def ends(lengths, b, inside, T, LENGTHS: tl.constexpr):
    """`[rows]`: the first frame that is not there any more, for the utterance of each row."""
    end = tl.zeros_like(b) + T
    if LENGTHS:
        end = tl.minimum(end, tl.load(lengths + b, inside, 0).to(tl.int32))
    return end


@triton.jit
def finished(
    acc, column, known, place, inside, bias, residual, y, factor,
    ACT: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
):  # fmt: skip
    """Stores `[rows, columns]` at `place` after bias, activation and residual."""
    if BIAS:
        acc += tl.load(bias + column, known, 0.0).to(tl.float32)[None, :]
    acc = factor * activate(acc, ACT)
    if RESIDUAL:
        acc += tl.load(residual + place, inside, 0.0).to(tl.float32)
    tl.store(y + place, acc.to(y.dtype.element_ty), inside)


@triton.jit(do_not_specialize=("M", "T", "made"))
def _convolved(
    x, weight, bias, residual, lengths, y, M, T, D, N, taps, outputs, parts, made,
    past, by, stride, x_batch, x_frame, x_dim, w_row, w_dim, w_tap, factor,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, KIND: tl.constexpr,
    WIDE: tl.constexpr, ACT: tl.constexpr,
    BIAS: tl.constexpr, RESIDUAL: tl.constexpr, LENGTHS: tl.constexpr,
):  # fmt: skip
    """A program makes `BLOCK_M` frames, of all utterances in a row, by `BLOCK_N` of a group's `N`
    outputs, of `D` dims each."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    group = tl.program_id(1) // parts
    n = tl.program_id(1) % parts * BLOCK_N + tl.arange(0, BLOCK_N)
    column = group * N + n
    follow()
    b, now = rows // made, rows % made * stride + stride - 1
    end = ends(lengths, b, rows < M, T, LENGTHS)
    at = x + b.to(tl.int64) * x_batch + now.to(tl.int64) * x_frame + group * D * x_dim
    of = weight + column.to(tl.int64) * w_row
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    chunks = tl.cdiv(D, BLOCK_K)
    for step in range(taps * chunks if WIDE else tl.cdiv(D * taps, BLOCK_K)):
        k = tl.arange(0, BLOCK_K)
        if WIDE:  # dims of one tap, which lie side by side
            tap, d = step // chunks, step % chunks * BLOCK_K + k
            gap, inside = (tap - past) * by, d < D
            frame = now + gap
            some = (rows < M) & (frame >= 0) & (frame < end)
            there = some[:, None] & inside[None, :]
        else:
            k += step * BLOCK_K
            tap, d, inside = k // D, k % D, k < D * taps
            gap = (tap - past) * by
            frame = now[:, None] + gap[None, :]
            there = (rows < M)[:, None] & inside[None, :] & (frame >= 0) & (frame < end[:, None])
        row = tl.load(at[:, None] + (gap * x_frame + d * x_dim)[None, :], there, 0.0)
        known = inside[:, None] & (n < N)[None, :]
        value = tl.load(of[None, :] + (d * w_dim + tap * w_tap)[:, None], known, 0.0)
        acc = dotted(row, value, acc, KIND)
    place = rows[:, None].to(tl.int64) * outputs + column[None, :]
    inside = (rows < M)[:, None] & (n < N)[None, :]
    finished(
        acc, column, n < N, place, inside, bias, residual, y, factor, ACT, BIAS, RESIDUAL
    )  # fmt: skip
