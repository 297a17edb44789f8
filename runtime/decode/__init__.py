"""Transducer decoding: encoder frames in, labels with times and scores out."""

from .beam import BeamDecoder
from .greedy import GreedyDecoder
from .hypothesis import Clock, Hypothesis, Token
from .phrases import PhraseBooster
from .prefix import Scorer
from .protocol import Frames, Heads, State, Transducer
from .sentences import ClosedLanguage

__all__ = [
    "BeamDecoder",
    "Clock",
    "ClosedLanguage",
    "Frames",
    "GreedyDecoder",
    "Heads",
    "Hypothesis",
    "PhraseBooster",
    "Scorer",
    "State",
    "Token",
    "Transducer",
]
