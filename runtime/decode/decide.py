"""The best symbol of each row of the joint, brought to the host in one transfer a head."""

from __future__ import annotations

from itertools import repeat
from typing import NamedTuple

from torch import Tensor

from .protocol import Frames, Transducer


class Decision(NamedTuple):
    """A label, or None for blank; its log-probability; how many frames to go on.

    Without a duration head a label goes on 0 frames and a blank 1. With one, the best duration is
    independent of the label, its log-probability counts too, and blank goes on 1 at least
    (Xu et al., 2023; their code for the last).
    """

    label: int | None
    score: float
    advance: int


def decide(model: Transducer, frames: Frames, labels: Tensor) -> list[Decision]:
    """The best decision for each pair of a frame [N, ...] and a predictor output [N, Dp]."""
    heads = model.joint(frames, labels)
    tokens = heads if isinstance(heads, Tensor) else heads["tokens"]
    scores, best = tokens.max(-1)
    advances: Tensor | None = None
    if not isinstance(heads, Tensor) and "durations" in heads:
        extra, advances = heads["durations"].max(-1)
        scores = scores + extra
    ahead = repeat(0) if advances is None else advances.tolist()
    blank = tokens.shape[-1] - 1
    return [
        Decision(None, score, max(1, step)) if symbol == blank else Decision(symbol, score, step)
        for symbol, score, step in zip(best.tolist(), scores.tolist(), ahead, strict=False)
    ]
