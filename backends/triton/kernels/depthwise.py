"""The middle of a Conformer's convolution module (Gulati et al. 2020, section 2.2), in one pass:

gate, `a * sigmoid(b)` over the halves of what comes in; one filter a channel over frames; bias;
batch norm by its running statistics; activation. Every part but the filter may be left out. Offline
it runs over whole utterances, and in streams as a step over the frames that a ring has
(`rings.py`), then those that are new.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from .overlap import early, follow
from .rings import Moment, first_place, place_of, window


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


@dataclass(frozen=True, slots=True)
class Ring:
    """The frames of all streams before a step, `[B, capacity, C]`, behind a gate."""

    frames: Tensor
    now: Moment


@dataclass(frozen=True, slots=True)
class Taps:
    """What is read of a window: output `j` of `made` has tap `i` at frame
    `first + i * by + j * stride`."""

    first: int
    made: int
    by: int = 1
    stride: int = 1


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
    ring: Ring,
    weight: Tensor,
    taps: Taps,
    bias: Tensor | None = None,
    around: Around = BARE,
    there: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`[B, made, *dims]` of the next `n` frames of streams, `[B, n, *dims]`, or with a gate
    `[B, n, 2 C]`, and of the frames in their rings.

    The window has a ring's frames, oldest first, and then the new ones; every tap lies in it.
    Frames before a stream's start read as zero, and those that are not `there` (`[B, window]`,
    bool). The ring stays as it is: the caller keeps the new frames.
    """
    dims, made = weight.shape[:-1], taps.made
    y = x.new_empty(len(x), made, *dims) if out is None else out.view(len(x), made, *dims)
    if y.numel() > 0:
        flat = Ring(ring.frames.flatten(2), ring.now)
        filters, frames = weight.reshape(-1, weight.shape[-1]), x.flatten(2)
        _step_launched(frames, flat, filters, bias, taps, around, there, y.view(len(x), made, -1))
    return y


def reference_step(
    x: Tensor,
    ring: Ring,
    weight: Tensor,
    taps: Taps,
    bias: Tensor | None = None,
    around: Around = BARE,
    there: Tensor | None = None,
) -> Tensor:
    """`depthwise_step` by `reference`, over the window."""
    new = functional.glu(x.float(), -1) if around.glu else x.float()
    frames, now, count = window(ring.frames.float(), new, ring.now), ring.now, weight.shape[-1]
    place = torch.arange(frames.shape[1], device=x.device)
    begun = now.oldest(ring.frames.shape[1]).unsqueeze(1) + place >= 0
    frames = select(begun if there is None else begun & there, frames, 0.0)
    last = taps.first + (count - 1) * taps.by  # of the first output
    bare = Around(False, around.norm, around.activation)
    whole = reference(frames, weight, bias, (count - 1, 0, taps.by, 1), bare)
    return whole[:, last : last + taps.made * taps.stride : taps.stride]


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


def step_cost(ring: Tensor, x: Tensor, weight: Tensor, taps: Taps) -> Cost:
    """Of a step: frames of the ring and new ones are read once."""
    outputs = len(x) * taps.made * weight[..., 0].numel()
    moved = nbytes(ring, x, weight) + outputs * x.element_size()
    return Cost(moved, 2.0 * outputs * weight.shape[-1])


# --- launches ---

_TILES = tuple(
    Config({"BLOCK_T": frames, "BLOCK_C": channels}, warps)
    for frames, channels, warps in (
        *((16, 32, 1), (16, 64, 2), (32, 64, 4), (64, 32, 4), (8, 128, 4)),
        *((1, 64, 2), (1, 32, 1)),
    )
)
"""Rows of one frame are for steps of one."""
_DENSE = tuple(
    Config({"BLOCK_T": frames, "BLOCK_C": channels}, warps)
    for frames, channels, warps in (
        *((64, 64, 2), (32, 64, 1), (32, 32, 1), (32, 64, 2), (64, 128, 4)),
    )
)
"""Of filters that go from frame to frame, and have all frames between their taps."""
TOGETHER = tl.constexpr(4)
"""Frames that are read at once there. Fewer are read less often, and more sums are held."""


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

    dense = by == stride == 1 and weight.shape[1] > 1

    def run(config: Config) -> None:
        tiles = triton.cdiv(made, config.sizes["BLOCK_T"])
        # Only the first axis of a grid may be longer than 65535, and a frame may be an utterance.
        _offline[batch * tiles, triton.cdiv(channels, config.sizes["BLOCK_C"])](
            *given(tensors), x.shape[1], channels, made, past, by, stride, *x.stride()[:2], *mask,
            LENGTHS=lengths is not None, MASK=there is not None, DENSE=dense,
            **_options(weight, bias, around), **config.options(), **early(x),
        )  # fmt: skip

    kind = (weight.shape[1], by, stride, around.glu, x.dtype)
    shape = (about(batch, 64), about(made), channels, *kind)
    run(TUNER.best("depthwise", shape, _DENSE if dense else _TILES, run, x.device))


def _step_launched(
    x: Tensor,
    ring: Ring,
    weight: Tensor,
    bias: Tensor | None,
    taps: Taps,
    around: Around,
    there: Tensor | None,
    y: Tensor,
) -> None:
    (batch, made, channels), held, now = y.shape, ring.frames, ring.now
    mask = None if there is None else there.expand(batch, -1).view(torch.uint8)
    tensors = (x, held, now.age, weight, bias, *(around.norm or (None, None)), mask, y)
    sizes = (held.shape[1], now.count, now.start, taps.first, taps.by, taps.stride)
    strides = (*x.stride()[:2], *held.stride()[:2], *((0, 0) if mask is None else mask.stride()))

    def run(config: Config) -> None:
        tiles = triton.cdiv(made, config.sizes["BLOCK_T"])
        _step[batch, tiles, triton.cdiv(channels, config.sizes["BLOCK_C"])](
            *given(tensors), channels, made, *sizes, *strides, MASK=mask is not None,
            **_options(weight, bias, around), **config.options(), **early(x),
        )  # fmt: skip

    shape = (about(batch, 64), about(made), channels, weight.shape[1], around.glu, x.dtype)
    run(TUNER.best("depthwise.step", shape, _TILES, run, x.device))


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


@triton.jit(do_not_specialize=("T", "made", "t_batch"))
def _offline(
    x, weight, bias, scale, shift, lengths, there, y, T, C, made, past, by, stride,
    x_batch, x_frame, t_batch, t_frame, TAPS: tl.constexpr, BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr, GLU: tl.constexpr, ACT: tl.constexpr, BIAS: tl.constexpr,
    NORM: tl.constexpr, LENGTHS: tl.constexpr, MASK: tl.constexpr, DENSE: tl.constexpr,
):  # fmt: skip
    """A program makes a tile `[BLOCK_T, BLOCK_C]` of an utterance."""
    follow()
    tiles = tl.cdiv(made, BLOCK_T)
    b = (tl.program_id(0) // tiles).to(tl.int64)
    j0 = tl.program_id(0) % tiles * BLOCK_T
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    end = T
    if LENGTHS:
        end = tl.minimum(tl.load(lengths + b).to(tl.int32), T)
    x, y = x + b * x_batch, y + b * made * C
    if DENSE:
        sums = _dense(
            x, weight, there + b * t_batch, j0 - past, c, C, end, x_frame, t_frame,
            TAPS, BLOCK_T // TOGETHER, GLU, MASK,
        )  # fmt: skip
        for part in tl.static_range(BLOCK_T // TOGETHER):
            at = j0 + TOGETHER * part + tl.arange(0, TOGETHER)
            _stored(sums[part], at, c, made, C, bias, scale, shift, y, ACT, BIAS, NORM)
    else:
        j = j0 + tl.arange(0, BLOCK_T)
        acc = tl.zeros((BLOCK_T, BLOCK_C), tl.float32)
        for tap in range(TAPS):
            frame = j * stride + stride - 1 + (tap - past) * by
            up = _known(there + b * t_batch, frame, (j < made) & (frame < end), t_frame, MASK)
            value = _read(x, frame, c, up[:, None] & (c < C)[None, :], C, x_frame, GLU)
            acc += value * _tap(weight, c, tap, C, TAPS)
        _stored(acc, j, c, made, C, bias, scale, shift, y, ACT, BIAS, NORM)


@triton.jit
def _known(there, frame, inside, t_frame, MASK: tl.constexpr):
    """Which of some frames there are."""
    up = inside & (frame >= 0)
    if MASK:
        up = up & (tl.load(there + frame * t_frame, up, 0) != 0)
    return up


@triton.jit
def _tap(weight, c, tap, C, TAPS: tl.constexpr):
    """float32 `[1, channels]`: zero where there is none."""
    known = (c < C) & (tap < TAPS)
    return tl.load(weight + c * TAPS + tap, known, 0.0).to(tl.float32)[None, :]


@triton.jit
def _dense(
    x, weight, there, first, c, C, end, x_frame, t_frame,
    TAPS: tl.constexpr, PARTS: tl.constexpr, GLU: tl.constexpr, MASK: tl.constexpr,
):  # fmt: skip
    """Sums of `PARTS` of the outputs, `[TOGETHER, channels]` each, whose first tap of all is at the
    frame `first`. Frames are read once for all outputs and taps that meet there: tap
    `TOGETHER n + s` of part m is at part `m + n` of the frames that begin s later."""
    turns: tl.constexpr = (TAPS + TOGETHER - 1) // TOGETHER
    nothing = tl.zeros((TOGETHER, c.shape[0]), tl.float32)
    sums = (nothing,) * PARTS
    for s in range(TOGETHER):
        taps, values = (), ()
        for n in tl.static_range(turns):
            taps += (_tap(weight, c, TOGETHER * n + s, C, TAPS),)  # type: ignore[assignment]
        for part in tl.static_range(PARTS + turns - 1):
            frame = first + s + TOGETHER * part + tl.arange(0, TOGETHER)
            up = _known(there, frame, frame < end, t_frame, MASK)
            inside = up[:, None] & (c < C)[None, :]
            values += (_read(x, frame, c, inside, C, x_frame, GLU),)  # type: ignore[assignment]
        after = ()
        for part in tl.static_range(PARTS):
            total = sums[part]
            for n in tl.static_range(turns):
                total += taps[n] * values[part + n]
            after += (total,)  # type: ignore[assignment]
        sums = after
    return sums


@triton.jit
def _step(
    x, ring, age, weight, bias, scale, shift, there, y, C, made, held, count, start, origin, by,
    stride, x_batch, x_frame, r_batch, r_frame, t_batch, t_frame, MASK: tl.constexpr,
    TAPS: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_C: tl.constexpr, GLU: tl.constexpr,
    ACT: tl.constexpr, BIAS: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """A program makes a tile `[BLOCK_T, BLOCK_C]` of a stream."""
    follow()
    b = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    x, ring = x + b * x_batch, ring + b * r_batch
    oldest, first = first_place(age + b, count, start, held)
    acc = tl.zeros((BLOCK_T, BLOCK_C), tl.float32)
    for tap in range(TAPS):
        s = origin + tap * by + j * stride
        up = (j < made) & (s + oldest >= 0)
        if MASK:
            up = up & (tl.load(there + b * t_batch + s * t_frame, up, 0) != 0)
        inside = up[:, None] & (c < C)[None, :]
        new = _read(x, s - held, c, inside & (s >= held)[:, None], C, x_frame, GLU)
        at = place_of(s, first, held).to(tl.int64)[:, None] * r_frame + c[None, :]
        old = tl.load(ring + at, inside & (s < held)[:, None], 0.0).to(tl.float32)
        value = tl.where((s < held)[:, None], old, new)
        acc += value * _tap(weight, c, tap, C, TAPS)
    _stored(acc, j, c, made, C, bias, scale, shift, y + b * made * C, ACT, BIAS, NORM)
