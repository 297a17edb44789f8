"""A session: streams that take audio as it comes, in pushes of any length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from ...compiler.reference.value import frame_shape
from ...compiler.types import Type
from .collect import Collector
from .lowered import Lowered, complete_input
from .pending import Pending
from .step import inner_shape
from .stepmodule import Feed
from .streams import Block, Streams

Ready = Callable[[int], list[bool]]
"""Which streams take a step of so many quanta next."""

Begin = Callable[[Lowered, int, Mapping[str, Tensor], str], Streams]
"""What makes the streams: of a model, how many, with what is given, of which part."""

LONGEST = Fraction(4)
"""At most so many seconds are run as one step where more is waiting."""

LABELS = 64
"""The same in labels, which take no time."""


class Session:
    """A batch of streams of one model, fed by pushes of any number of frames.

    `given` are inputs that are known for whole utterances, or what the model's static part makes
    of them, by name, `[B, ...]`. What does not fill a step waits; where much waits, several steps
    run as one. Each stream's frames depend on its own pushes alone: a stream with too little for
    a step stands still while others move. Memory does not grow with the stream.
    """

    def __init__(
        self,
        lowered: Lowered,
        batch: int = 1,
        given: Mapping[str, Tensor] | None = None,
        part: str = "frames",
        begin: Begin = Streams,
    ) -> None:
        """Raises AsrcError E0303 or E0404 where the model cannot be streamed."""
        step = lowered.step(part)
        wanted = [port.name for port in step.given]
        self.lowered, self.batch = lowered, batch
        self.streams = begin(lowered, batch, utterance_values(lowered, wanted, given), part)
        self.feeds, self.outputs, self.warm_up = step.feeds, step.outputs, step.warm_up
        self.multiples = _multiples(lowered, part)
        ports = (*lowered.parts[part].inputs, *lowered.parts[part].outputs)
        self.types = {p.name: lowered.facts.types[p.path] for p in ports if p.kind == "value"}
        self.ages = [0] * batch
        self.ended = [False] * batch
        self.pushed = {feed.name: [0] * batch for feed in self.feeds}
        self.pending = {feed.name: self._empty(feed) for feed in self.feeds}

    def _empty(self, feed: Feed) -> Pending:
        """A step begins before the stream does: that many frames are there from the start."""
        return Pending(self._zeros(feed.name, -feed.start), [-feed.start] * self.batch)

    def _zeros(self, name: str, count: int) -> Tensor:
        """`count` frames of an input or output, `[B, count, *dims]`."""
        kind, like = self.types[name], self.streams.like
        shape = (self.batch, count, *inner_shape(kind), *frame_shape(kind))
        return like.new_zeros(shape, dtype=torch.int64 if kind.elem == "token" else like.dtype)

    # --- what a user calls ---

    def push(
        self,
        feeds: Mapping[str, Tensor],
        counts: Mapping[str, Sequence[int]] | None = None,
    ) -> dict[str, Block]:
        """More of the inputs, `[B, n, *dims]` by name (`[B, n]` where a frame is one number).

        `n` may be anything, also zero, and an input may be left out: a step runs when it has all
        that it reads. `counts` says how many of the frames belong to each stream, by input; all,
        where it says nothing. Returns the frames that could be made, by output, `[B, m, *dims]`.
        """
        for name, x in feeds.items():
            self._take_in(name, x, (counts or {}).get(name))
        return self._run(self._ready)

    def finish(self, streams: Tensor | None = None) -> dict[str, Block]:
        """The streams (`[B]`, bool; all, if not said) end: the frames that look-ahead still owes.

        Ended streams take no more frames until they `restart`.
        """
        ends = _chosen(streams, self.batch)
        for feed in self.feeds:
            pushed = torch.tensor(self.pushed[feed.name], device=self.streams.age.device)
            ended = torch.tensor(ends, device=pushed.device)
            self.streams.end(feed.name, torch.where(ended, pushed, self.streams.ends[feed.name]))
        self.ended = [a or b for a, b in zip(self.ended, ends, strict=True)]
        last = [self._last_step(stream) for stream in range(self.batch)]
        return self._run(lambda n: self._owing(n, ends, last))

    def restart(self, streams: Tensor | None = None) -> None:
        """The streams (`[B]`, bool; all, if not said) begin anew. What waits of them is lost."""
        anew = _chosen(streams, self.batch)
        self.streams.restart(torch.tensor(anew, device=self.streams.age.device))
        for feed in self.feeds:
            self.pending[feed.name].clear(anew, -feed.start)
            self.pushed[feed.name] = _zeroed(self.pushed[feed.name], anew)
        self.ages = _zeroed(self.ages, anew)
        self.ended = [a and not b for a, b in zip(self.ended, anew, strict=True)]

    # --- steps ---

    def _take_in(self, name: str, x: Tensor, counts: Sequence[int] | None) -> None:
        if name not in self.pending:
            names = ", ".join(f"`{n}`" for n in self.pending)
            raise ValueError(f"no input `{name}` to push; there is {names}")
        pending = self.pending[name]
        if x.ndim == pending.frames.ndim - 1 and self.types[name].size == 1:
            x = x.unsqueeze(-1)
        _check_push(name, x, pending, self.types[name])
        taken = [x.shape[1]] * self.batch if counts is None else list(counts)
        taken = _zeroed(taken, self.ended)
        if x.shape[1] and all(self.ended):
            raise ValueError("the streams have ended: `restart` them before the next push")
        pending.push(x.to(pending.frames.device), taken)
        self.pushed[name] = [a + b for a, b in zip(self.pushed[name], taken, strict=True)]

    def _ready(self, multiple: int) -> list[bool]:
        """Which streams have enough for a step."""
        return [
            not self.ended[b]
            and all(self.pending[f.name].counts[b] >= f.count * multiple for f in self.feeds)
            for b in range(self.batch)
        ]

    def _owing(self, multiple: int, ends: Sequence[bool], last: Sequence[int]) -> list[bool]:
        """Which ended streams have steps left."""
        return [ends[b] and self.ages[b] + multiple <= last[b] for b in range(self.batch)]

    def _last_step(self, stream: int) -> int:
        """How many steps a stream of known length takes."""
        length = max(
            (Fraction(self.pushed[f.name][stream], f.count) for f in self.feeds),
            default=Fraction(0),
        )
        steps = (length - Fraction(out.start, out.count) for out in self.outputs)
        return max((-int(-n // 1) for n in steps), default=0)

    def _run(self, ready: Ready) -> dict[str, Block]:
        """All steps that streams are ready for."""
        nothing = {made.name: self._zeros(made.name, 0) for made in self.outputs}
        collector = Collector(self.outputs, self.streams.age.clone(), nothing)
        while any(ready(1)):
            multiple = self._multiple(ready)
            moving = ready(multiple)
            feeds = {
                f.name: self.pending[f.name].take(f.count * multiple, moving) for f in self.feeds
            }
            mask = None if all(moving) else torch.tensor(moving, device=self.streams.age.device)
            collector.add(self.streams.step(feeds, multiple, mask), moving)
            self.ages = [n + multiple * m for n, m in zip(self.ages, moving, strict=True)]
        return collector.blocks()

    def _multiple(self, ready: Ready) -> int:
        """The most quanta that all streams which can move can take at once."""
        moving = ready(1)
        if min(n for n, moves in zip(self.ages, moving, strict=True) if moves) < self.warm_up:
            return 1
        return next(m for m in self.multiples if ready(m) == moving)


def _multiples(lowered: Lowered, part: str) -> tuple[int, ...]:
    """The steps that a session takes, in quanta, longest first: few, as each is lowered."""
    seconds = lowered.facts.schedule.seconds if part == "frames" else Fraction(0)
    most = max(1, int(LONGEST / seconds)) if seconds else LABELS
    return tuple(m for m in (64, 16, 4, 1) if m <= most)


def utterance_values(
    lowered: Lowered, wanted: Sequence[str], given: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """What steps read of a whole utterance, by the static part where it was not given."""
    values = dict(given or {})
    static = lowered.parts.get("static")
    if static is not None and not values.keys() >= set(wanted):
        for port in static.inputs:
            if port.kind == "value":
                complete_input(values, port.name, lowered.facts.types[port.path])
        with torch.no_grad():
            values |= static(values)
    missing = [name for name in wanted if name not in values]
    if missing:
        raise ValueError(f"`{missing[0]}` is not given: the streams read it")
    return {name: values[name] for name in wanted}


def _chosen(streams: Tensor | None, batch: int) -> list[bool]:
    return [True] * batch if streams is None else [bool(x) for x in streams.tolist()]


def _zeroed(numbers: Sequence[int], streams: Sequence[bool]) -> list[int]:
    return [0 if zero else n for n, zero in zip(numbers, streams, strict=True)]


def _check_push(name: str, x: Tensor, pending: Pending, kind: Type) -> None:
    want = (len(pending.counts), x.shape[1] if x.ndim > 1 else -1, *pending.frames.shape[2:])
    if tuple(x.shape) != want:
        raise ValueError(
            f"a push to `{name}` of type {kind}, {want[0]} streams, cannot be of shape"
            f" {list(x.shape)}"
        )
