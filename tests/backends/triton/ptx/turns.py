"""What blocks know of each other, which wait for each other by atomic operations.

An atomic operation that releases leaves at its address what its block has done up to its last
barrier; a load that acquires takes that along, for all threads from the block's next barrier on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .arithmetic import Array
from .hazards import Flags, Known, Stamps
from .lanes import Lanes

Clock = dict[int, int]
"""The last epoch that is known of each block."""


@dataclass
class Turns:
    """`progress` counts what may let somebody else go on."""

    progress: int = 0
    of_blocks: dict[int, Clock] = field(default_factory=dict)
    soon: dict[int, Clock] = field(default_factory=dict)
    at_places: dict[int, Clock] = field(default_factory=dict)

    def known(self, block: int) -> Known:
        def asked(blocks: Stamps, epochs: Stamps) -> Flags:
            clock = self.of_blocks.get(block, {})
            last = np.array([clock.get(int(one), -1) for one in blocks], np.int64)
            return epochs <= last

        return asked

    def atomic(self, at: Array, lanes: Lanes, how: str) -> None:
        """`relaxed`, `release`, `acquire` or `acq_rel`."""
        if how in ("acquire", "acq_rel"):
            self.acquire(at, lanes)
        if how not in ("release", "acq_rel"):
            return
        block, epoch = int(lanes.blocks[0]), int(lanes.epochs[0])
        own = {**self.of_blocks.get(block, {}), block: epoch - 1}
        for place in set(at.tolist()):
            _join(self.at_places.setdefault(place, {}), own)

    def acquire(self, at: Array, lanes: Lanes) -> None:
        for place in set(at.tolist()):
            _join(self.soon.setdefault(int(lanes.blocks[0]), {}), self.at_places.get(place, {}))

    def barrier(self, lanes: Lanes) -> None:
        block = int(lanes.blocks[0])
        _join(self.of_blocks.setdefault(block, {}), self.soon.pop(block, {}))


def _join(clock: Clock, other: Clock) -> None:
    for block, epoch in other.items():
        clock[block] = max(epoch, clock.get(block, -1))
