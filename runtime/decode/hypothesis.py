"""What a decoder returns: labels with their frames, times and scores."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Clock:
    """The encoder's frames in seconds: their period and the encoder's look-ahead.

    Frame t is complete, and so are its labels at the earliest, when the audio up to
    `(t + 1) * period + lookahead` has arrived. Computing takes time on top of that.
    """

    period: Fraction | float = 1
    lookahead: Fraction | float = 0

    def seconds(self, frame: int) -> float:
        return float((frame + 1) * self.period + self.lookahead)


@dataclass(frozen=True, slots=True)
class Token:
    """A label, the frame (from 0) that it was found at, the moment in seconds at which it can be
    known (see `Clock`), and its log-probability there."""

    id: int
    frame: int
    seconds: float
    score: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """Labels in order, and the log-probability of all of them, blanks included."""

    tokens: tuple[Token, ...]
    score: float

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)
