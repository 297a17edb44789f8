"""Batches are made in the background while the one before is trained on.

By threads: libsndfile, libsoxr and NumPy work outside of Python's lock, a thread's error arrives
with its cause, and nothing has to be copied between processes or survive a fork.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

from ..compiler.diagnostics import AsrcError, diagnostic
from .batches import Position
from .dataset import Batch, Dataset, Example, collate
from .manifest import Utterance
from .selection import Skipped, count_reasons

Work = tuple[Position, list[Future[Example | Skipped]]]


@dataclass
class Loader:
    """Makes the batches of a dataset with `workers` threads, at most `ahead` of them early.

    `skipped` has every utterance of these batches that could not be used, once; the others of its
    batch are trained on. Neither `workers` nor `ahead` changes a batch.
    """

    dataset: Dataset
    workers: int = 1
    ahead: int = 4
    skipped: dict[str, Skipped] = field(default_factory=dict)

    @property
    def report(self) -> str:
        """`skipped: 2 audio cannot be used`, or the empty string."""
        return f"skipped: {count_reasons(self.skipped.values())}" if self.skipped else ""

    def load(
        self, batches: Iterable[tuple[Position, tuple[Utterance, ...]]]
    ) -> Iterator[tuple[Position, Batch]]:
        """Each batch with its position, in order.

        Raises AsrcError E1001 with the utterance's id where anything but the utterance is wrong.
        """
        with closing(self._made(batches)) as made:
            for position, results in made:
                yield position, self._batch(results)

    def note(self, skips: Iterable[Skipped]) -> None:
        """More utterances that could not be used, each with one reason, whatever the order."""
        for skip in skips:
            known = self.skipped.get(skip.id, skip)
            self.skipped[skip.id] = min(known, skip, key=lambda one: (one.reason, one.detail))

    def _made(
        self, batches: Iterable[tuple[Position, tuple[Utterance, ...]]]
    ) -> Generator[tuple[Position, list[Example | Skipped]], None, None]:
        pool = ThreadPoolExecutor(max(1, self.workers), "batches")
        waiting: deque[Work] = deque()
        try:
            for position, utterances in batches:
                futures = [pool.submit(self._example, u, position.epoch) for u in utterances]
                waiting.append((position, futures))
                if len(waiting) > self.ahead:
                    yield _finished(waiting.popleft())
            while waiting:
                yield _finished(waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _example(self, utterance: Utterance, epoch: int) -> Example | Skipped:
        try:
            return self.dataset.example(utterance, epoch)
        except AsrcError as error:
            raise _blamed(utterance, error.diagnostics[0].message) from error
        except Exception as error:
            raise _blamed(utterance, f"{type(error).__name__}: {error}") from error

    def _batch(self, results: list[Example | Skipped]) -> Batch:
        self.note(result for result in results if isinstance(result, Skipped))
        return collate([result for result in results if isinstance(result, Example)])


def _finished(work: Work) -> tuple[Position, list[Example | Skipped]]:
    position, futures = work
    return position, [future.result() for future in futures]


def _blamed(utterance: Utterance, reason: str) -> AsrcError:
    message = f"the utterance `{utterance.id}` cannot be prepared: {reason}"
    return AsrcError(diagnostic("E1001", message))
