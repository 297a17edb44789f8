"""Greedy decoding frame by frame: the plain definition, and what label looping is measured against.

At each frame take the best symbol; on a label ask again, with the predictor a label further on; on
blank go to the next frame. This is the greedy form of Graves, 2012, section 2.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .block import block
from .decide import Decision, decide
from .hypothesis import Clock, Hypothesis, Token
from .protocol import Frames, State, Transducer
from .state import index, put, select


@torch.no_grad()
def frame_loop(
    model: Transducer,
    frames: Frames | Tensor,
    lengths: Tensor | Sequence[int] | None = None,
    *,
    clock: Clock | None = None,
    max_symbols: int = 10,
) -> list[Hypothesis]:
    """Decode whole utterances, encoder frames [batch, frames, ...]; one hypothesis a stream.

    The result is that of `GreedyDecoder`. Raises ValueError for shapes that do not fit together.
    """
    given = block(frames, lengths)
    clock = clock or Clock()
    streams = [_Stream() for _ in given.rows]
    predictor = _Predictor(model, *model.predictor_start(len(streams)))
    for frame in range(max(map(len, given.rows), default=0)):
        here = [b for b, s in enumerate(streams) if s.due == frame < len(given.rows[b])]
        for symbol in range(1, max_symbols + 1):
            if not here:
                break
            at = given.take([given.rows[b][frame] for b in here])
            decisions = dict(zip(here, predictor.decide(at, here), strict=True))
            for b, decision in decisions.items():
                streams[b].follow(decision, frame, clock, last=symbol == max_symbols)
            predictor.step({b: d.label for b, d in decisions.items() if d.label is not None})
            here = [b for b in here if streams[b].due == frame]
    return [Hypothesis(tuple(s.tokens), s.score) for s in streams]


@dataclass(slots=True)
class _Stream:
    """What was found in one stream; `due` is the frame that is read next."""

    due: int = 0
    score: float = 0.0
    tokens: list[Token] = field(default_factory=list)

    def follow(self, decision: Decision, frame: int, clock: Clock, last: bool) -> None:
        self.score += decision.score
        self.due = frame + max(decision.advance, 1 if last else 0)
        if decision.label is not None:
            seconds = clock.seconds(frame)
            self.tokens.append(Token(decision.label, frame, seconds, decision.score))


@dataclass(slots=True)
class _Predictor:
    """The predictor of all streams, moved on in some of them."""

    model: Transducer
    output: Tensor
    state: State

    def decide(self, frames: Frames, streams: list[int]) -> list[Decision]:
        return decide(self.model, frames, self.output.index_select(0, index(streams, self.output)))

    def step(self, found: dict[int, int]) -> None:
        if not found:
            return
        rows = index(list(found), self.output)
        tokens = index(list(found.values()), self.output)
        output, state = self.model.predictor_step(tokens, select(self.state, rows))
        self.output = self.output.index_copy(0, rows, output)
        self.state = put(self.state, rows, state)
