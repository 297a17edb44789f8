"""What the model says will follow a prefix at a frame: asked for many at once, and remembered."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .block import Block
from .prefix import Prefix, Scorer
from .protocol import Frames, State, Transducer
from .state import index, join, split


class Outlook(NamedTuple):
    """Log-probability of blank, and the best labels with theirs (a scorer's part added)."""

    blank: float
    labels: list[tuple[int, float]]


class Question(NamedTuple):
    """Which prefix, and which frame: a stream and a place among its frames in the block."""

    prefix: Prefix
    stream: int
    place: int


class Outlooks:
    """Runs the predictor once a prefix and the joint over `window` frames at a time.

    Remembers predictor outputs of prefixes, also of those that were considered and dropped: the
    same label is often considered at several frames before it is taken.
    """

    def __init__(
        self, model: Transducer, labels: int, window: int, scorer: Scorer[Any] | None = None
    ) -> None:
        self.model = model
        self.labels = labels
        self.window = window
        self.scorer = scorer
        self._predicted: dict[Prefix, tuple[Tensor, State]] = {}
        self._known: dict[Prefix, dict[int, Outlook]] = {}

    def roots(self, count: int) -> list[Prefix]:
        """Empty prefixes for `count` streams."""
        known = None if self.scorer is None else self.scorer.start()
        roots = [Prefix(known=known) for _ in range(count)]
        self._remember(roots, *self.model.predictor_start(count))
        return roots

    def next_block(self) -> None:
        """Frames are new: forget what was said about the last ones."""
        self._known.clear()

    def keep(self, prefixes: Collection[Prefix]) -> None:
        """Forget all prefixes but these and their children, once there are many."""
        if len(self._predicted) <= 16 * len(prefixes):
            return
        rows = self._predicted.items()
        kept = {p: row for p, row in rows if p in prefixes or p.parent in prefixes}
        if len(kept) > 8 * len(prefixes):  # a long silence: ever more labels were considered
            kept = {p: row for p, row in kept.items() if p in prefixes}
        self._predicted = kept
        self._known = {p: said for p, said in self._known.items() if p in kept}

    def ask(self, block: Block, questions: list[Question], ahead: bool) -> list[Outlook]:
        """The outlook for each question; no prefix may be asked about earlier frames later on.

        `ahead`: the same will be asked about the frames that follow.
        """
        unknown = [q for q in questions if q.place not in self._known.get(q.prefix, ())]
        if unknown:
            self._predict(q.prefix for q in unknown)
            self._look(block, unknown, self.window if ahead else 1)
        return [self._known[q.prefix][q.place] for q in questions]

    def _predict(self, prefixes: Iterable[Prefix]) -> None:
        new = [p for p in prefixes if p not in self._predicted]
        if not new:
            return
        before = [self._predicted[p.parent] for p in new if p.parent is not None]
        tokens = index([p.label for p in new], before[0][0])
        self._remember(new, *self.model.predictor_step(tokens, join([row[1] for row in before])))

    def _remember(self, prefixes: list[Prefix], outputs: Tensor, state: State) -> None:
        rows = zip(outputs.unbind(0), split(state, len(prefixes)), strict=True)
        self._predicted.update(zip(prefixes, rows, strict=True))

    def _look(self, block: Block, questions: list[Question], window: int) -> None:
        spans = [block.rows[q.stream][q.place :][:window] for q in questions]
        frames = block.take([row for span in spans for row in span])
        owners = [i for i, span in enumerate(spans) for _ in span]
        outputs = torch.stack([self._predicted[q.prefix][0] for q in questions])
        outlooks = iter(self._outlooks(self._joint(frames, outputs, owners), questions, owners))
        for q, span in zip(questions, spans, strict=True):
            self._known[q.prefix] = {q.place + i: next(outlooks) for i in range(len(span))}

    def _joint(self, frames: Frames, outputs: Tensor, owners: list[int]) -> Tensor:
        heads = self.model.joint(frames, outputs.index_select(0, index(owners, outputs)))
        if not isinstance(heads, Tensor):
            raise ValueError("beam search does not decode token-and-duration transducers")
        return heads

    def _outlooks(
        self, heads: Tensor, questions: list[Question], owners: list[int]
    ) -> list[Outlook]:
        labels = heads[:, :-1]
        if self.scorer is not None:
            extra = self.scorer.scores([q.prefix.known for q in questions]).to(labels)
            labels = labels + extra.index_select(0, index(owners, extra))
        scores, best = labels.topk(min(self.labels, labels.shape[1]))
        rows = zip(heads[:, -1].tolist(), best.tolist(), scores.tolist(), strict=True)
        return [Outlook(blank, list(zip(b, s, strict=True))) for blank, b, s in rows]
