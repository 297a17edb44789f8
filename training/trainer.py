"""The training loop: batches, updates, validation, checkpoints; resumed to the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from ..compiler.diagnostics import AsrcError, diagnostic
from . import checkpoint
from .batches import Position, batches_from, share
from .dataset import Batch
from .epochs import EpochCount
from .journal import Sink
from .loading import Loader
from .manifest import Utterance
from .model import Parts, TrainedModel
from .optimise import Updater
from .plan import TrainingData
from .processes import Processes
from .recipe import Recipe
from .scaling import Scaling
from .selection import Selection, Skipped, nothing_left

Validate = Callable[[], dict[str, float]]
"""Scores of the averaged weights; `score` is the one to make small."""


_KEPT = ("transducer", "ctc", "graph", "utterances", "labels", "skipped")
"""The sums that a resumed run goes on with."""


@dataclass
class Progress:
    """Sums since the last line of the journal."""

    transducer: float = 0.0
    ctc: float = 0.0
    graph: float = 0.0
    utterances: int = 0
    labels: int = 0
    seconds: float = 0.0
    skipped: int = 0
    started: float = field(default_factory=monotonic)

    @classmethod
    def restored(cls, sums: Mapping[str, Any]) -> Progress:
        """From a checkpoint; the clock and the seconds of audio are those of this run."""
        return cls(**{name: sums[name] for name in _KEPT if name in sums})

    def sums(self) -> dict[str, float]:
        """For a checkpoint."""
        return {name: getattr(self, name) for name in _KEPT}

    def add(self, totals: list[float]) -> None:
        self.transducer += totals[0]
        self.ctc += totals[1]
        self.graph += totals[2]
        self.utterances += int(totals[3])
        self.labels += int(totals[4])
        self.skipped += int(totals[5])
        self.seconds += totals[6]

    def numbers(self) -> dict[str, float]:
        labels, passed = max(1, self.labels), monotonic() - self.started
        return {
            "loss": self.transducer / labels,
            "ctc": self.ctc / labels,
            "graph": self.graph / max(1, self.utterances),
            "speed": self.seconds / max(passed, 1e-9),
            "skipped": self.skipped,
        }


@dataclass
class Trainer:
    """Trains until the recipe's updates are made.

    `folder` has checkpoints; `best` is called with the averaged weights whenever their score is
    the best so far, and `note_skips` before every checkpoint with all that was left out so far.
    """

    model: TrainedModel
    recipe: Recipe
    data: TrainingData
    processes: Processes
    folder: Path
    validate: Validate
    best: Callable[[], None]
    journals: list[Sink]
    show: Callable[[int, dict[str, float]], None]
    note_skips: Callable[[tuple[Skipped, ...]], object]

    def __post_init__(self) -> None:
        self.updater = Updater(self.model, self.recipe.optimiser)
        self.update = 0
        self.position = Position()
        self.best_score: float | None = None
        self.due = False
        self.progress = Progress()
        self.epoch = EpochCount()
        self.scaling = Scaling(self._half, self.processes.device)
        self.bad = 0

    @property
    def _half(self) -> torch.dtype:
        return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(
            self.recipe.precision, torch.float32
        )

    # --- checkpoints ---

    def resume(self, digests: Sequence[str], say: Callable[[str], None]) -> bool:
        """Go on from the newest whole checkpoint; whether there is one.

        `say` hears of damaged ones.

        Raises AsrcError E1006 where it is of another recipe, model or data.
        """
        found = checkpoint.latest(self.folder, say)
        self.processes.wait()  # all have read what the first may soon settle
        if found is None:
            return False
        if found.digest not in digests:
            message = f"`{self.folder}` has checkpoints of another recipe, model or data"
            raise AsrcError(diagnostic("E1006", message, help="choose another `--out`"))
        self.updater.restore(found.tensors)
        self.scaling.restore(found.tensors)
        self.update, self.position, self.best_score = found.update, found.position, found.best
        self.due, self.progress = found.due, Progress.restored(found.sums)
        return True

    def save(self, digest: str) -> None:
        skipped = self.skipped()
        if self.processes.first:
            self.note_skips(skipped)
            checkpoint.save(self.folder, self._checkpoint(digest), self.recipe.pace.keep)
        self.processes.wait()

    def _checkpoint(self, digest: str) -> checkpoint.Checkpoint:
        tensors = {**self.updater.tensors(), **self.scaling.tensors()}
        sums = self.progress.sums()
        return checkpoint.Checkpoint(
            self.update, self.position, self.best_score, digest, tensors, self.due, sums
        )

    # --- the loop ---

    def run(self, digest: str) -> None:
        """Train to the end.

        Raises AsrcError E1005 where a whole epoch had nothing usable, E1009 where the loss is no
        number any more.
        """
        self._validate(digest)
        pace = self.recipe.pace
        self.progress.started = monotonic()
        last = self.recipe.optimiser.updates
        for position, batch in self._batches():
            if self.epoch.enter(position):
                raise nothing_left(Selection((), self.skipped()))
            if self.update >= last:
                break
            totals = self._step(position, batch)
            self.progress.add(totals)
            self.epoch.usable += int(totals[3])
            self.update += 1
            self.position = self._behind(position)
            if self.update % pace.log == 0:
                self._note(self._numbers())
                self.progress = Progress()
            self.due = self.update % pace.validate == 0 or self.update == last
            if self.due or self.update % pace.save == 0:
                self.save(digest)
            self._validate(digest)

    def _behind(self, position: Position) -> Position:
        """Where a run goes on: all utterances begin with their own first batch."""
        if self.update == self.recipe.beginning.easy:
            return Position()
        return Position(position.epoch, position.batch + 1)

    def skipped(self) -> tuple[Skipped, ...]:
        """What all processes left out so far, in the order of the utterances; all have to ask."""
        for skips in self.processes.gather(self.data.loader.skipped):
            self.data.loader.note(skips.values())
        found = self.data.loader.skipped
        return tuple(found[u.id] for u in self.data.train if u.id in found)

    def _batches(self) -> Iterator[tuple[Position, Batch]]:
        mine = (
            (position, share(batch, self.processes.rank, self.processes.world))
            for position, batch in self._global_batches()
        )
        return self.data.loader.load(mine)

    def _global_batches(self) -> Iterator[tuple[Position, tuple[Utterance, ...]]]:
        """Easy utterances for as long as the recipe says, then all; an update takes a batch."""
        easy, start = max(0, self.recipe.beginning.easy - self.update), self.position
        if easy:
            yield from islice(self._from(start, self.data.easy), easy)
            start = Position()
        yield from self._from(start, self.data.train)

    def _from(
        self, start: Position, utterances: Sequence[Utterance]
    ) -> Iterator[tuple[Position, tuple[Utterance, ...]]]:
        return batches_from(start, utterances, self.data.batching, self.data.length)

    def _step(self, position: Position, batch: Batch) -> list[float]:
        """One update from a global batch; the sums of its parts over all processes."""
        self.model.train()
        batch = (batch if len(batch) else _nothing(self.data.loader)).to(self.processes.device)
        self.model.begin(batch, position.epoch, self.update)
        with self._autocast():
            parts = self.model(batch)
        self.data.loader.note(parts.skipped)
        totals = self.processes.total(_totals(parts, batch, self.data.rate))
        loss = parts.transducer + self.recipe.losses.ctc * parts.ctc + parts.graph
        self.updater.optimiser.zero_grad(set_to_none=True)
        mean = loss / totals[3].clamp(min=1).to(loss.device)
        self.scaling.scaled(mean).backward()  # type: ignore[no-untyped-call]
        self.processes.sum_gradients(self.updater.parameters.values())
        self._apply(position)
        found: list[float] = totals.tolist()
        return found

    def _apply(self, position: Position) -> None:
        self.scaling.undo(self.updater.optimiser)
        finite = self.updater.gradients_are_finite()
        self.scaling.adapt()
        if finite:
            self.updater.apply(self.update)
            self.bad = 0
            return
        self.bad += 1
        if self.bad >= _MOST_BAD:
            message = f"the gradient was no number {self.bad} times in a row, at {position}"
            raise AsrcError(diagnostic("E1009", message, help="a smaller `optimiser.rate`"))

    def _autocast(self) -> AbstractContextManager[object]:
        if self._half == torch.float32:
            return nullcontext()
        return torch.autocast(self.processes.device.type, self._half)

    def _numbers(self) -> dict[str, float]:
        found = self.progress.numbers()
        if not self.model.lowered.facts.graph.losses:
            del found["graph"]
        return found

    def _note(self, numbers: dict[str, float]) -> None:
        if self.processes.first:
            for journal in self.journals:
                journal.note(self.update, numbers)
            self.show(self.update, numbers)

    def _validate(self, digest: str) -> None:
        """Scores of the averaged weights, on the first process, where they are due.

        The checkpoint is there already, so that a validation that fails or is killed loses no
        update; the run that goes on from it begins with the validation.
        """
        if not self.due:
            return
        self.due = False
        if self.processes.first:
            with self.averaged():
                scores = self.validate()
                if self.best_score is None or scores["score"] < self.best_score:
                    self.best_score = scores["score"]
                    self.best()
            self._note({f"dev.{name}": value for name, value in scores.items()})
            checkpoint.settle(self.folder, self._checkpoint(digest))
        self.processes.wait()

    def averaged(self) -> AbstractContextManager[None]:
        """The model with the mean of its weights, for a while."""
        return _Averaged(self.model, self.updater)


_MOST_BAD = 20


class _Averaged:
    def __init__(self, model: TrainedModel, updater: Updater) -> None:
        self.model, self.updater = model, updater

    def __enter__(self) -> None:
        self.own = {n: x.detach().clone() for n, x in self._state().items()}
        self._put(self.updater.average)
        self.model.eval()

    def __exit__(self, *_: object) -> None:
        self._put(self.own)
        self.model.train()

    def _state(self) -> dict[str, Tensor]:
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}

    @torch.no_grad()
    def _put(self, tensors: dict[str, Tensor]) -> None:
        for name, x in self._state().items():
            x.copy_(tensors[name])


def _totals(parts: Parts, batch: Batch, rate: int) -> Tensor:
    values = [
        float(parts.transducer.detach()),
        float(parts.ctc.detach()),
        float(parts.graph.detach()),
        parts.utterances,
        parts.labels,
        len(parts.skipped),
        float(batch.samples.sum()) / rate,
    ]
    return torch.tensor(values, dtype=torch.float64)


def _nothing(loader: Loader) -> Batch:
    """A batch that adds nothing, for a process whose share is empty."""
    channels = loader.dataset.audio.channels
    shape = (1, 1600) if channels == 1 else (1, channels, 1600)
    zero = torch.zeros(1, dtype=torch.int64)
    return Batch(torch.zeros(shape), zero, torch.zeros((1, 0), dtype=torch.int64), zero, ("",))
