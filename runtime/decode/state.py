"""Rows of a predictor's state: taken out, put back, split and joined."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .protocol import State


def index(rows: Sequence[int], like: Tensor) -> Tensor:
    """Row numbers as a tensor on the device of `like`."""
    return torch.tensor(rows, dtype=torch.int64, device=like.device)


def marked(streams: Tensor | Sequence[bool] | None, count: int) -> list[int]:
    """The places of those of `count` streams that are marked; without marks, of all.

    Raises ValueError for another number of marks."""
    marks = [True] * count if streams is None else [bool(mark) for mark in streams]
    if len(marks) != count:
        raise ValueError(f"{len(marks)} marks for {count} streams")
    return [place for place, mark in enumerate(marks) if mark]


def select(state: State, rows: Tensor) -> State:
    """The rows `rows` [N] of a state, in that order."""
    return {name: value.index_select(0, rows) for name, value in state.items()}


def put(state: State, rows: Tensor, new: State) -> State:
    """A copy of `state` where the rows `rows` [N] are those of `new`."""
    return {name: value.index_copy(0, rows, new[name]) for name, value in state.items()}


def split(state: State, count: int) -> list[State]:
    """One state for each of `count` rows, without the batch axis."""
    names = list(state)
    rows = zip(*(state[name].unbind(0) for name in names), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows] if names else [{}] * count


def join(states: Sequence[State]) -> State:
    """The inverse of `split`."""
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}
