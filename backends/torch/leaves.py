"""Modules with parameters: one class an operator, parameters named and shaped as the facts say.

Values are `[batch, *index, *dims, taps]`. A `dense`, `convf` or `depthwise` over a window of
frames may be given the frames themselves and the window (`past`, `future`, `by`, `stride`):
it then runs as one convolution over the second axis.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from .integers.rounding import snapped

Shape = tuple[int, ...]


def _parameter(shape: Shape) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


class Weighted(nn.Module):
    """Has a `weight`; `scale` and `codebook` beside it where it is quantised."""

    weight: nn.Parameter

    def kernel(self) -> Tensor:
        """The weight as it is computed with."""
        scale = getattr(self, "scale", None)
        if scale is None:
            return self.weight
        return snapped(self.weight, scale, getattr(self, "codebook", None))


Reach = tuple[int, int, int, int]
"""A window over the second axis: frames `past` back to `future` ahead, `by` apart, of which every
`stride`-th is wanted."""


def _padded(x: Tensor, past: int, future: int, by: int, stride: int) -> Tensor:
    """Zero frames before and after, so that output `j` is at frame `j * stride + stride - 1`."""
    before, after = past * by - (stride - 1), future * by
    if before < 0:
        x, before = x[:, -before:], 0
    if after < 0:
        x, after = x[:, : x.shape[1] + after] if x.shape[1] > -after else x[:, :0], 0
    flat = (0, 0) * (x.ndim - 2)
    return functional.pad(x, (*flat, before, after))


def _filtered(x: Tensor, kernel: Tensor, bias: Tensor | None, reach: Reach, groups: int) -> Tensor:
    """One-dimensional convolution, `[B, T, D]` to `[B, T / stride, N]`.

    As an image one row high: with channels last, PyTorch has faster code for these.
    """
    stride, by = reach[3], reach[2]
    row = _padded(_one_slot(x, stride), *reach).transpose(1, 2).unsqueeze(2)
    y = functional.conv2d(row, kernel.unsqueeze(2), bias, (1, stride), 0, (1, by), groups)
    return y.squeeze(2).transpose(1, 2)[:, : x.shape[1] // stride]


def _one_slot(x: Tensor, stride: int) -> Tensor:
    """At least as many frames as one result needs: convolutions refuse to make none."""
    missing = stride - x.shape[1]
    return functional.pad(x, (*(0, 0) * (x.ndim - 2), 0, missing)) if missing > 0 else x


class Dense(Weighted):
    """`y = W x + b`, all inputs in one row, dims then taps; with groups, part by part."""

    def __init__(self, weight: Shape, bias: bool, groups: int) -> None:
        super().__init__()
        self.weight = _parameter(weight)
        self.bias = _parameter(weight[:1]) if bias else None
        self.groups = groups

    def forward(self, *rows: Tensor, window: Reach | None = None) -> Tensor:
        weight = self.kernel()
        if window is not None:
            kernel = weight.view(len(weight), -1, window[0] + window[1] + 1)
            return _filtered(rows[0], kernel, self.bias, window, self.groups)
        row = rows[0] if len(rows) == 1 else torch.cat(rows, -1)
        if self.groups == 1:
            return functional.linear(row, weight, self.bias)
        parts = row.reshape(*row.shape[:-1], self.groups, row.shape[-1] // self.groups, 1)
        y = (weight.view(self.groups, -1, weight.shape[1]) @ parts).flatten(-3)
        return y if self.bias is None else y + self.bias


class Convf(Weighted):
    """Convolution over bands, `same` zero padding, and over the taps of a window."""

    def __init__(self, weight: Shape, bias: bool, groups: int, stride: int) -> None:
        super().__init__()
        self.weight = _parameter(weight)
        self.bias = _parameter(weight[:1]) if bias else None
        self.groups, self.stride = groups, stride

    def forward(self, x: Tensor, window: Reach | None = None) -> Tensor:
        """`[..., C, F, taps]` to `[..., N, F']`; with a window, `[B, T, C, F]`."""
        if window is not None:
            return self._over_time(x, *window)
        images = x.flatten(0, -4)
        y = self._convolved(images.transpose(2, 3), self.kernel().transpose(2, 3), (1, 1), 0)
        return y.view(*x.shape[:-3], *y.shape[1:2], *y.shape[3:])

    def _over_time(self, x: Tensor, past: int, future: int, by: int, stride: int) -> Tensor:
        """Channels last, for speed. Where more is padded before than after, the operator pads:
        as much on both sides, and the surplus is cut."""
        count, before = x.shape[1] // stride, past * by - (stride - 1)
        x = _one_slot(x, stride)
        if before < future * by:
            x, before = _padded(x, past, future, by, stride), 0
        images, kernel = (
            image.contiguous(memory_format=torch.channels_last)
            for image in (x.transpose(1, 2), self.kernel().transpose(2, 3))
        )
        y = self._convolved(images, kernel, (stride, by), before)
        return y[:, :, :count].transpose(1, 2)

    def _convolved(
        self, images: Tensor, kernel: Tensor, reach: tuple[int, int], padding: int
    ) -> Tensor:
        """`[N, C, T, F]`; the kernel is `[out, C / groups, taps, bands]`."""
        stride, by = reach
        side = (kernel.shape[3] - 1) // 2
        return functional.conv2d(
            images,
            kernel,
            self.bias,
            (stride, self.stride),
            (padding, side),
            (by, 1),
            self.groups,
        )


class Depthwise(Weighted):
    """One filter a feature over the taps of a window."""

    def __init__(self, weight: Shape, bias: bool) -> None:
        super().__init__()
        self.weight = _parameter(weight)
        self.bias = _parameter(weight[:-1]) if bias else None

    def forward(self, x: Tensor, window: Reach | None = None) -> Tensor:
        if window is not None:
            return self._over_time(x, window)
        y = (x * self.kernel()).sum(-1)
        return y if self.bias is None else y + self.bias

    def _over_time(self, x: Tensor, window: Reach) -> Tensor:
        features = prod(self.weight.shape[:-1])
        bias = None if self.bias is None else self.bias.flatten()
        y = _filtered(x.flatten(2), self.kernel().view(features, 1, -1), bias, window, features)
        return y.reshape(*y.shape[:2], *self.weight.shape[:-1])


class Embed(nn.Module):
    """A row of the table for each token."""

    def __init__(self, weight: Shape) -> None:
        super().__init__()
        self.weight = _parameter(weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[..., 1]` integers to `[..., n]`."""
        return functional.embedding(tokens.squeeze(-1), self.weight)


class Constant(nn.Module):
    """A learned value, the same for all frames: `[1, *dims]`."""

    def __init__(self, value: Shape) -> None:
        super().__init__()
        self.value = _parameter(value)

    def forward(self) -> Tensor:
        return self.value.unsqueeze(0)


class Number(nn.Module):
    """A number that is written in the model: `[1, 1]`."""

    value: Tensor

    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor([[value]]), persistent=False)

    def forward(self) -> Tensor:
        return self.value


class LayerNorm(nn.Module):
    """Over all axes of a frame; of a window, over each of its frames alone."""

    def __init__(self, weight: Shape, eps: float, taps: bool) -> None:
        super().__init__()
        self.weight, self.bias = _parameter(weight), _parameter(weight)
        self.eps, self.taps = eps, taps

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(-1, 1) if self.taps else x
        y = functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        return y.movedim(1, -1) if self.taps else y


class RmsNorm(nn.Module):
    """Divided by the root mean square of the frame (Zhang and Sennrich 2019)."""

    def __init__(self, weight: Shape, eps: float, taps: bool) -> None:
        super().__init__()
        self.weight = _parameter(weight)
        self.eps, self.taps = eps, taps

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(-1, 1) if self.taps else x
        y = functional.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return y.movedim(1, -1) if self.taps else y


class Cmvn(nn.Module):
    """Global mean and deviation of each feature; statistics, not parameters."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, dims: Shape, axes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dims))
        self.register_buffer("deviation", torch.ones(dims))
        self.more = (1,) * (axes - len(dims))

    def forward(self, x: Tensor) -> Tensor:
        shape = (*self.mean.shape, *self.more)
        return (x - self.mean.view(shape)) / self.deviation.view(shape)


class BatchNorm(nn.Module):
    """Each channel of the first axis by its running statistics; in training by those of the
    frames that are there in the batch (Ioffe and Szegedy 2015), over all processes."""

    mean: Tensor
    variance: Tensor
    momentum = 0.1

    def __init__(self, weight: Shape, eps: float, axes: int) -> None:
        super().__init__()
        self.weight, self.bias = _parameter(weight), _parameter(weight)
        self.register_buffer("mean", torch.zeros(weight))
        self.register_buffer("variance", torch.ones(weight))
        self.eps, self.more = eps, (1,) * (axes - 1)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        mean, variance = self.mean, self.variance
        if self.training:
            mean, variance = self._of_batch(x, there)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return x * scale.view(-1, *self.more) + shift.view(-1, *self.more)

    def _of_batch(self, x: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance over present frames, and their trace in the running ones."""
        channel = x.ndim - 1 - len(self.more)
        wide = there.reshape(there.shape + (1,) * (x.ndim - there.ndim))
        kept = torch.where(wide, x.to(self.mean.dtype), 0.0)
        others = [axis for axis in range(x.ndim) if axis != channel]
        frames = there.expand(x.shape[: there.ndim]).sum()
        count = (frames * prod(x.shape[channel + 1 :])).reshape(1).to(kept.dtype)
        total = torch.cat([kept.sum(others), (kept * kept).sum(others), count])
        width = len(self.weight)
        total = summed_over_processes(total)
        first, second, count = total[:width], total[width : 2 * width], total[2 * width :]
        mean = first / count.clamp(min=1)
        variance = (second / count.clamp(min=1) - mean * mean).clamp(min=0)
        self._remember(mean.detach(), variance.detach(), count.detach())
        return mean, variance

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """The running variance is the unbiased one, as is usual."""
        unbiased = variance * count / (count - 1).clamp(min=1)
        self.mean.lerp_(mean, self.momentum)
        self.variance.lerp_(unbiased, self.momentum)


def summed_over_processes(x: Tensor) -> Tensor:
    """The sum over all training processes, with its gradient; `x` itself when there is one."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return x
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(x)  # type: ignore[no-untyped-call, no-any-return]
