"""Threads of some blocks, side by side: their registers, shared memory, and where each of them is.

A register is an array with a number for each thread, or with one for all. Threads that stand at
different places of the program go on from the first of these, so that they meet where paths join.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .arithmetic import UNSIGNED, Array, size_of
from .hazards import Known, Who
from .memory import Memory
from .program import Immediate, Operand, Program, Register

Mask = NDArray[np.bool_]
Count = NDArray[np.int64]
DONE = 1 << 30
WHOLE = slice(None)


@dataclass
class Copy:
    """One that is under way: words for each of some lanes, and in which of its groups they are."""

    lanes: Count
    address: Array
    words: list[Array]
    groups: Count


@dataclass
class Lanes:
    """`blocks` are numbers of the blocks, `at` the places of their threads, `epochs` how many
    barriers each block has passed. In the order of 0 all warps go together, in that of 1 the first
    goes on up to a barrier before the second does, in that of -1 the last before those. `early` are
    those that have not waited for the kernels before this one, if it may begin before they end."""

    program: Program
    blocks: Count
    threads: int
    indices: tuple[Count, Count, Count]
    shared: Memory
    known: Known | None = None
    order: int = 0
    registers: dict[str, Array] = field(default_factory=dict)
    at: Count = field(init=False)
    waiting: Mask = field(init=False)
    epochs: Count = field(init=False)
    groups: Count = field(init=False)
    copies: list[Copy] = field(default_factory=list)
    early: Mask | None = None

    def __post_init__(self) -> None:
        count = len(self)
        self.at, self.groups = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.waiting, self.epochs = np.zeros(count, bool), np.zeros(len(self.blocks), np.int64)
        thread = self.thread = np.tile(np.arange(self.threads), len(self.blocks))
        self.slot = np.repeat(np.arange(len(self.blocks)), self.threads)
        self.warp = thread >> 5
        axes = zip("xyz", self.indices, strict=True)
        self.special = {
            f"%ctaid.{axis}": index[self.slot].astype(np.uint32) for axis, index in axes
        }
        self.special |= {
            "%tid.x": thread.astype(np.uint32),
            "%laneid": (thread & 31).astype(np.uint32),
        }

    def __len__(self) -> int:
        return len(self.blocks) * self.threads

    # --- where they are ---

    def next(self) -> tuple[int, Mask | None]:
        """The first place where a thread can go on, and which threads are there; None is all."""
        ready = np.where(self.waiting, DONE, self.at)
        if self.order:
            turn = np.where(ready == DONE, DONE, self.order * self.warp)
            ready = np.where(turn == turn.min(), ready, DONE)
        place = int(ready.min())
        here = ready == place
        return place, None if here.all() else here

    def wait(self, mask: Mask | None, place: int) -> bool:
        """At a barrier; whether a block has passed it."""
        if mask is None:
            self.at[:] = place
            self.epochs += 1
            return True
        self.at[mask], self.waiting[mask] = place, True
        held = (self.waiting | (self.at == DONE)).reshape(len(self.blocks), -1)
        through = held.all(1) & self.waiting.reshape(held.shape).any(1)
        self.waiting[through[self.slot]] = False
        self.epochs[through] += 1
        return bool(through.any())

    def who(self, lanes: Count | slice) -> Who:
        slot = self.slot[lanes]
        early = None if self.early is None else self.early[lanes]
        return Who(self.blocks[slot], self.epochs[slot], self.thread[lanes], self.known, early)

    # --- registers ---

    def get(self, register: Register) -> Array:
        """Poison where nothing was written: a warp whose predicate did not hold goes on with it."""
        name = register.name
        found = self.registers.get(name)
        if found is None:
            found = self.special.get(name)
        return constant(-1, self.width(register)) if found is None else found

    def read(self, operand: Operand, kind: str) -> Array:
        """The bits of an operand."""
        if isinstance(operand, Register):
            return self.get(operand)
        assert isinstance(operand, Immediate), operand
        return constant(operand.bits, size_of(kind))

    def put(self, register: Register, bits: Array, mask: Mask | None) -> None:
        if register.name == "_":
            return
        if mask is not None:
            bits = np.where(mask, bits, self.get(register))
        self.registers[register.name] = bits

    def whole(self, bits: Array, lanes: Count | slice) -> Array:
        """A number for each of some lanes."""
        if len(bits) != len(self):
            bits = np.broadcast_to(bits, len(self))
        return bits if lanes is WHOLE else bits[lanes]

    def spread(self, found: Array, lanes: Count | slice) -> Array:
        """A number for each of all lanes, from those of some."""
        if lanes is WHOLE:
            return found
        every = np.zeros(len(self), found.dtype)
        every[lanes] = found
        return every

    def warps(self, bits: Array) -> Array:
        """`[warps, 32]`."""
        return np.broadcast_to(bits, len(self)).reshape(-1, 32)

    def width(self, register: Register) -> int:
        return self.program.width(register)

    # --- shared memory ---

    def place(self, address: Array, lanes: Count | slice, size: int) -> Array:
        """Of a block's shared memory in that of all."""
        each = len(self.shared.bytes) // len(self.blocks)
        own = self.whole(address, lanes).astype(np.int64)
        if own.size and (own.min() < 0 or int(own.max()) + size > each):
            own = np.where((own >= 0) & (own + size <= each), own, -(1 << 40))
        return own + self.slot[lanes] * each

    # --- copies ---

    def commit(self, mask: Mask | None) -> None:
        self.groups[lanes_of(mask)] += 1

    def settle(self, pending: int, mask: Mask | None) -> None:
        """Copies of all groups but the last few have come, for some lanes."""
        left = []
        for one in self.copies:
            come = self.groups[one.lanes] - one.groups > pending
            if mask is not None:
                come &= mask[one.lanes]
            if come.any():
                words = [word[come] for word in one.words]
                self.shared.store(one.address[come], words, self.who(one.lanes[come]))
            if not come.all():
                left.append(_those(one, ~come))
        self.copies = left


def _those(one: Copy, which: Mask) -> Copy:
    words = [word[which] for word in one.words]
    return Copy(one.lanes[which], one.address[which], words, one.groups[which])


@cache
def constant(bits: int, width: int) -> Array:
    """A number for all threads; of no bytes is a predicate."""
    if width == 0:
        return np.array([bits != 0])
    return np.array([bits & ((1 << 8 * width) - 1)], UNSIGNED[width])


def lanes_of(mask: Mask | None) -> Count | slice:
    return WHOLE if mask is None else np.flatnonzero(mask)


def axes(blocks: Sequence[int], grid: tuple[int, int, int]) -> tuple[Count, Count, Count]:
    """Where blocks are in a grid."""
    every = np.asarray(blocks, np.int64)
    return every % grid[0], every // grid[0] % grid[1], every // (grid[0] * grid[1])
