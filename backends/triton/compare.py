"""How far a model on kernels is from the same one in PyTorch: whole utterances, and as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import repeat

import torch
from torch import Tensor

from ..torch.examples import Length
from ..torch.lowered import Lowered
from ..torch.trial import Differences, Finding, Trial, compare, streamed, utterance
from .lowering import to_triton

LIMITS = {None: 1e-4, torch.float16: 1e-2, torch.bfloat16: 8e-2}
"""The largest difference, relative to the largest number: with products in float32, or halves."""

SHORT = (Length(Fraction(3, 10), 2), Length(Fraction(17, 100), 1))
"""Two utterances that the interpreter has patience for."""


def differences(
    lowered: Lowered,
    lengths: tuple[Length, ...] = SHORT,
    seed: int = 0,
    piece: int = 1900,
    precision: torch.dtype | None = None,
) -> list[Finding]:
    """Of random utterances: `offline`, then of each part that is a stream `<part> stream`, which
    comes in pieces of so many samples, or one label."""
    plain = Trial(lowered, lengths, seed)
    fast = Trial(to_triton(lowered, precision), lengths, seed)
    limit = LIMITS[precision]
    found = [_offline(plain, fast, limit)]
    for part in plain.parts if _is_stream(lowered) else ():
        gaps = Differences(f"{part} stream", limit)
        compare(
            gaps,
            streamed(fast, part, repeat(piece if part == "frames" else 1)),
            plain.values,
            "as a stream",
        )
        found.append(gaps.finding())
    return found


def _offline(plain: Trial, fast: Trial, limit: float) -> Finding:
    gaps = Differences("offline", limit)
    for name, x, wanted in _pairs(plain, fast):
        gaps.add(name, x, wanted, "of whole utterances")
    return gaps.finding()


def _pairs(plain: Trial, fast: Trial) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Every number that is computed, padding aside."""
    beside = ("_length", "_there")
    for name, wanted in plain.values.items():
        if name in plain.inputs or name.endswith(beside) or not wanted.is_floating_point():
            continue
        if f"{name}_length" not in plain.values:
            yield name, fast.values[name], wanted
            continue
        for row in range(len(plain.lengths)):
            yield name, utterance(fast.values, name, row), utterance(plain.values, name, row)


def _is_stream(lowered: Lowered) -> bool:
    return all(
        lowered.facts.lookahead(path) is not None for path in lowered.facts.graph.outputs.values()
    )
