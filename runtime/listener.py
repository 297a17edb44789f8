"""A recogniser that listens: samples in as they come, words out as soon as they are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from ..backends.torch.streams import Block
from .decode import BeamDecoder, Hypothesis, Scorer
from .decode.chosen import greedy_decoder
from .running import Recognises
from .samples import Samples


class Heard:
    """What was known at some moment. `final` text will not change; `text` begins with it; `best`
    are the hypotheses, best first.

    All are made when they are asked for: a stream of hours has many labels, and a push few.
    """

    def __init__(
        self,
        spell: Callable[[Sequence[int]], str],
        best: Callable[[], Sequence[Hypothesis]],
        settled: Callable[[], int] | None = None,
    ) -> None:
        self._spell, self._best, self._settled = spell, best, settled

    @cached_property
    def best(self) -> tuple[Hypothesis, ...]:
        return tuple(self._best())

    @cached_property
    def text(self) -> str:
        return self._spell(self.best[0].ids)

    @cached_property
    def final(self) -> str:
        """Without `settled`, everything."""
        return self.text if self._settled is None else self._spelled(self._settled())

    def __repr__(self) -> str:
        return f"Heard(text={self.text!r}, final={self.final!r}, best={self.best!r})"

    def _spelled(self, count: int) -> str:
        return self._spell(self.best[0].ids[:count])


@dataclass(slots=True)
class Effort:
    """Seconds of audio taken in, seconds of computing, and the longest single push of these."""

    audio: float = 0.0
    compute: float = 0.0
    longest: float = 0.0

    @property
    def factor(self) -> float:
        """The real-time factor: below one is faster than speech."""
        return self.compute / self.audio if self.audio else 0.0


class Listener:
    """One stream of a recogniser.

    `beam` of one is greedy decoding; more keeps that many hypotheses, and so does a `scorer` (a
    closed language, a list of phrases), whatever the beam. `seconds` counts the audio of this
    utterance, `effort` that of all. Raises AsrcError E0303 or E0404 where the model cannot be
    streamed.
    """

    def __init__(
        self,
        recogniser: Recognises,
        *,
        beam: int = 1,
        max_symbols: int = 10,
        scorer: Scorer[Any] | None = None,
    ) -> None:
        self.recogniser = recogniser
        self.running = recogniser.run()
        self.effort = Effort()
        self.seconds = 0.0
        self.lookahead: Fraction = Fraction(self.running.clock.lookahead)
        model, clock = self.running.model, self.running.clock
        self.greedy = self.search = None
        if beam == 1 and scorer is None:
            self.greedy = greedy_decoder(model, clock=clock, max_symbols=max_symbols)
        else:
            self.search = BeamDecoder(
                model, clock=clock, beam=beam, max_symbols=max_symbols, scorer=scorer
            )

    def push(self, samples: Samples) -> Heard:
        """Some more audio, `[samples]` or `[channels, samples]`, of any length."""
        start = perf_counter()
        audio = torch.from_numpy(samples)
        audio = audio.view(1, -1, 1) if audio.ndim == 1 else audio.T.unsqueeze(0)
        self._decode(self.running.steps.push({self.running.audio: audio}))
        self._note(samples.shape[-1], perf_counter() - start)
        return self.heard()

    def finish(self) -> Heard:
        """The stream has ended: what look-ahead still owes is decoded."""
        start = perf_counter()
        self._decode(self.running.steps.finish())
        self._note(0, perf_counter() - start)
        return self.heard()

    def restart(self) -> None:
        """A new utterance begins."""
        self.running.steps.restart()
        self.seconds = 0.0
        (self.greedy or self._search).reset()

    @property
    def _search(self) -> BeamDecoder:
        assert self.search is not None
        return self.search

    def _note(self, samples: int, seconds: float) -> None:
        self.seconds += samples / self.recogniser.rate
        self.effort.audio += samples / self.recogniser.rate
        self.effort.compute += seconds
        self.effort.longest = max(self.effort.longest, seconds)

    def _decode(self, blocks: dict[str, Block]) -> None:
        chosen = [blocks[name] for name in self.running.frames]
        frames: dict[str, Tensor] = {
            name: block.data for name, block in zip(self.running.frames, chosen, strict=True)
        }
        if not chosen[0].data.shape[1]:
            return
        there = torch.stack([block.there for block in chosen]).all(0)
        if self.greedy is not None:
            self.greedy.feed(frames, present=there)
        else:
            self._search.feed(frames, present=there)

    def heard(self, count: int = 1) -> Heard:
        """The best hypotheses, best first, and what of the first cannot change any more."""
        spell = self.recogniser.vocabulary.decode
        if self.greedy is not None:
            (one,) = self.greedy.later()
            return Heard(spell, lambda: (one(),))
        (standing,) = self._search.later()
        return Heard(spell, partial(standing.best, count), standing.settled)

    def spell(self, hypothesis: Hypothesis) -> str:
        return self.recogniser.vocabulary.decode(hypothesis.ids)
