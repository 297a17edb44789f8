"""Memory of a GPU that is not there: what a program may touch, and what it does to it.

Every access is checked as hardware would, and further: within a buffer, at an address that its size
divides, of a number that was written before, and with nothing between that says which of two
threads comes first (`hazards.py`). Global memory are copies of the buffers of a launch, with room
between them, at addresses that are alike modulo 256.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, UntypedStorage
from torch.multiprocessing.reductions import StorageWeakRef

from .arithmetic import UNSIGNED, Array
from .hazards import Shadow, Who
from .traffic import Traffic

Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]
POISON = 0xFF
"""What is in memory that nobody wrote: NaN in every type of float."""
APART = 4096
BASE = 0x7F00_0000_0000


class Fault(Exception):
    """What a GPU would stop at, or get wrong without saying so."""


@dataclass
class Memory:
    """`there` says for each byte whether it belongs to a buffer, `written` whether it is known what
    is in it; `stored` what this launch wrote, and `moving` what those before it did, which may
    still run."""

    bytes: Bytes
    there: NDArray[np.bool_]
    written: NDArray[np.bool_]
    base: int
    name: str
    shadow: Shadow | None = None
    traffic: Traffic | None = None
    stored: NDArray[np.bool_] | None = None
    moving: NDArray[np.bool_] | None = None
    _views: dict[int, Array] = field(default_factory=dict)

    def load(self, address: Array, size: int, count: int, who: Who) -> list[Array]:
        """`count` words of `size` bytes from each address."""
        at = self._at(address, size, count, "read")
        if who.early is not None and self.moving is not None and self.moving[at[who.early]].any():
            raise Fault(f"{self.name} memory is read that kernels before may still write")
        found = [self._view(size)[at // size + n] for n in range(count)]
        if not all(self.written[at + n].all() for n in range(size * count)):
            raise Fault(f"{self.name} memory is read that nothing was written to")
        if self.shadow:
            self.shadow.read(at, size * count, who)
        if self.traffic:
            self.traffic.note(self.name, at, size * count, who)
        return found

    def store(self, address: Array, words: list[Array], who: Who) -> None:
        size = words[0].itemsize
        at = self._at(address, size, len(words), "written")
        self._late(at, size * len(words), who)
        view, index = self._view(size), at // size
        same, kept = np.ones((2, len(at)), bool)
        for n, word in enumerate(words):
            before = view[index + n]
            view[index + n] = word
            same &= view[index + n] == before
            kept &= view[index + n] == word
        for n in range(size * len(words)):
            self.written[at + n] = True
        if self.shadow:
            self.shadow.write(at, size * len(words), who, same, kept)
        if self.traffic:
            self.traffic.note(self.name, at, size * len(words), who)

    def forget(self, address: Array, size: int, who: Who) -> None:
        """A copy is on its way there: whatever is read now is wrong."""
        at = self._at(address, size, 1, "written")
        for n in range(size):
            self.bytes[at + n] = POISON
            self.written[at + n] = False
        if self.shadow:
            self.shadow.write(at, size, who, *np.zeros((2, len(at)), bool))

    def add(self, address: Array, value: Array, who: Who) -> Array:
        """Atomically, one lane after the other; what was there before."""
        at, view = self._at(address, 4, 1, "written"), self._view(4)
        self._late(at, 4, who)
        at = at // 4
        before = np.empty(len(at), np.uint32)
        for lane, (index, more) in enumerate(zip(at, value, strict=True)):
            before[lane] = view[index]
            view[index] += more
        return before

    def expect(self, address: Array, size: Array) -> None:
        """Bytes are on their way into a cache."""
        for first, count in set(zip(address.tolist(), size.tolist(), strict=True)):
            if first % 16 or count % 16 or not count:
                raise Fault("what comes into a cache is whole vectors of 16 bytes")
            at = first - self.base
            if at < 0 or not self.there[at : at + count].all() or at + count > len(self.there):
                raise Fault(f"{self.name} memory is expected out of bounds")

    def _late(self, at: Indices, size: int, who: Who) -> None:
        """Notes what is written, when the kernels before this one have ended."""
        if self.stored is None:
            return
        if who.early is not None and who.early.any():
            raise Fault(f"{self.name} memory is written that kernels before may still use")
        for n in range(size):
            self.stored[at + n] = True

    def _at(self, address: Array, size: int, count: int, how: str) -> Indices:
        whole = size * count
        if (address.astype(np.int64) % whole).any():
            raise Fault(f"{whole} bytes of {self.name} memory are {how} at once, not at a multiple")
        at = address.astype(np.int64) - self.base
        if at.size and (at.min() < 0 or at.max() + whole > len(self.bytes)):
            raise Fault(f"{self.name} memory is {how} out of bounds")
        if not (self.there[at].all() and self.there[at + whole - 1].all()):
            raise Fault(f"{self.name} memory is {how} out of bounds")
        return at

    def _view(self, size: int) -> Array:
        if size not in self._views:
            self._views[size] = self.bytes[: len(self.bytes) // size * size].view(UNSIGNED[size])
        return self._views[size]


# --- global -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Buffer:
    """Bytes of the host, with where they are in the memory of a launch."""

    host: Bytes
    place: int

    storage: UntypedStorage

    @property
    def first(self) -> int:
        return int(self.host.ctypes.data)


@dataclass
class Earlier:
    """Storages that launches have written to; what is freed meanwhile is something else then."""

    storages: dict[int, StorageWeakRef] = field(default_factory=dict)

    def note(self, storage: UntypedStorage) -> None:
        self.storages[storage.data_ptr()] = StorageWeakRef(storage)

    def has(self, storage: UntypedStorage) -> bool:
        known = self.storages.get(storage.data_ptr())
        return known is not None and not known.expired()


@dataclass
class Global:
    memory: Memory
    buffers: list[Buffer]
    earlier: Earlier

    def address(self, pointer: int) -> int:
        """Of what the host knows by a pointer."""
        for one in self.buffers:
            if one.first <= pointer < one.first + len(one.host):
                return BASE + one.place + pointer - one.first
        return 0

    def back(self) -> None:
        """What was written, to the host."""
        assert self.memory.stored is not None
        for one in self.buffers:
            within = slice(one.place, one.place + len(one.host))
            if self.memory.stored[within].any():
                self.earlier.note(one.storage)
            one.host[:] = self.memory.bytes[within]


def global_memory(
    tensors: Iterable[Tensor], granule: int | None, earlier: Earlier | None = None
) -> Global:
    """Of whole storages: views of one see each other. No granule: races are not looked for."""
    earlier = earlier or Earlier()
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage() for x in tensors}
    buffers, place = [], APART
    for pointer, storage in sorted(storages.items()):
        if storage.nbytes():
            place += (pointer - place) % 256
            raw = (ctypes.c_uint8 * storage.nbytes()).from_address(pointer)
            buffers.append(Buffer(np.frombuffer(raw, np.uint8), place, storage))
            place += storage.nbytes() + APART
    memory = _blank(-(-place // 256) * 256, BASE, "global", granule)
    memory.stored = np.zeros_like(memory.there)
    memory.moving = memory.stored.copy()
    for one in buffers:
        within = slice(one.place, one.place + len(one.host))
        memory.bytes[within], memory.there[within], memory.written[within] = one.host, True, True
        memory.moving[within] = earlier.has(one.storage)
    return Global(memory, buffers, earlier)


def _blank(size: int, base: int, name: str, granule: int | None) -> Memory:
    none = np.zeros(size, bool)
    shadow = Shadow.blank(size, granule, name) if granule else None
    return Memory(np.full(size, POISON, np.uint8), none, none.copy(), base, name, shadow)


def shared_memory(size: int, blocks: int, granule: int | None) -> Memory:
    """Of several blocks, one behind the other, each of whole lines."""
    memory = _blank(max(1, -(-size // 128)) * 128 * blocks, 0, "shared", granule)
    memory.there.reshape(blocks, -1)[:, :size] = True
    return memory
