"""Attention over whole utterances: masks, relative positions, heads."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional


def visible(
    x: Tensor,
    chunk: int | None = None,
    left: int | None = None,
    right: int | None = 0,
    there: Tensor | None = None,
) -> Tensor:
    """Which frames each query may see: `[1, T, T]`, or `[B, T, T]` with `there` (`[B, T]`).

    With `chunk`, from `left` frames before the query's chunk to its end; else from `left` frames
    before the query to `right` after it. `None` is no bound.
    """
    frames = torch.arange(x.shape[1], device=x.device)
    t, s = frames.unsqueeze(1), frames.unsqueeze(0)
    begin = t if chunk is None else t // chunk * chunk
    end = t if chunk is None else begin + chunk - 1
    seen = torch.ones_like(t - s, dtype=torch.bool)
    if left is not None:
        seen &= s >= begin - left
    if right is not None:
        seen &= s <= end + right
    return seen.unsqueeze(0) if there is None else seen & there.unsqueeze(1)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    seen: Tensor | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """`softmax(q k / sqrt(d) + bias) v` in each head; `[..., Q, W]`, `[..., K, W]`.

    `seen` is `[..., Q, K]`; a query that sees nothing gets zeros.
    """
    mask = _mask(seen, bias, q)
    mixed = functional.scaled_dot_product_attention(
        in_heads(q, heads), in_heads(k, heads), in_heads(v, heads), mask, is_causal=causal
    )
    found = mixed.transpose(-2, -3).flatten(-2)
    if seen is None:
        return found
    return torch.where(seen.any(-1, keepdim=True), found, 0.0)


def in_heads(x: Tensor, heads: int) -> Tensor:
    """`[..., T, W]` to `[..., heads, T, W / heads]`."""
    return x.reshape(*x.shape[:-1], heads, -1).transpose(-2, -3)


def _mask(seen: Tensor | None, bias: Tensor | None, q: Tensor) -> Tensor | None:
    """One mask for the fused operator; rows without a key see all, to keep numbers finite."""
    if seen is None:
        return bias
    open_ = (seen | ~seen.any(-1, keepdim=True)).unsqueeze(-3)
    return open_ if bias is None else bias.masked_fill(~open_, float("-inf"))


def relative_scores(p: Tensor, r: Tensor, heads: int, keys: int) -> Tensor:
    """`p r[t - s] / sqrt(d)` for every query and key: `[B, heads, T, keys]`.

    `r` runs over the distances `-(n - 1) .. n - 1` for `n` frames, `[1, 2 n - 1, W]`.
    """
    scores = in_heads(p, heads) @ in_heads(r, heads).flip(-2).transpose(-1, -2)
    return skewed(scores, keys) / sqrt(p.shape[-1] // heads)


def skewed(scores: Tensor, keys: int) -> Tensor:
    """`[..., T, 2 T - 1]`, distances falling from `T - 1`, to `[..., T, keys]` by position."""
    frames = scores.shape[-2]
    moved = functional.pad(scores, (0, 1)).flatten(-2)[..., frames - 1 : -1]
    return moved.reshape(*scores.shape[:-2], frames, 2 * frames - 1)[..., :keys]


def sinusoids(distances: Tensor, n: int) -> Tensor:
    """Sine and cosine in turn of each distance, `[1, distances, n]` (Vaswani et al. 2017, 3.5)."""
    column = torch.arange(n, device=distances.device)
    rate = 10_000.0 ** (-2 * (column // 2).double() / n)
    angle = distances.double().unsqueeze(1) * rate
    return torch.where(column % 2 == 1, angle.cos(), angle.sin()).unsqueeze(0)


def positions(x: Tensor, n: int) -> Tensor:
    """Encodings of every distance between two frames of `x`: `[1, 2 T - 1, n]`."""
    reach = max(x.shape[1], 1) - 1
    distances = torch.arange(-reach, reach + 1, device=x.device)
    return sinusoids(distances, n).to(x.dtype)


def attend_catalogue(
    q: Tensor, k: Tensor, v: Tensor, heads: int, seen: Tensor | None, each: bool
) -> Tensor:
    """Every query `[B, *index, W]` to all entries of its utterance `[B, K, W]`, or with `each`
    to those of its own frame, `[B, *index, K, W]`. `seen` is `[B, K]`."""
    mask = None if seen is None else seen.unsqueeze(-2)
    if each:
        return attend(q.unsqueeze(-2), k, v, heads, mask).squeeze(-2)
    found = attend(q.flatten(1, -2), k, v, heads, mask)
    return found.view(*q.shape[:-1], found.shape[-1])
