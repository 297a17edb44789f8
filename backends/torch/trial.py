"""What the contract is tried on: random utterances, a batch of them whole and in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from ...compiler.facts import Facts
from .examples import Length, random_inputs
from .lowered import Lowered, complete
from .modes import evaluating
from .session import Session
from .streams import Block

LIMITS = {torch.float64: 1e-9, torch.float32: 1e-4}
"""The largest relative difference that rounding may make."""

Values = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check of the contract found: the largest relative difference, at most `limit` where
    all is well; else `words` say what differs."""

    check: str
    worst: float
    limit: float
    words: str = ""

    @property
    def ok(self) -> bool:
        return not self.words


@dataclass(frozen=True)
class Trial:
    """A model with weights, and random utterances from a seed; everything else follows."""

    lowered: Lowered
    lengths: tuple[Length, ...]
    seed: int = 0

    @staticmethod
    def of(lowered: Lowered, seed: int = 0) -> Trial:
        """Utterances long enough for several steps, and one too short for a frame."""
        return Trial(lowered, usual_lengths(lowered.facts), seed)

    @property
    def limit(self) -> float:
        return LIMITS.get(self.lowered.like.dtype, 2e-2)

    @property
    def parts(self) -> list[str]:
        """Those that run as streams."""
        return [part for part in ("frames", "labels") if part in self.lowered.parts]

    @cached_property
    def inputs(self) -> Values:
        return random_inputs(self.lowered.facts, self.lengths, self.seed, self.lowered.like.dtype)

    @cached_property
    def values(self) -> Values:
        """Inputs and outputs of the whole utterances, padded with zeros."""
        return self.run(self.inputs)

    def run(self, inputs: Mapping[str, Tensor]) -> Values:
        with torch.no_grad(), evaluating(self.lowered):
            facts = self.lowered.facts
            moved = {name: x.to(self.lowered.like.device) for name, x in inputs.items()}
            found: Values = self.lowered(moved)
            return complete(facts.graph, facts.types, moved) | found

    def random(self, *what: int) -> torch.Generator:
        """Random numbers of one check."""
        return torch.Generator().manual_seed(hash((self.seed, *what)) % 2**63)


def usual_lengths(facts: Facts) -> tuple[Length, ...]:
    schedule = facts.schedule
    ahead = max(facts.lookahead(p) or Fraction(0) for p in facts.graph.outputs.values())
    longest = max(8 * schedule.seconds + 2 * ahead, Fraction(3)) + Fraction(123, 10_000)
    return (
        Length(longest, 7),
        Length(longest * Fraction(7, 10), 4),
        Length(Fraction(11, 1000), 1),
    )


# --- differences ----------------------------------------------------------------------------


def difference(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest number wanted; infinite where one is not
    finite or shapes differ."""
    if found.shape != wanted.shape:
        return float("inf")
    if not wanted.numel():
        return 0.0
    found, wanted = found.detach(), wanted.detach()  # a parameter may be an output
    gap = (found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-6)
    return float(gap) if bool(torch.isfinite(gap)) else float("inf")


@dataclass
class Differences:
    """Gathers differences by the name of the value."""

    check: str
    limit: float
    worst: float = 0.0
    words: str = ""

    def add(self, name: str, found: Tensor, wanted: Tensor, where: str) -> None:
        gap = difference(found, wanted)
        if not gap <= self.limit and not self.words:
            self.words = f"`{name}` {_gap_words(found, wanted, gap)} {where}"
        self.worst = max(self.worst, gap)

    def fail(self, words: str) -> None:
        self.worst, self.words = float("inf"), self.words or words

    def finding(self) -> Finding:
        return Finding(self.check, self.worst, self.limit, self.words)


def _gap_words(found: Tensor, wanted: Tensor, gap: float) -> str:
    if found.shape != wanted.shape:
        return f"has {len(found)} frames instead of {len(wanted)}"
    if gap == float("inf"):
        return "is not a number"
    apart = (found - wanted).abs().flatten(1).amax(1) if wanted.ndim > 1 else (found - wanted).abs()
    return f"differs by {gap:.1e} at frame {int(apart.argmax())}"


def utterance(values: Mapping[str, Tensor], name: str, row: int) -> Tensor:
    """One utterance's frames of a value, without padding."""
    x = values[name][row]
    length = values.get(f"{name}_length")
    return x if length is None else x[: int(length[row])]


# --- streams --------------------------------------------------------------------------------


@dataclass
class Received:
    """What came out of a session, stream by stream; frames must come in order, each once."""

    rows: dict[str, list[list[Tensor]]]
    next: dict[str, list[int]] = field(default_factory=dict)
    words: str = ""

    @staticmethod
    def of(session: Session) -> Received:
        found = Received({made.name: [[]] * session.batch for made in session.outputs})
        found.next = {name: [0] * session.batch for name in found.rows}
        found.take(session.push({}))
        return found

    def take(self, blocks: Mapping[str, Block]) -> None:
        for name, block in blocks.items():
            for stream, there in enumerate(block.there):
                self._take(name, stream, block, torch.nonzero(there)[:, 0])

    def _take(self, name: str, stream: int, block: Block, places: Tensor) -> None:
        first, count = self.next[name][stream], len(places)
        wanted = torch.arange(first, first + count, device=places.device)
        if not torch.equal(block.first[stream] + places, wanted) and not self.words:
            self.words = f"`{name}` does not come frame after frame: {first} is not next"
        self.rows[name][stream] = [*self.rows[name][stream], block.data[stream][places]]
        self.next[name][stream] += count

    def whole(self, name: str, stream: int) -> Tensor:
        return torch.cat(self.rows[name][stream])

    def clear(self, stream: int) -> None:
        for name, rows in self.rows.items():
            rows[stream], self.next[name][stream] = [rows[stream][0][:0]], 0


Push = dict[str, tuple[int, int]]
"""From where to where of each input is pushed at once."""


def pushes(session: Session, values: Mapping[str, Tensor], sizes: Iterator[int]) -> Iterator[Push]:
    """All of the inputs in pieces; sizes are in turn for each, inputs of one rate in step."""
    at = {feed.name: 0 for feed in session.feeds}
    width = {name: values[name].shape[1] for name in at}
    while any(at[name] < width[name] for name in at):
        piece: Push = {}
        for name, begin in at.items():
            at[name] = min(width[name], begin + next(sizes))
            piece[name] = begin, at[name]
        yield piece


def push(session: Session, values: Mapping[str, Tensor], piece: Push) -> dict[str, Block]:
    """Each stream has as many of the frames as its utterance is long."""
    feeds = {name: values[name][:, a:b] for name, (a, b) in piece.items()}
    counts = {
        name: [max(0, min(int(length), b) - a) for length in values[f"{name}_length"]]
        for name, (a, b) in piece.items()
    }
    return session.push(feeds, counts)


def streamed(trial: Trial, part: str, sizes: Iterator[int]) -> Received:
    """The trial's utterances in pieces."""
    values = trial.values
    session = Session(trial.lowered, len(trial.lengths), values, part)
    received = Received.of(session)
    for piece in pushes(session, values, sizes):
        received.take(push(session, values, piece))
    received.take(session.finish())
    return received


def compare(gaps: Differences, received: Received, values: Values, where: str) -> None:
    """Streams against whole utterances."""
    if received.words:
        gaps.fail(f"{received.words}, {where}")
    for name, rows in received.rows.items():
        for row in range(len(rows)):
            gaps.add(name, received.whole(name, row), utterance(values, name, row), where)


def drawn(choices: Sequence[int], source: torch.Generator) -> Iterator[int]:
    """Sizes at random."""
    while True:
        yield choices[int(torch.randint(len(choices), (), generator=source))]
