"""Runs a kernel's PTX without a GPU, and stops where it does what a GPU would not forgive.

All blocks go side by side, thread by thread the same instruction, which NumPy makes quick enough.
Blocks that wait for each other by atomic operations take turns instead, no more of them at once
than a GPU has room for. What this has of the GPU: instructions as the PTX ISA has them, copies that
come when they are waited for and not before, threads that meet at barriers. What it has not: the
order of anything else, caches, time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from . import warps
from .arithmetic import Array, Operation, bits_of, numbers, operation, size_of
from .hazards import Race
from .lanes import DONE, Copy, Lanes, Mask, axes, constant, lanes_of
from .memory import Fault, Memory, shared_memory
from .program import Both, Immediate, Instruction, Label, Operand, Place, Program, Register, Vector
from .traffic import Traffic
from .turns import Turns

Step = Callable[["Machine", Lanes, "Mask | None"], None]
FOLLOWS = "griddepcontrol.wait"
EXPECTED = "prefetches"
"""By thread: those of a warp take turns."""
SPINS = 2_000
"""Turns without anything written, after which blocks wait for nothing."""


@dataclass(frozen=True)
class Launch:
    """A grid of blocks, with what parameters are: numbers, or addresses in `memory`."""

    program: Program
    grid: tuple[int, int, int]
    parameters: Mapping[str, int]
    memory: Memory
    shared: int
    granule: int | None
    processors: int = 132
    order: int = 0
    traffic: Traffic | None = None
    early: bool = False
    """Whether it may begin before those before it have ended; it does where it waits for them."""


@dataclass
class Machine:
    """`issued` counts warps by instruction, and threads that prefetch."""

    launch: Launch
    issued: Counter[str] = field(default_factory=Counter)
    turns: Turns | None = None

    def __post_init__(self) -> None:
        self.steps = _steps(self.launch.program)

    def run(self) -> None:
        blocks = range(int(np.prod(self.launch.grid)))
        self.launch.memory.traffic = self.launch.traffic
        if self.launch.traffic:
            self.launch.traffic.begin()
        if _waits(self.launch.program):
            self._in_turns(blocks)
        else:
            for some in _batches(blocks, self.launch.shared):
                self.go(self._lanes(some))

    def go(self, lanes: Lanes) -> None:
        """To the end."""
        with np.errstate(all="ignore"):
            while self._block(lanes):
                pass

    def _lanes(self, blocks: Sequence[int]) -> Lanes:
        launch = self.launch
        shared = shared_memory(launch.shared, len(blocks), launch.granule)
        shared.traffic = launch.traffic
        own = np.asarray(blocks, np.int64)
        known = self.turns.known(blocks[0]) if self.turns else None
        program, place = launch.program, axes(blocks, launch.grid)
        lanes = Lanes(program, own, program.threads, place, shared, known, launch.order)
        if launch.early or any(one.name == FOLLOWS for one in program.every()):
            lanes.early = np.ones(len(lanes), bool)
        return lanes

    def _in_turns(self, blocks: Sequence[int]) -> None:
        """As many as there is room for, each until it goes back to where it was; then the next."""
        self.turns = Turns()
        left, running, idle = list(blocks), [], 0
        while left or running:
            while left and len(running) < self.launch.processors:
                running.append(self._lanes([left.pop(0)]))
            before = self.turns.progress
            with np.errstate(all="ignore"):
                running = [one for one in running if self._turn(one)]
            idle = idle + 1 if before == self.turns.progress else 0
            if idle > SPINS:
                raise Fault("blocks wait for others that have no room, or for nothing")

    def _turn(self, lanes: Lanes) -> bool:
        """Whether there is more to do."""
        assert self.turns
        at = -1
        while True:
            place, _ = lanes.next()
            if place <= at:
                return True
            at = place
            if not self._block(lanes):
                self.turns.progress += 1
                return False

    def _block(self, lanes: Lanes) -> bool:
        """One of the program, by the threads that are at it; whether there was one."""
        place, mask = lanes.next()
        if place == DONE:
            if lanes.waiting.any():
                raise Fault("a barrier is reached by some threads of a block, not by all")
            if lanes.early is not None and lanes.early.any():
                raise Fault("a thread ends that never waited for the kernels before this one")
            return False
        instructions = self.launch.program.blocks[place].instructions
        for one, step in zip(instructions, self.steps[place], strict=True):
            self._one(one, step, lanes, mask)
        if not instructions or not instructions[-1].ends:
            lanes.at[lanes_of(mask)] = place + 1
            if place + 1 >= len(self.launch.program.blocks):
                lanes.at[lanes_of(mask)] = DONE
        return True

    def _one(self, one: Instruction, step: Step, lanes: Lanes, mask: Mask | None) -> None:
        try:
            if one.guard and not one.ends:
                mask = _under(one, lanes, mask)
                if mask is not None and not mask.any():
                    return
            self.issued[one.name] += _warps(lanes, mask)
            step(self, lanes, mask)
        except (Fault, Race) as error:
            where = f"{error}: {one.source} `{one.text}`, kernel {self.launch.program.name}"
            raise type(error)(where) from None


def _batches(blocks: Sequence[int], shared: int) -> list[Sequence[int]]:
    """As many side by side as have 64 MiB."""
    many = max(1, (64 << 20) // max(1 << 14, shared * 16))
    return [blocks[n : n + many] for n in range(0, len(blocks), many)]


def _waits(program: Program) -> bool:
    return any(one.name.startswith("atom.") for one in program.every())


def _warps(lanes: Lanes, mask: Mask | None) -> int:
    if mask is None:
        return -(-len(lanes) // 32)
    return int(mask.reshape(-1, 32).any(1).sum())


def _under(one: Instruction, lanes: Lanes, mask: Mask | None) -> Mask | None:
    """Which threads execute an instruction with a predicate."""
    assert one.guard
    register, turned = one.guard
    holds = lanes.get(register) != turned
    if holds.all():
        return mask
    every = np.broadcast_to(holds, len(lanes))
    return every if mask is None else every & mask


# --- instructions -----------------------------------------------------------------------------


@cache
def _steps(program: Program) -> list[list[Step]]:
    return [[_step(one) for one in block.instructions] for block in program.blocks]


def _step(one: Instruction) -> Step:
    """How an instruction is executed. Unknown ones are refused when they are reached."""
    stem = one.name.partition(".")[0]
    if one.ends:
        return _jumps(one)
    if one.name.startswith("mov.") and _packs(one):
        return _pack(one)
    if (known := operation(one.name)) and not isinstance(one.operands[0], Both):
        return _arithmetic(one, known)
    made = _MEMORY.get(stem) or warps.STEPS.get(stem)
    if made:
        return made(one)
    return _refused(one)


def _refused(one: Instruction) -> Step:
    def step(machine: Machine, lanes: Lanes, mask: Mask | None) -> None:
        raise Fault("an instruction that this machine has not")

    return step


def _arithmetic(one: Instruction, known: Operation) -> Step:
    to, *given = one.operands
    assert isinstance(to, Register)
    kinds = known.types[1:]
    assert len(kinds) == len(given), one.text

    def step(machine: Machine, lanes: Lanes, mask: Mask | None) -> None:
        values = [numbers(lanes.read(x, kind), kind) for x, kind in zip(given, kinds, strict=True)]
        found = bits_of(known.function(*values), known.types[0], lanes.width(to))
        lanes.put(to, found, mask)

    return step


def _packs(one: Instruction) -> bool:
    return any(isinstance(x, Vector) for x in one.operands)


def _pack(one: Instruction) -> Step:
    """`mov` between a register and its halves or quarters, the lowest first."""
    to, origin = one.operands

    def apart(machine: Machine, lanes: Lanes, mask: Mask | None) -> None:
        assert isinstance(to, Vector)
        bits, size = lanes.read(origin, one.name[4:]), size_of(one.name[4:]) // len(to.parts)
        for n, part in enumerate(to.parts):
            assert isinstance(part, Register)
            low = (bits >> bits.dtype.type(8 * size * n)).astype(f"u{size}")
            if part.name != "_":
                lanes.put(part, bits_of(low, f"b{8 * size}", lanes.width(part)), mask)

    def together(machine: Machine, lanes: Lanes, mask: Mask | None) -> None:
        assert isinstance(to, Register)
        assert isinstance(origin, Vector)
        whole = np.dtype(f"u{size_of(one.name[4:])}")
        size, bits = whole.itemsize // len(origin.parts), whole.type(0)
        for n, part in enumerate(origin.parts):
            own = numbers(lanes.read(part, f"b{8 * size}"), f"b{8 * size}")
            bits = bits | own.astype(whole) << whole.type(8 * size * n)
        lanes.put(to, np.asarray(bits), mask)

    return apart if isinstance(to, Vector) else together


def _jumps(one: Instruction) -> Step:
    def step(machine: Machine, lanes: Lanes, mask: Mask | None) -> None:
        program, here = machine.launch.program, lanes_of(mask)
        following = int(lanes.at[here].flat[0]) + 1
        if one.name.startswith(("bar.", "barrier.")):
            if lanes.wait(mask, following) and machine.turns:
                machine.turns.barrier(lanes)
        elif one.name == "brx.idx":
            index, table = one.operands
            assert isinstance(index, Register)
            assert isinstance(table, Label)
            places = np.array([program.labels[x] for x in program.tables[table.name]])
            lanes.at[here] = places[lanes.whole(lanes.get(index), here)]
        else:
            target = DONE
            if one.name.startswith("bra"):
                assert isinstance(one.operands[0], Label)
                target = program.labels[one.operands[0].name]
            taken = _under(one, lanes, mask) if one.guard else mask
            lanes.at[here] = following
            lanes.at[lanes_of(taken)] = target

    return step


# --- memory -----------------------------------------------------------------------------------


def _parts(operand: Operand) -> tuple[Operand, ...]:
    return operand.parts if isinstance(operand, Vector) else (operand,)


def _load(one: Instruction) -> Step:
    if one.name.startswith("ld.param"):
        return _parameter(one)
    to, place = one.operands
    kind = one.name.rpartition(".")[2]
    parts, size = _parts(to), size_of(kind)
    assert isinstance(place, Place)

    def step(machine: Machine, lanes: Lanes, mask: Mask | None) -> None:
        here = lanes_of(mask)
        memory, at = located(machine, lanes, one, place, here, size * len(parts))
        found = memory.load(at, size, len(parts), lanes.who(here))
        if machine.turns and ".acquire" in one.name:
            machine.turns.acquire(at, lanes)
        for part, bits in zip(parts, found, strict=True):
            assert isinstance(part, Register)
            held = bits_of(numbers(bits, kind), kind, lanes.width(part))
            lanes.put(part, lanes.spread(held, here), mask)

    return step


def located(machine: Machine, lanes: Lanes, one: Instruction, place: Place,
            here: Array | slice, size: int) -> tuple[Memory, Array]:  # fmt: skip
    """Which memory an instruction means, and where in it."""
    base = constant(0, 4) if place.base is None else lanes.get(place.base)
    if ".shared" in one.name and place is not _from(one):
        return lanes.shared, lanes.place(base.astype(np.int64) + place.offset, here, size)
    address = base.view(np.int64) if base.itemsize == 8 else base.astype(np.int64)
    return machine.launch.memory, lanes.whole(address + place.offset, here)


def _from(one: Instruction) -> Operand | None:
    """Of a copy, where it comes from, which is global."""
    return one.operands[1] if one.name.startswith("cp.async") and len(one.operands) > 1 else None


def _parameter(one: Instruction) -> Step:
    to, place = one.operands
    assert isinstance(to, Register)
    assert isinstance(place, Place)
    kind = one.name.rpartition(".")[2]

    def step(machine: Machine, lanes: Lanes, mask: Mask | None) -> None:
        launch = machine.launch
        if place.base is None:
            bits = constant(launch.parameters[place.parameter], size_of(kind))
        else:
            here = lanes_of(mask)
            address = lanes.whole(lanes.get(place.base), here)
            bits = lanes.spread(_chosen(launch, address, size_of(kind)), here)
        lanes.put(to, bits_of(numbers(bits, kind), kind, lanes.width(to)), mask)

    return step


def _chosen(launch: Launch, address: Array, size: int) -> Array:
    """Parameters by where they lie."""
    known = {launch.program.address(name): bits for name, bits in launch.parameters.items()}
    if not set(np.unique(address).tolist()) <= set(known):
        raise Fault("a parameter is read that is none")
    return np.array([known[int(at)] for at in address], np.uint64).astype(f"u{size}")


def _store(one: Instruction) -> Step:
    place, origin = one.operands
    kind = one.name.rpartition(".")[2]
    parts, size = _parts(origin), size_of(kind)
    assert isinstance(place, Place)

    def step(machine: Machine, lanes: Lanes, mask: Mask | None) -> None:
        here = lanes_of(mask)
        memory, at = located(machine, lanes, one, place, here, size * len(parts))
        words = [numbers(lanes.whole(lanes.read(x, kind), here), f"b{8 * size}") for x in parts]
        memory.store(at, words, lanes.who(here))
        if machine.turns and memory is not lanes.shared:
            machine.turns.progress += 1

    return step


def _atomic(one: Instruction) -> Step:
    to, place, value = one.operands
    assert isinstance(to, Register)
    assert isinstance(place, Place)
    if not one.name.endswith("add.u32"):
        return _refused(one)

    def step(machine: Machine, lanes: Lanes, mask: Mask | None) -> None:
        here = lanes_of(mask)
        memory, at = located(machine, lanes, one, place, here, 4)
        more = lanes.whole(lanes.read(value, "u32"), here)
        found = memory.add(at, more, lanes.who(here))
        lanes.put(to, lanes.spread(found, here), mask)
        if machine.turns:
            machine.turns.progress += bool(more.any())
            machine.turns.atomic(at, lanes, one.name.split(".")[3])

    return step


def _copy(one: Instruction) -> Step:
    """`cp.async`: 4, 8 or 16 bytes, or as many zeros where the source is said to have none."""
    if "prefetch" in one.name:
        return _expected(one)
    if "commit_group" in one.name:
        return lambda machine, lanes, mask: lanes.commit(mask)
    if "wait_group" in one.name or "wait_all" in one.name:
        last = one.operands[0] if one.operands else Immediate(0)
        assert isinstance(last, Immediate)
        return lambda machine, lanes, mask: lanes.settle(last.bits, mask)
    to, origin, size, *some = one.operands
    assert isinstance(to, Place)
    assert isinstance(origin, Place)
    assert isinstance(size, Immediate)
    whole = size.bits

    def step(machine: Machine, lanes: Lanes, mask: Mask | None) -> None:
        here = lanes_of(mask)
        shared, at = located(machine, lanes, one, to, here, whole)
        count = lanes.whole(lanes.read(some[0], "u32"), here) if some else np.full(len(at), whole)
        memory, source = located(machine, lanes, one, origin, here, whole)
        who, words = lanes.who(here), [np.zeros(len(at), np.uint32) for _ in range(whole // 4)]
        full = np.flatnonzero(count == whole)
        if ((count != 0) & (count != whole)).any():
            raise Fault("a copy of a part, which this machine has not")
        own = np.arange(len(lanes))[here]
        if len(full):
            found = memory.load(source[full], 4, whole // 4, lanes.who(own[full]))
            for word, bits in zip(words, found, strict=True):
                word[full] = bits
        shared.forget(at, whole, who)
        lanes.copies.append(Copy(own, at, words, lanes.groups[here].copy()))

    return step


def _expected(one: Instruction) -> Step:
    place, size = one.operands
    assert isinstance(place, Place)

    def step(machine: Machine, lanes: Lanes, mask: Mask | None) -> None:
        here = lanes_of(mask)
        memory, at = located(machine, lanes, one, place, here, 16)
        memory.expect(at, lanes.whole(lanes.read(size, "u32"), here))
        machine.issued[EXPECTED] += len(at)

    return step


def _follows(one: Instruction) -> Step:
    """Kernels before this one have ended; or those behind it may begin, which changes nothing."""

    def step(machine: Machine, lanes: Lanes, mask: Mask | None) -> None:
        if lanes.early is not None and one.name == FOLLOWS:
            lanes.early[lanes_of(mask)] = False

    return step


_MEMORY: dict[str, Callable[[Instruction], Step]] = {
    "ld": _load,
    "st": _store,
    "atom": _atomic,
    "cp": _copy,
    "griddepcontrol": _follows,
}
