"""A path of beam search, and how two that spell the same labels become one."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log1p
from typing import NamedTuple

from .hypothesis import Clock, Token
from .prefix import Prefix


class Trace(NamedTuple):
    """Where the labels of a path were found, the last one first."""

    earlier: Trace | None
    frame: int
    score: float


@dataclass(frozen=True, slots=True)
class Path:
    """A prefix, the log-probability of all ways to it, and the most probable of these ways."""

    prefix: Prefix
    score: float
    trace: Trace | None = None

    def plus(self, score: float) -> Path:
        return Path(self.prefix, self.score + score, self.trace)

    def merged(self, other: Path | None) -> Path:
        """Both ways to the same prefix: probabilities add up."""
        if other is None:
            return self
        best = max(self, other, key=lambda path: path.score)
        return Path(self.prefix, log_add(self.score, other.score), best.trace)

    def tokens(self, clock: Clock) -> tuple[Token, ...]:
        found = []
        trace = self.trace
        for prefix in self.prefix.backwards():
            assert trace is not None, "a trace has an entry for each label"
            seconds = clock.seconds(trace.frame)
            found.append(Token(prefix.label, trace.frame, seconds, trace.score))
            trace = trace.earlier
        return tuple(reversed(found))


def log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    low, high = min(a, b), max(a, b)
    return high if low == -inf else high + log1p(exp(low - high))
