"""Greedy decoding with the kernels of `backends.triton`: the host reads once a block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ...backends.triton.decoding import SlotPredictor
from ...backends.triton.kernels.greedy import Found, Joint, Plan, Streams, decode
from ...backends.triton.packed import shape_of
from ..transducer import LoweredTransducer
from .hypothesis import Clock, Hypothesis, Token
from .protocol import Frames
from .state import index, marked

FRAMES_A_LABEL = 2
"""A block has room for one label in so many frames of a stream."""


class KernelDecoder:
    """As `GreedyDecoder`, for a model whose joint is `joint`; see `joint_of`.

    Labels are found, and absent frames left out, on the device. What was found comes to the host
    once a block; where a stream has more labels than there is room for, the block is gone on with
    and the host reads once more. `window` is 1, 2, 4, 8 or 16.
    """

    def __init__(
        self,
        model: LoweredTransducer,
        joint: Joint,
        *,
        batch: int = 1,
        clock: Clock | None = None,
        max_symbols: int = 10,
        window: int = 8,
    ) -> None:
        if min(batch, max_symbols, window) < 1:
            raise ValueError("batch, max_symbols and window are at least 1")
        self.model, self.joint = model, joint
        self.clock = clock or Clock()
        self.plan = Plan(per_frame=max_symbols, window=window)
        self.predictor = SlotPredictor(model.lowered, batch, model.given)
        self._tokens: list[list[Token]] = [[] for _ in range(batch)]
        self._scores = [0.0] * batch
        self._streams = Streams.room(batch, model.like.expand(shape_of(joint.weight)[1]))
        self.reset()

    @torch.no_grad()
    def feed(
        self,
        frames: Frames | Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        present: Tensor | None = None,
    ) -> list[list[Token]]:
        """Decode one more block of encoder frames [batch, frames, D]; the new labels by stream.

        As `GreedyDecoder.feed`, except that `lengths` on a device are not looked at: where one is
        beyond the block, it is the block's. Raises ValueError for shapes that do not fit together.
        """
        e, ends = self._block(frames, lengths, present)
        old = [len(tokens) for tokens in self._tokens]
        room = max(1, -(-e.shape[1] // FRAMES_A_LABEL))
        found = Found.room(len(old), room, e.device)
        while not self._note(self._decoded(e, ends, found), ends):
            found = found.emptied()
        return [tokens[count:] for tokens, count in zip(self._tokens, old, strict=True)]

    def hypotheses(self) -> list[Hypothesis]:
        """Everything found so far, by stream; the score is that of the one alignment followed."""
        return [made() for made in self.later()]

    def later(self) -> list[Callable[[], Hypothesis]]:
        """See `GreedyDecoder.later`."""
        pairs = zip(self._tokens, self._scores, strict=True)
        return [partial(_so_far, tokens, len(tokens), score) for tokens, score in pairs]

    @torch.no_grad()
    def reset(self, streams: Tensor | Sequence[bool] | None = None) -> None:
        """Begin anew: all streams, or those marked in `streams` [batch]."""
        chosen = marked(streams, len(self._tokens))
        if not chosen:
            return
        self._streams.of(index(chosen, self._streams.slots)).begin(self.predictor)
        for b in chosen:
            self._tokens[b], self._scores[b] = [], 0.0

    def _block(
        self,
        frames: Frames | Tensor,
        lengths: Tensor | Sequence[int] | None,
        present: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Frames [batch, frames, D], those that are there first, and how many they are [batch]."""
        e = frames if isinstance(frames, Tensor) else frames[self.model.roles.frames[0]]
        batch, count = e.shape[:2]
        if batch != len(self._tokens):
            raise ValueError(f"{batch} streams fed, {len(self._tokens)} expected")
        if present is None:
            return e, _ends(e, [count] * batch if lengths is None else lengths)
        if lengths is not None:
            raise ValueError("either lengths or present, not both")
        if present.shape != (batch, count):
            raise ValueError(f"presence is {list(present.shape)}, the frames [{batch}, {count}]")
        order = present.logical_not().int().argsort(dim=1, stable=True)
        return e.gather(1, order.unsqueeze(-1).expand_as(e)), present.sum(1)

    def _decoded(self, e: Tensor, ends: Tensor, found: Found) -> Found:
        return decode(e, ends, self.predictor, self.joint, self._streams, found, self.plan)

    def _note(self, found: Found, ends: Tensor) -> bool:
        """Brings what was found to the host, in one transfer; whether all frames were read."""
        most, scores = found.labels.shape[1], self._streams.scores[:-1]
        once = torch.stack([(found.read < ends).double(), found.counts.double(), scores], 1)
        wide = (x.double() for x in (found.labels, found.frames, found.scores))
        rows: list[list[float]] = torch.cat([once, *wide], 1).tolist()
        for b, (_, count, score, *rest) in enumerate(rows):
            columns = (rest[first:][: int(count)] for first in (0, most, 2 * most))
            self._tokens[b] += [self._token(*one) for one in zip(*columns, strict=True)]
            self._scores[b] = score
        return not any(row[0] for row in rows)

    def _token(self, label: float, frame: float, score: float) -> Token:
        return Token(int(label), int(frame), self.clock.seconds(int(frame)), score)


def _so_far(tokens: Sequence[Token], count: int, score: float) -> Hypothesis:
    """Of the first tokens: more are added, none is changed."""
    return Hypothesis(tuple(tokens[:count]), score)


def _ends(e: Tensor, lengths: Tensor | Sequence[int]) -> Tensor:
    """Lengths on the device of the frames. Those of the host are looked at."""
    batch, count = e.shape[:2]
    ends = torch.as_tensor(lengths)
    wrong = ends.device.type == "cpu" and any(not 0 <= n <= count for n in ends.tolist())
    if len(ends) != batch or wrong:
        raise ValueError(f"lengths {ends.tolist()} for {batch} streams of {count} frames")
    return ends.to(e.device).clamp(0, count)
