"""Attention over whole utterances: masks, relative positions, heads."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional


def visible(
    queries: Tensor,
    keys: Tensor,
    chunk: int | None = None,
    left: int | None = None,
    right: int | None = 0,
    there: Tensor | None = None,
) -> Tensor:
    """Which keys each query may see: `[1, Q, K]`, or `[B, Q, K]` with `there` (`[B, K]`), for
    queries `[B, Q, ...]` and keys `[B, K, ...]`.

    With `chunk`, from `left` frames before the query's chunk to its end; else from `left` frames
    before the query to `right` after it. `None` is no bound.
    """
    t = torch.arange(queries.shape[1], device=keys.device).unsqueeze(1)
    s = torch.arange(keys.shape[1], device=keys.device).unsqueeze(0)
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
    mask = None if seen is None else _hidden(seen, q if bias is None else bias)
    if bias is not None:  # one sum for all heads; unlike filling, it costs nothing going back
        mask = bias if mask is None else bias + mask
    mixed = functional.scaled_dot_product_attention(
        in_heads(q, heads), in_heads(k, heads), in_heads(v, heads), mask, is_causal=causal
    )
    found = mixed.transpose(-2, -3).flatten(-2)
    return found if seen is None else found * seen.any(-1, keepdim=True).to(found.dtype)


def _hidden(seen: Tensor, like: Tensor) -> Tensor:
    """Zero or minus infinity, `[..., 1, Q, K]`; all zero for queries that see nothing, to keep
    numbers finite."""
    hidden = (seen.any(-1, keepdim=True) & ~seen).unsqueeze(-3)
    zero = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
    return zero.masked_fill_(hidden, float("-inf"))


def in_heads(x: Tensor, heads: int) -> Tensor:
    """`[..., T, W]` to `[..., heads, T, W / heads]`."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(-2, -3)


def relative_scores(p: Tensor, r: Tensor, heads: int, keys: int) -> Tensor:
    """`p r[t - s] / sqrt(d)` for every query and key: `[B, heads, T, keys]`.

    `r` runs over the distances `-(n - 1) .. n - 1`, `[1, 2 n - 1, W]`, for `n` frames: no fewer
    than there are queries, or keys.
    """
    here = r.shape[1] // 2
    r = r[:, here - max(keys - 1, 0) : here + max(p.shape[1], 1)]
    scaled = in_heads(p, heads) / sqrt(p.shape[-1] // heads)
    return skewed(scaled @ in_heads(r, heads).flip(-2).transpose(-1, -2), keys)


def apart(queries: Tensor, keys: Tensor, r: Tensor) -> Tensor:
    """The row of `r` for each query and key, `[Q, K]`; `r` runs over the distances from
    `-(n - 1)` to `n - 1`."""
    t = torch.arange(queries.shape[1], device=r.device).unsqueeze(1)
    s = torch.arange(keys.shape[1], device=r.device).unsqueeze(0)
    return t - s + r.shape[1] // 2


def skewed(scores: Tensor, keys: int) -> Tensor:
    """`[..., T, T + keys - 1]`, distances falling from `T - 1`, to `[..., T, keys]` by position.

    A view of a tensor that is nobody else's view: one query further down, a key's score stands one
    place to the left.
    """
    frames, (down, right) = scores.shape[-2], scores.stride()[-2:]
    size = (*scores.shape[:-1], keys)
    strides = (*scores.stride()[:-2], down - right, right)
    return scores.as_strided(size, strides, max(frames - 1, 0) * right)


def sinusoids(distances: Tensor, n: int) -> Tensor:
    """Sine and cosine in turn of each distance, `[1, distances, n]` (Vaswani et al. 2017, 3.5)."""
    pair = torch.arange((n + 1) // 2, device=distances.device)
    angle = distances.double().unsqueeze(1) * 10_000.0 ** (-2 * pair.double() / n)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :n].unsqueeze(0)


def positions(queries: Tensor, keys: Tensor, n: int) -> Tensor:
    """Encodings of every distance between two frames: `[1, 2 T - 1, n]` for `T` frames."""
    reach, x = max(queries.shape[1], keys.shape[1], 1) - 1, queries
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
