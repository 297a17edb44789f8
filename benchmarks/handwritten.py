"""Encoders as one writes them in PyTorch by hand: what lowered ones are measured against.

Layers are those of `torch.nn`; attention is `scaled_dot_product_attention` with the scores of
relative positions as its mask, moved into place by padding and reshaping (Dai et al. 2019,
appendix B). Masks and positions are made once a batch. The front end is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional

Front = Callable[[Tensor], Tensor]


def stacked(x: Tensor, frames: int) -> Tensor:
    """`[B, T, D]` to `[B, T / frames, frames * D]`."""
    count = x.shape[1] // frames
    return x[:, : count * frames].reshape(len(x), count, -1)


class LstmEncoder(nn.Module):
    """Two stacks of LSTM layers, the second at half the rate of the first."""

    def __init__(self, front: Front, bins: int, cell: int, outputs: int) -> None:
        super().__init__()
        self.front = front
        first = [nn.LSTM(3 * bins, cell, batch_first=True), nn.LSTM(cell, cell, batch_first=True)]
        self.low = nn.ModuleList(first)
        widths = (2 * cell, cell, cell, cell)
        self.high = nn.ModuleList(nn.LSTM(width, cell, batch_first=True) for width in widths)
        self.project = nn.Linear(cell, outputs)

    def forward(self, audio: Tensor, frames: Tensor) -> Tensor:
        x = stacked(self.front(audio), 3)
        for layer in self.low:
            x, _ = layer(x)
        x = stacked(x, 2)
        for layer in self.high:
            x, _ = layer(x)
        found: Tensor = self.project(x)
        return found


class FeedForward(nn.Sequential):
    def __init__(self, width: int, p: float) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.SiLU(),
            nn.Dropout(p),
            nn.Linear(4 * width, width),
            nn.Dropout(p),
        )


class RelativeAttention(nn.Module):
    """Multi-head self-attention with relative positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.content = nn.Parameter(torch.zeros(width))
        self.r = nn.Linear(width, width, bias=False)
        self.position = nn.Parameter(torch.zeros(width))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, hidden: Tensor, encoding: Tensor) -> Tensor:
        """`hidden` is `[B or 1, 1, T, T]`, `encoding` `[1, 2 T - 1, D]`, distances falling."""
        q, k, v = self.q(x), self._split(self.k(x)), self._split(self.v(x))
        r = self._split(self.r(encoding))
        scores = self._shifted(self._split(q + self.position) @ r.transpose(-2, -1))
        scores = (scores / k.shape[-1] ** 0.5).masked_fill(hidden, torch.finfo(x.dtype).min)
        mixed = functional.scaled_dot_product_attention(self._split(q + self.content), k, v, scores)
        found: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return found

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def _shifted(self, scores: Tensor) -> Tensor:
        batch, heads, frames, distances = scores.shape
        padded = functional.pad(scores, (1, 0)).view(batch, heads, distances + 1, frames)
        return padded[:, :, 1:].view_as(scores)[..., :frames]


class Convolution(nn.Module):
    """Gated, causal, depthwise."""

    def __init__(self, width: int, kernel: int, p: float) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, groups=width)
        self.after = nn.LayerNorm(width)
        self.project = nn.Linear(width, width)
        self.dropout = nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.glu(self.expand(self.before(x)), -1).transpose(1, 2)
        x = functional.pad(x, (self.depthwise.kernel_size[0] - 1, 0))
        x = self.depthwise(x).transpose(1, 2)
        found: Tensor = self.dropout(self.project(functional.silu(self.after(x))))
        return found


class Layer(nn.Module):
    """A Conformer layer (Gulati et al. 2020) with layer norm and causal convolution."""

    def __init__(self, width: int, heads: int, p: float) -> None:
        super().__init__()
        self.first = FeedForward(width, p)
        self.before = nn.LayerNorm(width)
        self.attention = RelativeAttention(width, heads)
        self.dropout = nn.Dropout(p)
        self.convolution = Convolution(width, 15, p)
        self.second = FeedForward(width, p)
        self.after = nn.LayerNorm(width)

    def forward(self, x: Tensor, hidden: Tensor, encoding: Tensor) -> Tensor:
        x = x + 0.5 * self.first(x)
        x = x + self.dropout(self.attention(self.before(x), hidden, encoding))
        x = x + self.convolution(x)
        x = x + 0.5 * self.second(x)
        found: Tensor = self.after(x)
        return found


class ConformerEncoder(nn.Module):
    """A quarter of the rate by two strided convolutions, then Conformer layers.

    `chunk` and `left` bound what attention sees, in frames of 40 ms; without, all of it.
    """

    def __init__(
        self,
        front: Front,
        bins: int,
        width: int,
        heads: int,
        layers: int,
        channels: int,
        p: float,
        bounds: tuple[int, int] | None,
    ) -> None:
        super().__init__()
        self.front, self.bounds = front, bounds
        self.first = nn.Conv2d(1, channels, 3, stride=2)
        self.second = nn.Conv2d(channels, channels, 3, stride=2)
        self.project = nn.Linear(channels * (bins // 4), width)
        self.layers = nn.ModuleList(Layer(width, heads, p) for _ in range(layers))

    def forward(self, audio: Tensor, frames: Tensor) -> Tensor:
        x = self.front(audio).unsqueeze(1)
        for convolution in (self.first, self.second):  # one frame before, a band on each side
            x = torch.relu(convolution(functional.pad(x, (1, 1, 1, 0))))
        x = self.project(x.transpose(1, 2).flatten(2))
        hidden, encoding = self._hidden(x.shape[1], frames), encodings(x)
        for layer in self.layers:
            x = layer(x, hidden, encoding)
        return x

    def _hidden(self, count: int, frames: Tensor) -> Tensor:
        place = torch.arange(count)
        hidden = (place >= frames.unsqueeze(1))[:, None, None]
        if self.bounds is not None:
            chunk, left = self.bounds
            begin = (place // chunk * chunk).unsqueeze(1)
            hidden = hidden | (place < begin - left) | (place >= begin + chunk)
        return hidden


def encodings(x: Tensor) -> Tensor:
    """Sines and cosines of the distances `T - 1 .. 1 - T`: `[1, 2 T - 1, D]`."""
    frames, width = x.shape[1:]
    distance = torch.arange(frames - 1, -frames, -1.0).unsqueeze(1)
    angle = distance * torch.exp(torch.arange(0, width, 2) * (-log(10_000.0) / width))
    return torch.stack([angle.sin(), angle.cos()], -1).view(1, -1, width)


# --- the same weights -------------------------------------------------------------------------

STACKED = {0: 3, 2: 2}
"""How many frames stand in a row before the first layers of both stacks of the LSTM encoder."""


def pairs(leaves: Iterable[nn.Module], module: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Parameters of an encoder by hand, and the same of a lowered one, as views or copies.

    `leaves` are the lowered modules that have parameters, in the order of the model's text.
    """
    for n, (leaf, group) in enumerate(zip(leaves, _groups(module), strict=True)):
        own = [p.grad if p.grad is not None else p.detach() for p in leaf.parameters()]
        if len(group) == 4:  # an LSTM; the second bias is no parameter of ours
            own = _of_lstm(own[0], own[1], group[0].shape[1], STACKED.get(n, 1))
        yield from ((theirs, _arranged(x, theirs)) for theirs, x in zip(group, own, strict=False))


def _groups(module: nn.Module) -> Iterator[tuple[Tensor, ...]]:
    """The parameters of one layer after the other."""
    if isinstance(module, RelativeAttention):
        for part in "q k v content r position out".split():
            found = getattr(module, part)
            yield (found,) if isinstance(found, Tensor) else tuple(found.parameters())
    elif module._parameters:
        yield tuple(module.parameters())
    else:
        for child in module.children():
            yield from _groups(child)


def _of_lstm(weight: Tensor, bias: Tensor, inputs: int, frames: int) -> list[Tensor]:
    """Ours has one weight, and keeps the taps of a feature together."""
    rows = weight[:, :inputs].unflatten(1, (-1, frames)).transpose(1, 2).flatten(1)
    return [rows, weight[:, inputs:], bias]


def _arranged(x: Tensor, like: Tensor) -> Tensor:
    """Convolutions here have time before bands."""
    return (x.transpose(2, 3) if x.ndim == 4 else x).view_as(like)
