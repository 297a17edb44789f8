"""Beam search, frame by frame, with prefix merging; in blocks of any size, with n-best lists.

Time-synchronous decoding (Saon et al., 2020): all paths are at the same frame; each
either ends the frame with a blank or takes labels first, up to `max_symbols`. Labels are followed
only while they can still matter (in the spirit of the adaptive expansion of Kim et al., 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from .block import Block, block
from .expansion import Expansion
from .hypothesis import Clock, Hypothesis
from .outlook import Outlooks, Question
from .path import Path
from .prefix import Scorer, shared_depth
from .protocol import Frames, Transducer
from .state import marked

PLAIN_MARGIN = 6.0
SCORED_MARGIN = 10.0
"""A language's words may earn only later what their first labels cost."""


@dataclass(frozen=True)
class Standing:
    """A stream of beam search at some frame: its paths, which do not change."""

    paths: tuple[Path, ...]
    clock: Clock
    scorer: Scorer[Any] | None

    def best(self, count: int = 1) -> list[Hypothesis]:
        """Best first, as if the stream ended here; of those that are told alike, the best."""
        found: dict[tuple[int, ...], Hypothesis] = {}
        for one in sorted(map(self._hypothesis, self.paths), key=lambda h: -h.score):
            found.setdefault(one.ids, one)
        return list(found.values())[:count]

    def settled(self) -> int:
        """How many labels can no longer change: every path begins with them."""
        return shared_depth(path.prefix for path in self.paths)

    def _hypothesis(self, path: Path) -> Hypothesis:
        if self.scorer is None:
            return Hypothesis(path.tokens(self.clock), path.score)
        end, last = self.scorer.final(path.prefix.known), path.prefix
        while last.parent is not None and not self.scorer.whole(last.known):
            last = last.parent
        return Hypothesis(path.tokens(self.clock)[: last.depth], path.score + end)


class BeamDecoder:
    """The `beam` most probable label sequences of each of `batch` streams.

    A sequence's score is the log of the summed probability of all its alignments that were
    followed; with a beam and a margin wide enough for everything it is exact. Even with a beam of
    one this is not greedy decoding: a label must win together with the blank behind it. Where
    decisions are clear, the two agree.

    beam: label sequences kept from frame to frame.
    max_symbols: at most so many labels at one frame.
    margin: labels so much (in nats) less probable than the frame's best path are not followed;
        6 where nothing is said, 10 with a scorer.
    scorer: adds to the scores of labels; see `Scorer`.
    window: frames that the joint reads in one call.
    """

    def __init__(
        self,
        model: Transducer,
        *,
        batch: int = 1,
        clock: Clock | None = None,
        beam: int = 4,
        max_symbols: int = 5,
        margin: float | None = None,
        scorer: Scorer[Any] | None = None,
        window: int = 8,
    ) -> None:
        if margin is None:
            margin = PLAIN_MARGIN if scorer is None else SCORED_MARGIN
        if min(batch, beam, max_symbols, window) < 1 or not margin >= 0:
            raise ValueError("batch, beam, max_symbols and window are at least 1, margin 0")
        self.beam = beam
        self.max_symbols = max_symbols
        self.margin = margin
        self.clock = clock or Clock()
        self.scorer = scorer
        self._outlooks = Outlooks(model, beam, window, scorer)
        with torch.no_grad():
            self._beams = [[Path(root, 0.0)] for root in self._outlooks.roots(batch)]
        self._before = [0] * batch

    @torch.no_grad()
    def feed(
        self,
        frames: Frames | Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        present: Tensor | None = None,
    ) -> None:
        """Decode one more block of encoder frames [batch, frames, ...].

        `lengths` and `present` are those of `GreedyDecoder.feed`. Raises ValueError for shapes
        that do not fit together and for a token-and-duration transducer.
        """
        given = block(frames, lengths, present)
        if len(given.rows) != len(self._beams):
            raise ValueError(f"{len(given.rows)} streams fed, {len(self._beams)} expected")
        self._outlooks.next_block()
        for place in range(max(map(len, given.rows))):
            self._frame(given, place)
            self._outlooks.keep({path.prefix for beam in self._beams for path in beam})
        self._before = [n + len(rows) for n, rows in zip(self._before, given.rows, strict=True)]

    def hypotheses(self, count: int = 1) -> list[list[Hypothesis]]:
        """The best `count` of each stream, best first, as if it ended here."""
        return [standing.best(count) for standing in self.later()]

    def settled(self) -> list[int]:
        """How many labels of each stream can no longer change: every path begins with them."""
        return [standing.settled() for standing in self.later()]

    def later(self) -> list[Standing]:
        """The streams as they are now, to ask when more has come."""
        return [Standing(tuple(beam), self.clock, self.scorer) for beam in self._beams]

    @torch.no_grad()
    def reset(self, streams: Tensor | Sequence[bool] | None = None) -> None:
        """Begin anew: all streams, or those marked in `streams` [batch]."""
        chosen = marked(streams, len(self._beams))
        if chosen:
            for b, root in zip(chosen, self._outlooks.roots(len(chosen)), strict=True):
                self._beams[b] = [Path(root, 0.0)]
                self._before[b] = 0

    def _frame(self, given: Block, place: int) -> None:
        """Take the beams over one frame, in the streams that have it."""
        here = {
            b: Expansion(self._beams[b], self._before[b] + place)
            for b, rows in enumerate(given.rows)
            if place < len(rows)
        }
        for symbols in range(self.max_symbols + 1):
            if not any(expansion.going for expansion in here.values()):
                break
            self._expand(given, here, place, symbols)
        for b, expansion in here.items():
            self._beams[b] = expansion.best(self.beam)

    def _expand(self, given: Block, here: dict[int, Expansion], place: int, symbols: int) -> None:
        """All paths still going, with `symbols` new labels, end the frame or take one more."""
        asked = [Question(p.prefix, b, place) for b, e in here.items() for p in e.going]
        # A label just taken may be dropped again, so nothing is asked for its later frames yet.
        answers = iter(self._outlooks.ask(given, asked, ahead=symbols == 0))
        for expansion in here.values():
            outlooks = list(islice(answers, len(expansion.going)))
            expansion.end(outlooks)
            if symbols < self.max_symbols:
                expansion.extend(outlooks, self.beam, self.margin, self.scorer)
