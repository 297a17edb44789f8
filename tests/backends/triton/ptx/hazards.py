"""Which of two threads comes first, where both touch a place in memory and one of them writes.

Threads of one warp go together; those of a block wait for each other at a barrier; blocks wait for
nobody but by an atomic operation that releases what was done before it to whoever then acquires
it. Each place remembers who wrote it last and who read it since, and in which epoch of its block,
which counts barriers. A write that changes nothing races with nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Stamps = NDArray[np.int64]
Flags = NDArray[np.bool_]
WARP, EPOCH, BLOCK = 8, 24, 31
"""Bits of a stamp: the warp in its block, the epoch, the block and one."""
MANY = (1 << WARP) - 1
"""In the place of a warp: several of them."""
ALL = (1 << BLOCK) - 1
"""In the place of a block and one."""


class Race(Exception):
    """Two threads, and nothing that says which is first."""


Known = Callable[[Stamps, Stamps], Flags]
"""Whether each of some blocks' epochs is known to have ended to the one that asks."""


@dataclass(frozen=True)
class Who:
    """Lanes at an instruction: their blocks, epochs, and numbers in the block; which are `early`,
    for which the kernels before this one may still run; None is none."""

    block: Stamps
    epoch: Stamps
    thread: Stamps
    known: Known | None = None
    early: Flags | None = None

    @property
    def warp(self) -> Stamps:
        return self.thread >> 5

    @property
    def stamps(self) -> Stamps:
        return stamps(self.block, self.epoch, self.warp)


def stamps(block: Stamps, epoch: Stamps, warp: Stamps | int) -> Stamps:
    return (block + 1) << (EPOCH + WARP) | epoch << WARP | warp


@dataclass
class Shadow:
    """Who wrote and who read each granule of a memory."""

    writer: Stamps
    reader: Stamps
    granule: int
    name: str

    @staticmethod
    def blank(size: int, granule: int, name: str) -> Shadow:
        none = np.zeros(-(-size // granule), np.int64)
        return Shadow(none, none.copy(), granule, name)

    def read(self, at: Stamps, size: int, who: Who) -> None:
        index, own = self._granules(at, size), np.repeat(who.stamps, self._count(size))
        if self._unordered(self.writer[index], own, who).any():
            raise Race(f"{self.name} memory is read that another thread may not have written yet")
        self._remember(index, own)

    def write(self, at: Stamps, size: int, who: Who, same: Flags, kept: Flags) -> None:
        """`same` is where a write changes nothing, `kept` where it is what is there afterwards. Of
        lanes of one warp one wins; sums that they exchanged may differ in the last bit."""
        if not kept.all():
            places = (at << 20 | who.block) << WARP | who.warp
            kept = kept | np.isin(places, places[kept])
        if same.all():
            return
        count = self._count(size)
        changed = np.repeat(~same, count)
        index = self._granules(at, size)[changed]
        own, lost = np.repeat(who.stamps, count)[changed], np.repeat(~kept, count)[changed]
        if self._unordered(self.writer[index], own, who).any():
            raise Race(f"two threads write to one place of {self.name} memory")
        if self._late(index, own, who).any():
            raise Race(f"{self.name} memory is written that another thread may still read")
        self.writer[index] = own
        if ((self.writer[index] != own) & lost).any():
            raise Race(f"two threads write to one place of {self.name} memory")

    def _late(self, index: Stamps, own: Stamps, who: Who) -> Flags:
        """Where another thread may read after a write. Threads with the same numbers all read what
        one of them then writes to global memory; who runs them in every order sees whether that
        matters, so that only blocks are held to it."""
        before = self.reader[index]
        found = self._unordered(before, own, who)
        return found if self.name == "shared" else found & (_block(before) != _block(own))

    def _count(self, size: int) -> int:
        return max(1, -(-size // self.granule))

    def _granules(self, at: Stamps, size: int) -> Stamps:
        first, count = at // self.granule, self._count(size)
        return first if count == 1 else (first[:, None] + np.arange(count)).ravel()

    def _remember(self, index: Stamps, own: Stamps) -> None:
        """Of readers in different epochs the last; of several warps in one, that there were."""
        before = self.reader[index]
        if (before == own).all():
            return
        other = (before >> WARP != own >> WARP) & (before != 0)
        apart = other & (_block(before) != _block(own))
        again = (before >> WARP == own >> WARP) & (before & MANY != own & MANY)
        noted = np.where(again, own | MANY, own)
        noted = np.where(apart, own | ALL << (EPOCH + WARP) | MANY, noted)
        self.reader[index] = noted
        self._meet(index, noted)

    def _meet(self, index: Stamps, noted: Stamps) -> None:
        """Lanes of one instruction may have read one place: the last of them is remembered now."""
        kept = self.reader[index]
        if (lost := kept != noted).any():
            blocks = lost & (_block(kept) != _block(noted))
            self.reader[index[lost]] = noted[lost] | MANY
            self.reader[index[blocks]] = noted[blocks] | ALL << (EPOCH + WARP) | MANY

    def _unordered(self, before: Stamps, own: Stamps, who: Who) -> Flags:
        """Where an access was by another thread, and need not have come before."""
        some = before != 0
        if not some.any():
            return some
        same = _block(before) == _block(own)
        now = (before >> WARP == own >> WARP) & (before & MANY != own & MANY)
        found = some & np.where(same, now, True)
        if who.known and (other := found & ~same).any():
            epochs = before >> WARP & ((1 << EPOCH) - 1)
            found &= ~(other & who.known(_block(before) - 1, epochs))
        return found


def _block(stamp: Stamps) -> Stamps:
    return stamp >> (EPOCH + WARP)
