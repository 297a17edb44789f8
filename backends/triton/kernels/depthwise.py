"""The middle of a Conformer's convolution module (Gulati et al. 2020, section 2.2), in one pass:

gate, `a * sigmoid(b)` over the halves of what comes in; one filter a channel over frames; bias;
batch norm by its running statistics; activation. Every part but the filter may be left out. Offline
it runs over whole utterances, and in streams as a step over the frames that each stream keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from ...torch.leaves import BatchNorm, Depthwise, Reach
from ...torch.recurrent import select
from ..tuning import TUNER, Config, about
from .activations import REFERENCES, activate
from .conv1d import given, kept
from .cost import Cost, nbytes


@dataclass(frozen=True, slots=True)
class Around:
    """What is before and after the filter.

    glu    x has twice the channels, and its first half is gated by its second
    norm   scale and shift, `[C]` each, after the bias: those `of_norm`
    """

    glu: bool = False
    norm: tuple[Tensor, Tensor] | None = None
    activation: str = "none"


BARE = Around()


def of_norm(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Scale and shift of each channel by the running statistics (Ioffe and Szegedy 2015)."""
    scale = norm.weight * torch.rsqrt(norm.variance + norm.eps)
    return scale.detach(), (norm.bias - norm.mean * scale).detach()


def depthwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: Reach,
    around: Around = BARE,
    lengths: Tensor | None = None,
    there: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`[B, T / stride, *dims]` of frames `[B, T, *dims]` (its last axis contiguous), in x's dtype;
    with a gate, x is `[B, T, 2 C]`.

    weight   `[*dims, taps]`, as `Depthwise` has it; a bias is `[*dims]`
    window   past, future, by, stride in frames; output `j` is that of frame
             `j * stride + stride - 1`, and frames outside of `[0, T)` are zero
    lengths  int `[B]`: frames from there on read as zero, whatever is in them
    there    bool `[B or 1, T]`: frames whose flag is down read as zero
    """
    dims, made = weight.shape[:-1], x.shape[1] // window[3]
    filters = weight.reshape(-1, weight.shape[-1])
    y = x.new_empty(len(x), made, *dims) if out is None else out.view(len(x), made, *dims)
    if y.numel() > 0:
        mask = None if there is None else there.expand(x.shape[:2])
        frames, flat = x.flatten(2), y.view(len(x), made, -1)
        _offline_launched(frames, filters, bias, window, around, lengths, mask, flat)
    return y


def depthwise_step(
    x: Tensor,
    state: Tensor,
    slots: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    by: int = 1,
    stride: int = 1,
    around: Around = BARE,
    out: Tensor | None = None,
) -> Tensor:
    """`[B, n / stride, C]` of the next `n` frames of `B` streams, `[B, n, C]` or with a gate
    `[B, n, 2 C]`; all taps are past ones, `n` is a multiple of `stride`.

    state  `[S, past, C]`, `past` at least `(taps - 1) * by`: the frames before, oldest first and
           behind the gate, of `S` streams; zeros at the start. In place it becomes that of the
           next step
    slots  int `[B]`: where the state of each stream is; no two are the same

    The last axes of x and of the state are contiguous. A window with frames ahead is one whose
    stream waits for them: it counts its taps back from the last.
    """
    made, channels = x.shape[1] // stride, len(weight)
    y = x.new_empty(len(x), made, channels) if out is None else out.view(len(x), made, channels)
    if x.numel() > 0:
        _step_launched(x, state, slots, weight, bias, (by, stride), around, y)
    return y


def reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: Reach,
    around: Around = BARE,
    lengths: Tensor | None = None,
    there: Tensor | None = None,
) -> Tensor:
    """The offline one by `Depthwise`, float32."""
    frames = kept(x.float(), lengths)
    frames = frames if there is None else select(there, frames, 0.0)
    frames = functional.glu(frames, -1) if around.glu else frames
    module = Depthwise(tuple(weight.shape), bias is not None).to(x.device)
    held = {"weight": weight.float()} | ({} if bias is None else {"bias": bias.float()})
    y: Tensor = torch.func.functional_call(module, held, (frames,), {"window": window})
    if around.norm is not None:
        y = y * around.norm[0].float() + around.norm[1].float()
    return REFERENCES[around.activation](y)


def cost(
    batch: int, frames: int, weight: Tensor, window: Reach, glu: bool = False, element: int = 4
) -> Cost:
    """Of a batch of so many frames each, whose numbers have `element` bytes."""
    channels, made = weight[..., 0].numel(), frames // window[3]
    moved = batch * channels * (frames * (1 + glu) + made) * element
    return Cost(nbytes(weight) + moved, 2.0 * batch * made * weight.numel())


def step_cost(
    batch: int, frames: int, weight: Tensor, by: int = 1, glu: bool = False, element: int = 4
) -> Cost:
    """Of a step of so many streams, whose state is read and written whole."""
    channels, taps = weight.shape
    state = 2 * batch * (taps - 1) * by * channels * element
    return cost(batch, frames, weight, (taps - 1, 0, by, 1), glu, element) + Cost(state, 0)


# --- launches ---

_TILES = tuple(
    Config({"BLOCK_T": frames, "BLOCK_C": channels}, warps)
    for frames, channels, warps in (
        *((16, 32, 1), (16, 64, 2), (32, 64, 4), (64, 32, 4), (8, 128, 4)),
        *((1, 64, 2), (1, 32, 1)),
    )
)
"""Rows of one frame are for steps of one."""


def _offline_launched(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: Reach,
    around: Around,
    lengths: Tensor | None,
    there: Tensor | None,
    y: Tensor,
) -> None:
    (batch, made, channels), (past, _, by, stride) = y.shape, window
    tensors = (x, weight, bias, *(around.norm or (None, None)), lengths, there, y)
    mask = (0, 0) if there is None else there.stride()

    def run(config: Config) -> None:
        tiles = triton.cdiv(made, config.sizes["BLOCK_T"])
        _offline[batch, tiles, triton.cdiv(channels, config.sizes["BLOCK_C"])](
            *given(tensors), x.shape[1], channels, made, past, by, stride, *x.stride()[:2], *mask,
            LENGTHS=lengths is not None, MASK=there is not None,
            **_options(weight, bias, around), **config.options(),
        )  # fmt: skip

    shape = (about(batch, 64), about(made), channels, weight.shape[1], stride, around.glu, x.dtype)
    run(TUNER.best("depthwise", shape, _TILES, run, x.device))


def _step_launched(
    x: Tensor,
    state: Tensor,
    slots: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pace: tuple[int, int],
    around: Around,
    y: Tensor,
) -> None:
    batch, made, channels = y.shape
    norm = around.norm or (None, None)
    spare = cache(state.clone)  # a measurement must not move the streams on

    def run(config: Config, state: Tensor) -> None:
        tensors = (x, state, slots, weight, bias, *norm, y)
        _step[batch, triton.cdiv(channels, config.sizes["BLOCK_C"])](
            *given(tensors), x.shape[1], channels, made, state.shape[1], *pace, *x.stride()[:2],
            *state.stride()[:2], **_options(weight, bias, around), **config.options(),
        )  # fmt: skip

    shape = (about(batch, 64), x.shape[1], channels, weight.shape[1], *pace, around.glu, x.dtype)
    found = TUNER.best(
        "depthwise.step", shape, _TILES, lambda config: run(config, spare()), x.device
    )
    run(found, state)


def _options(weight: Tensor, bias: Tensor | None, around: Around) -> dict[str, object]:
    return {
        "TAPS": weight.shape[1],
        "GLU": around.glu,
        "ACT": around.activation,
        "BIAS": bias is not None,
        "NORM": around.norm is not None,
    }


# --- kernels ---


@triton.jit
def _read(x, frame, c, there, C, x_frame, GLU: tl.constexpr):
    """`[frames, channels]` in float32, behind the gate; rounded to x's dtype, so that a stream's
    state and its newest frames are of a kind."""
    at = x + frame.to(tl.int64)[:, None] * x_frame + c[None, :]
    value = tl.load(at, there, 0.0)
    if GLU:
        gate = tl.load(at + C, there, 0.0).to(tl.float32)
        value = (value.to(tl.float32) * tl.sigmoid(gate)).to(x.dtype.element_ty)
    return value.to(tl.float32)


@triton.jit
def _held(x, state, frame, c, there, n, C, depth, x_frame, s_frame, GLU: tl.constexpr):
    """`[frames, channels]`: frames from 0 are new ones, those before are in the state."""
    new = _read(x, frame, c, there & ((frame >= 0) & (frame < n))[:, None], C, x_frame, GLU)
    at = state + (frame + depth).to(tl.int64)[:, None] * s_frame + c[None, :]
    old = tl.load(at, there & (frame < 0)[:, None], 0.0).to(tl.float32)
    return tl.where((frame < 0)[:, None], old, new)


@triton.jit
def _stored(
    acc, j, c, made, C, bias, scale, shift, y,
    ACT: tl.constexpr, BIAS: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """Stores `[frames, channels]` after bias, norm and activation."""
    known = c < C
    if BIAS:
        acc += tl.load(bias + c, known, 0.0).to(tl.float32)[None, :]
    if NORM:
        acc *= tl.load(scale + c, known, 0.0).to(tl.float32)[None, :]
        acc += tl.load(shift + c, known, 0.0).to(tl.float32)[None, :]
    place = y + j.to(tl.int64)[:, None] * C + c[None, :]
    tl.store(place, activate(acc, ACT).to(y.dtype.element_ty), (j < made)[:, None] & known[None, :])


@triton.jit
def _offline(
    x, weight, bias, scale, shift, lengths, there, y, T, C, made, past, by, stride,
    x_batch, x_frame, t_batch, t_frame, TAPS: tl.constexpr, BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr, GLU: tl.constexpr, ACT: tl.constexpr, BIAS: tl.constexpr,
    NORM: tl.constexpr, LENGTHS: tl.constexpr, MASK: tl.constexpr,
):  # fmt: skip
    """A program makes a tile `[BLOCK_T, BLOCK_C]` of an utterance."""
    b = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    end = T
    if LENGTHS:
        end = tl.minimum(tl.load(lengths + b).to(tl.int32), T)
    acc = tl.zeros((BLOCK_T, BLOCK_C), tl.float32)
    for tap in range(TAPS):
        frame = j * stride + stride - 1 + (tap - past) * by
        up = (j < made) & (frame >= 0) & (frame < end)
        if MASK:
            up = up & (tl.load(there + b * t_batch + frame * t_frame, up, 0) != 0)
        inside = up[:, None] & (c < C)[None, :]
        value = _read(x + b * x_batch, frame, c, inside, C, x_frame, GLU)
        acc += value * tl.load(weight + c * TAPS + tap, c < C, 0.0).to(tl.float32)[None, :]
    _stored(acc, j, c, made, C, bias, scale, shift, y + b * made * C, ACT, BIAS, NORM)


@triton.jit
def _step(
    x, state, slots, weight, bias, scale, shift, y, n, C, made, depth, by, stride,
    x_batch, x_frame, s_slot, s_frame, TAPS: tl.constexpr, BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr, GLU: tl.constexpr, ACT: tl.constexpr, BIAS: tl.constexpr,
    NORM: tl.constexpr,
):  # fmt: skip
    """A program makes all frames of `BLOCK_C` channels of a stream, then moves their state on: no
    other reads it."""
    b = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    x, y = x + b * x_batch, y + b * made * C
    state = state + tl.load(slots + b).to(tl.int64) * s_slot
    for first in range(0, made, BLOCK_T):
        j = first + tl.arange(0, BLOCK_T)
        inside = (j < made)[:, None] & (c < C)[None, :]
        acc = tl.zeros((BLOCK_T, BLOCK_C), tl.float32)
        for tap in range(TAPS):
            frame = j * stride + stride - 1 + (tap - TAPS + 1) * by
            value = _held(x, state, frame, c, inside, n, C, depth, x_frame, s_frame, GLU)
            acc += value * tl.load(weight + c * TAPS + tap, c < C, 0.0).to(tl.float32)[None, :]
        _stored(acc, j, c, made, C, bias, scale, shift, y, ACT, BIAS, NORM)
    for first in range(0, depth, BLOCK_T):
        i = first + tl.arange(0, BLOCK_T)
        inside = (i < depth)[:, None] & (c < C)[None, :]
        value = _held(x, state, i + n - depth, c, inside, n, C, depth, x_frame, s_frame, GLU)
        tl.debug_barrier()  # other threads of the program have read what is now overwritten
        place = state + i.to(tl.int64)[:, None] * s_frame + c[None, :]
        tl.store(place, value.to(state.dtype.element_ty), inside)
