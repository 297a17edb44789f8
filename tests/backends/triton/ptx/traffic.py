"""What goes between threads and memory, counted as a GPU moves it.

Global memory comes in sectors of 32 bytes: a warp's instruction asks for each that any of its
threads needs, once. Shared memory has 32 banks of 4 bytes: threads that want different words of one
bank are served one after the other; words of 8 or 16 bytes are served to 16 or 8 threads at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .hazards import Stamps, Who

SECTOR, BANKS = 32, 32


@dataclass
class Traffic:
    """`asked` sectors by all warps, of which `wanted` bytes are used; `sectors` that are touched at
    all, by launch; `passes` of shared memory, of which there had to be `fewest`."""

    asked: int = 0
    wanted: int = 0
    passes: int = 0
    fewest: int = 0
    touched: list[set[int]] = field(default_factory=list)

    @property
    def sectors(self) -> int:
        return sum(map(len, self.touched))

    def begin(self) -> None:
        """Of another launch."""
        self.touched.append(set())

    def note(self, name: str, at: Stamps, size: int, who: Who) -> None:
        """An access by some lanes, `size` bytes each."""
        warp = who.block << 6 | who.warp
        if name == "shared":
            self._passes(at // 4, size, warp << 2 | (who.thread & 31) * size // 128)
        else:
            sector = at // SECTOR
            self.asked += len(np.unique(warp << 32 | sector))
            self.wanted += len(at) * size
            self.touched[-1].update(np.unique(sector).tolist())

    def _passes(self, word: Stamps, size: int, group: Stamps) -> None:
        """Each group of threads that are served at once, as often as its busiest bank has words."""
        every = (word[:, None] + np.arange(max(1, size // 4))).ravel()
        of = np.repeat(group, max(1, size // 4))
        pairs = np.unique(np.stack([of, every]), axis=1)
        groups, index = np.unique(pairs[0], return_inverse=True)
        busy = np.bincount(index * BANKS + pairs[1] % BANKS, minlength=len(groups) * BANKS)
        self.passes += int(busy.reshape(-1, BANKS).max(1).sum())
        self.fewest += len(groups)
