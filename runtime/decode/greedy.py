"""Greedy decoding by label looping, in blocks of any size (Bataev et al., 2024)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from .block import Block, block
from .decide import Decision, decide
from .hypothesis import Clock, Hypothesis, Token
from .protocol import Frames, Transducer
from .state import index, marked, put, select


@dataclass(slots=True)
class _Stream:
    """One stream: `at` is its next frame within the block, `before` the frames of earlier blocks,
    `here` the labels already found at this frame."""

    at: int = 0
    before: int = 0
    here: int = 0
    blanks: float = 0.0
    tokens: list[Token] = field(default_factory=list)

    def move(self, frames: int) -> None:
        self.at += frames
        self.here = 0 if frames else self.here


def _so_far(tokens: Sequence[Token], count: int, blanks: float) -> Hypothesis:
    """Of the first tokens: more are added, none is changed."""
    found = tuple(tokens[:count])
    return Hypothesis(found, blanks + sum(token.score for token in found))


class GreedyDecoder:
    """The most probable symbol of every frame, for `batch` streams at a time.

    The outer loop is over labels and the inner one over frames, so that the predictor runs once
    a label for all streams; with the predictor's output fixed, the joint reads `window` frames of
    each stream in one call, which on a CPU costs little more than one frame. Only rows still wanted
    are computed, and only decisions leave the device. The paper masks finished streams instead.

    Any division into blocks finds the same labels at the same frames, as long as the model itself
    rounds each row alike whatever else is in the batch; scores agree up to such rounding.

    max_symbols: at most so many labels at one frame; then the next frame's turn comes.
    """

    def __init__(
        self,
        model: Transducer,
        *,
        batch: int = 1,
        clock: Clock | None = None,
        max_symbols: int = 10,
        window: int = 8,
    ) -> None:
        if min(batch, max_symbols, window) < 1:
            raise ValueError("batch, max_symbols and window are at least 1")
        self.model = model
        self.clock = clock or Clock()
        self.max_symbols = max_symbols
        self.window = window
        self._streams = [_Stream() for _ in range(batch)]
        with torch.no_grad():
            self._output, self._state = model.predictor_start(batch)

    @torch.no_grad()
    def feed(
        self,
        frames: Frames | Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        present: Tensor | None = None,
    ) -> list[list[Token]]:
        """Decode one more block of encoder frames [batch, frames, ...]; the new labels by stream.

        `lengths` [batch] or `present` [batch, frames] say which frames are there. A frame that is
        absent is not read and takes no time: frames are numbered without it.
        Raises ValueError for shapes that do not fit together.
        """
        given = block(frames, lengths, present)
        if len(given.rows) != len(self._streams):
            raise ValueError(f"{len(given.rows)} streams fed, {len(self._streams)} expected")
        old = [len(stream.tokens) for stream in self._streams]
        while found := self._next_labels(given):
            self._step_predictor(found)
        for stream, rows in zip(self._streams, given.rows, strict=True):
            # What lies beyond the block is still to be skipped: a duration may cross its edge.
            stream.at -= len(rows)
            stream.before += len(rows)
        return [s.tokens[count:] for s, count in zip(self._streams, old, strict=True)]

    def hypotheses(self) -> list[Hypothesis]:
        """Everything found so far, by stream; the score is that of the one alignment followed."""
        return [made() for made in self.later()]

    def later(self) -> list[Callable[[], Hypothesis]]:
        """What `hypotheses` gives now, each made when it is called, whatever has come since."""
        return [partial(_so_far, s.tokens, len(s.tokens), s.blanks) for s in self._streams]

    @torch.no_grad()
    def reset(self, streams: Tensor | Sequence[bool] | None = None) -> None:
        """Begin anew: all streams, or those marked in `streams` [batch]."""
        chosen = marked(streams, len(self._streams))
        if not chosen:
            return
        rows = index(chosen, self._output)
        output, state = self.model.predictor_start(len(chosen))
        self._output = self._output.index_copy(0, rows, output)
        self._state = put(self._state, rows, state)
        for b in chosen:
            self._streams[b] = _Stream()

    def _next_labels(self, given: Block) -> dict[int, int]:
        """Move every stream to its next label or past the block; the labels found, by stream."""
        found: dict[int, int] = {}
        searching = [b for b, s in enumerate(self._streams) if s.at < len(given.rows[b])]
        while searching:
            for b, decisions in self._look(given, searching).items():
                label = self._walk(self._streams[b], decisions)
                if label is not None:
                    found[b] = label
            searching = [
                b for b in searching if b not in found and self._streams[b].at < len(given.rows[b])
            ]
        return found

    def _look(self, given: Block, searching: list[int]) -> dict[int, list[Decision]]:
        """Decisions for the next `window` frames of each stream, fewer at the block's end."""
        ahead = {b: given.rows[b][self._streams[b].at :][: self.window] for b in searching}
        owners = [b for b, rows in ahead.items() for _ in rows]
        frames = given.take([row for rows in ahead.values() for row in rows])
        output = self._output.index_select(0, index(owners, self._output))
        decisions = iter(decide(self.model, frames, output))
        return {b: list(islice(decisions, len(rows))) for b, rows in ahead.items()}

    def _walk(self, stream: _Stream, decisions: list[Decision]) -> int | None:
        """Follow the decisions of consecutive frames up to a label, if there is one."""
        first = stream.at
        while (place := stream.at - first) < len(decisions):
            label, score, advance = decisions[place]
            if label is not None:
                self._emit(stream, label, score, advance)
                return label
            stream.blanks += score
            stream.move(advance)
        return None

    def _emit(self, stream: _Stream, label: int, score: float, advance: int) -> None:
        frame = stream.before + stream.at
        stream.tokens.append(Token(label, frame, self.clock.seconds(frame), score))
        stream.here += 1
        stream.move(max(advance, 1) if stream.here >= self.max_symbols else advance)

    def _step_predictor(self, found: dict[int, int]) -> None:
        """Tell the predictor the label found, in the streams that found one."""
        chosen = sorted(found)
        tokens = index([found[b] for b in chosen], self._output)
        if len(chosen) == len(self._streams):
            self._output, self._state = self.model.predictor_step(tokens, self._state)
            return
        rows = index(chosen, self._output)
        output, state = self.model.predictor_step(tokens, select(self._state, rows))
        self._output = self._output.index_copy(0, rows, output)
        self._state = put(self._state, rows, state)
