"""Whether an epoch had anything to train on, told alike by any number of processes."""

from __future__ import annotations

from dataclasses import dataclass

from .batches import Position


@dataclass
class EpochCount:
    """The utterances of the present epoch that were of use, by the sums over all processes.

    Only an epoch that was seen from its first batch to its last says something: the rest of one,
    behind a checkpoint, may well be a single broken file.
    """

    usable: int = 0
    whole: bool = False
    at: Position | None = None

    def enter(self, position: Position) -> bool:
        """Go on to a batch; whether it ends a whole epoch without any usable utterance."""
        ended = self.at is not None and position == Position(self.at.epoch + 1)
        in_vain = ended and self.whole and not self.usable
        if not position.batch:
            self.usable, self.whole = 0, True
        self.at = position
        return in_vain
