"""Streams that share a batch, each with utterances of its own, held to those utterances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .session import Session
from .trial import Differences, Received, Trial, Values, utterance


@dataclass
class Slots:
    """Stream `b` is at frame `at[name][b]` of utterance `b` of round `round[b]`."""

    session: Session
    rounds: Sequence[Values]
    gaps: Differences
    received: Received
    round: list[int]
    at: dict[str, list[int]]

    @staticmethod
    def of(trial: Trial, part: str, rounds: Sequence[Values], gaps: Differences) -> Slots:
        batch = len(trial.lengths)
        session = Session(trial.lowered, batch, trial.values, part)
        at = {feed.name: [0] * batch for feed in session.feeds}
        return Slots(session, rounds, gaps, Received.of(session), [0] * batch, at)

    @property
    def done(self) -> bool:
        return all(number == len(self.rounds) for number in self.round)

    def push(self, size: int) -> None:
        """So many frames of each input in each stream, fewer where an utterance ends."""
        feeds, counts = {}, {}
        for name in self.at:
            rows = [self._next(name, stream, size) for stream in range(self.session.batch)]
            counts[name] = [len(row) for row in rows]
            feeds[name] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        self.received.take(self.session.push(feeds, counts))
        ended = torch.tensor([self._has_ended(stream) for stream in range(self.session.batch)])
        if ended.any():
            self.received.take(self.session.finish(ended))
            self._compare(ended, whole=True)

    def leave(self, streams: Tensor) -> None:
        """Streams (`[B]`, bool) that drop their utterance where it is."""
        streams = streams & torch.tensor([number < len(self.rounds) for number in self.round])
        if streams.any():
            self._compare(streams, whole=False)

    def _next(self, name: str, stream: int, size: int) -> Tensor:
        if self.round[stream] == len(self.rounds):
            return self.rounds[0][name][stream, :0]
        frames = utterance(self.rounds[self.round[stream]], name, stream)
        begin = self.at[name][stream]
        self.at[name][stream] = min(len(frames), begin + size)
        return frames[begin : self.at[name][stream]]

    def _has_ended(self, stream: int) -> bool:
        number = self.round[stream]
        return number < len(self.rounds) and all(
            at[stream] == len(utterance(self.rounds[number], name, stream))
            for name, at in self.at.items()
        )

    def _compare(self, streams: Tensor, whole: bool) -> None:
        """What came against the utterance, or against its beginning; then the next utterance."""
        if self.received.words:
            self.gaps.fail(self.received.words)
        for stream in torch.nonzero(streams)[:, 0].tolist():
            values = self.rounds[self.round[stream]]
            for name in self.received.rows:
                found = self.received.whole(name, stream)
                wanted = utterance(values, name, stream)
                where = f"in stream {stream}, round {self.round[stream]}"
                self.gaps.add(name, found, wanted if whole else wanted[: len(found)], where)
            self._begin(stream)
        self.session.restart(streams)

    def _begin(self, stream: int) -> None:
        self.round[stream] += 1
        self.received.clear(stream)
        for at in self.at.values():
            at[stream] = 0
