"""Decoding written down as the papers say it, one utterance at a time and without any batching."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product
from math import exp, log

import torch
from torch import Tensor

from asrc.tests.runtime.decode.models import RandomTransducer

Found = list[tuple[int, int]]
"""Labels and their frames."""


@torch.no_grad()
def plain_greedy(model: RandomTransducer, frames: Tensor, max_symbols: int) -> tuple[Found, float]:
    """RNN-T (Graves, 2012) and TDT (Xu et al., 2023) decoding of frames [T, D]; with the score."""
    output, state = model.predictor_start(1)
    found: Found = []
    t, here, score = 0, 0, 0.0
    while t < len(frames):
        heads = model.joint({"frames": frames[t : t + 1]}, output)
        tokens = heads if isinstance(heads, Tensor) else heads["tokens"]
        symbol = int(tokens[0].argmax())
        score += float(tokens[0, symbol])
        go_on = int(symbol == model.labels)
        if not isinstance(heads, Tensor):
            go_on = max(go_on, int(heads["durations"][0].argmax()))
            score += float(heads["durations"][0].max())
        if symbol < model.labels:
            found.append((symbol, t))
            output, state = model.predictor_step(torch.tensor([symbol]), state)
            here += 1
            go_on = max(go_on, int(here == max_symbols))
        t += go_on
        here = 0 if go_on else here
    return found, score


@torch.no_grad()
def every_score(
    model: RandomTransducer, frames: Tensor, max_symbols: int
) -> dict[tuple[int, ...], float]:
    """The log-probability of every label sequence, summed over its alignments, one by one.

    An alignment says how many labels, at most `max_symbols`, come at each frame before its blank.
    """

    @cache
    def at(t: int, said: tuple[int, ...]) -> list[float]:
        heads = model.joint({"frames": frames[t : t + 1]}, predicted(model, said))
        assert isinstance(heads, Tensor)
        return [float(x) for x in heads[0]]

    totals: dict[tuple[int, ...], float] = {}
    for counts in product(range(max_symbols + 1), repeat=len(frames)):
        for labels in product(range(model.labels), repeat=sum(counts)):
            weight = exp(alignment_score(at, labels, counts))
            totals[labels] = totals.get(labels, 0.0) + weight
    return {labels: log(weight) for labels, weight in totals.items()}


def alignment_score(
    at: Callable[[int, tuple[int, ...]], list[float]],
    labels: tuple[int, ...],
    counts: tuple[int, ...],
) -> float:
    """The log-probability of one alignment, given those at a frame after some labels."""
    score, said = 0.0, 0
    for t, count in enumerate(counts):
        for _ in range(count):
            score += at(t, labels[:said])[labels[said]]
            said += 1
        score += at(t, labels[:said])[-1]
    return score


def predicted(model: RandomTransducer, labels: tuple[int, ...]) -> Tensor:
    """The predictor's output after these labels, [1, Dp]."""
    output, state = model.predictor_start(1)
    for label in labels:
        output, state = model.predictor_step(torch.tensor([label]), state)
    return output
