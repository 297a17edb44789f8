"""Reading frames of a step: what was kept, then what is new, `[B, frames, ...]`."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from .attention import attend, in_heads, sinusoids
from .recurrent import select

UNENDED = 1 << 40
"""The length of a stream whose end is not known yet."""


def after(kept: Tensor, new: Tensor) -> Tensor:
    """The frames of a value that a step can see."""
    return torch.cat([kept, new], 1)


def newest(x: Tensor, count: int) -> Tensor:
    """What the next step needs."""
    return x[:, x.shape[1] - count :]


def cut(x: Tensor, first: int, count: int, step: int) -> Tensor:
    """Frames `first, first + step, ...` of those that a step can see."""
    return x[:, first : first + (count - 1) * step + 1 : step]


def numbers(values: Sequence[int] | Tensor, device: torch.device) -> Tensor:
    """Whole numbers as a tensor, if they are none; a range is counted, not copied number by
    number."""
    if isinstance(values, Tensor):
        return values
    if isinstance(values, range):
        return torch.arange(values.start, values.stop, values.step, device=device)
    return torch.tensor(values, device=device)


def picked(x: Tensor, places: Sequence[int] | Tensor) -> Tensor:
    """Frames in any order."""
    return x.index_select(1, numbers(places, x.device))


def back(x: Tensor, places: Sequence[int] | Tensor) -> Tensor:
    """Frames counted from the end."""
    return x.index_select(1, numbers(places, x.device) + x.shape[1])


def raised(flags: Tensor) -> Tensor:
    """Flags as bits."""
    return flags > 0.5


def present(
    age: Tensor, frames: Sequence[int] | Tensor, count: int, length: Tensor | None
) -> Tensor:
    """Which of a step's frames lie in the stream: `[B, frames]`.

    `age` is how many steps the stream is old, `frames` are those of a step of age zero, and
    `count` is by how many frames each step moves on.
    """
    first = (age * count).unsqueeze(1)
    index = first + numbers(frames, age.device)
    found: Tensor = index >= 0
    return found if length is None else found & (index < length.unsqueeze(1))


def started(kept: Tensor, there: Tensor, start: Tensor | None) -> Tensor:
    """A register's frames; those before the stream's start are zero, or `start`."""
    if start is None:
        return select(there, kept, 0.0)
    return select(there, kept, start.unsqueeze(1).to(kept.dtype))


def clipped(x: Tensor, inside: Sequence[bool] | Tensor, start: Tensor | None) -> Tensor:
    """A tap of a window that ends with its chunk."""
    mask = numbers(inside, x.device).unsqueeze(0)
    return select(mask, x, 0.0 if start is None else start.unsqueeze(1))


def distances(low: int, high: int, n: int, like: Tensor) -> Tensor:
    """Encodings of the distances `low .. high`: `[1, high - low + 1, n]`."""
    steps = torch.arange(low, high + 1, device=like.device)
    return sinusoids(steps, n).to(like.dtype)


def attend_window(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    seen: tuple[tuple[int, int], ...],
    there: Tensor,
    bias: Tensor | None,
) -> Tensor:
    """A step's queries to the keys that it can see.

    Query `n` sees the keys `seen[n][0] .. seen[n][1]` of those that are there (`[B, K]`).
    """
    return attend(q, k, v, heads, inside(k, seen) & there.unsqueeze(1), bias)


def inside(keys: Tensor, seen: tuple[tuple[int, int], ...]) -> Tensor:
    """Which keys each query may see: `[1, Q, K]`."""
    place = torch.arange(keys.shape[1], device=keys.device)
    spans = torch.tensor(seen, device=keys.device)
    return ((place >= spans[:, :1]) & (place <= spans[:, 1:])).unsqueeze(0)


def seen_window(keys: Tensor, seen: tuple[tuple[int, int], ...], there: Tensor) -> Tensor:
    """Which of a step's keys each query sees: `[B, Q, K]`."""
    return inside(keys, seen) & there.unsqueeze(1)


def apart(r: Tensor, queries: tuple[int, ...], keys: tuple[int, ...], low: int) -> Tensor:
    """The row of `r` for each query and key, `[Q, K]`; `r` begins at distance `low`."""
    t, s = torch.tensor(queries, device=r.device), torch.tensor(keys, device=r.device)
    return (t.unsqueeze(1) - s - low).clamp(0, r.shape[-2] - 1)  # beyond is out of sight


def relative_window(
    p: Tensor, r: Tensor, heads: int, queries: tuple[int, ...], keys: tuple[int, ...], low: int
) -> Tensor:
    """`p r[t - s] / sqrt(d)`, where `r` begins at distance `low`: `[B, heads, Q, K]`."""
    scores = in_heads(p, heads) @ in_heads(r, heads).transpose(-1, -2)
    place = apart(r, queries, keys, low)
    found: Tensor = scores.gather(-1, place.expand(*scores.shape[:-1], len(keys)))
    return found / sqrt(p.shape[-1] // heads)
