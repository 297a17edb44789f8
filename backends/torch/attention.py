"""Attention over whole utterances: masks, relative positions, heads."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

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


class Sight(NamedTuple):
    """Who sees whom, for the fused operator: `mask` is zero or minus infinity, `[..., 1, Q, K]`,
    all zero for queries that see nothing, to keep numbers finite; `some` (`[..., Q, 1]`) says
    which see something."""

    mask: Tensor
    some: Tensor


def sight(seen: Tensor, like: Tensor) -> Sight:
    """Of `[..., Q, K]`, in the type of `like`."""
    some = seen.any(-1, keepdim=True)
    hidden = (some & ~seen).unsqueeze(-3)
    zero = torch.zeros(hidden.shape, dtype=like.dtype, device=seen.device)
    return Sight(zero.masked_fill_(hidden, float("-inf")), some)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    seen: Tensor | Sight | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """`softmax(q k / sqrt(d) + bias) v` in each head; `[..., Q, W]`, `[..., K, W]`.

    `seen` is `[..., Q, K]`; a query that sees nothing gets zeros.
    """
    seen = sight(seen, q) if isinstance(seen, Tensor) else seen
    mask = bias if seen is None else seen.mask if bias is None else bias + seen.mask.to(bias.dtype)
    mixed = functional.scaled_dot_product_attention(
        in_heads(q, heads), in_heads(k, heads), in_heads(v, heads), mask, is_causal=causal
    )
    found = mixed.transpose(-2, -3).flatten(-2)
    return found if seen is None else found * seen.some.to(found.dtype)


def in_heads(x: Tensor, heads: int) -> Tensor:
    """`[..., T, W]` to `[..., heads, T, W / heads]`."""
    return x.reshape(*x.shape[:-1], heads, -1).transpose(-2, -3)


def relative_scores(p: Tensor, r: Tensor, heads: int, keys: int) -> Tensor:
    """`p r[t - s] / sqrt(d)` for every query and key: `[B, heads, T, keys]`.

    `r` runs over the distances `-(n - 1) .. n - 1` for `n` frames, `[1, 2 n - 1, W]`.
    """
    scaled = in_heads(p, heads) / sqrt(p.shape[-1] // heads)
    return skewed(scaled @ in_heads(r, heads).flip(-2).transpose(-1, -2), keys)


def skewed(scores: Tensor, keys: int) -> Tensor:
    """`[..., T, 2 T - 1]`, distances falling from `T - 1`, to `[..., T, keys]` by position.

    A view: one query further down, a key's score stands one place to the left.
    """
    frames, (down, right) = scores.shape[-2], scores.stride()[-2:]
    size = (*scores.shape[:-1], keys)
    strides = (*scores.stride()[:-2], down - right, right)
    return scores.as_strided(size, strides, scores.storage_offset() + (frames - 1) * right)


def sinusoids(distances: Tensor, n: int) -> Tensor:
    """Sine and cosine in turn of each distance, `[1, distances, n]` (Vaswani et al. 2017, 3.5)."""
    pair = torch.arange((n + 1) // 2, device=distances.device)
    angle = distances.double().unsqueeze(1) * 10_000.0 ** (-2 * pair.double() / n)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :n].unsqueeze(0)


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


def middle(r: Tensor, q: Tensor) -> Tensor:
    """Of encodings of more distances those between two frames of `q`."""
    reach, wanted = r.shape[1] // 2, max(q.shape[1], 1) - 1
    return r[:, reach - wanted : reach + wanted + 1]
