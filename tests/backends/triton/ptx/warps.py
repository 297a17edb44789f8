"""Instructions that threads of a warp, or of four, execute together (PTX ISA 9.7.9.6, 9.7.14.5,
9.7.15), and those of two results."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from . import matrices
from .arithmetic import COMPARISONS, Array
from .lanes import Lanes, Mask
from .memory import Fault
from .program import Both, Immediate, Instruction, Place, Register, Vector

Step = Callable[[Any, Lanes, "Mask | None"], None]
LANE = np.arange(32)


def _shuffle(one: Instruction) -> Step:
    """`shfl.sync`: a number of another lane, of the own where there is none."""
    to, *given = one.operands
    first, inside = (to.first, to.second) if isinstance(to, Both) else (to, None)
    assert isinstance(first, Register)
    mode = one.name.split(".")[2]

    def step(machine: Any, lanes: Lanes, mask: Mask | None) -> None:
        a, by, limits = (lanes.warps(lanes.read(x, "b32")) for x in given[:3])
        segment, clamp = (limits >> np.uint32(8) & 31).astype(int), (limits & 31).astype(int)
        most, least = LANE & segment | clamp & ~segment, LANE & segment
        b = (by & 31).astype(int)
        j = {"up": LANE - b, "down": LANE + b, "bfly": LANE ^ b, "idx": least | b & ~segment}[mode]
        there = j >= most if mode == "up" else j <= most
        found = np.take_along_axis(a, np.where(there, j, LANE), 1)
        lanes.put(first, found.ravel(), mask)
        if inside:
            lanes.put(inside, there.ravel(), mask)

    return step


REDUCED: dict[str, Callable[..., Array]] = {
    "add": np.sum, "min": np.min, "max": np.max,
    "and": np.bitwise_and.reduce, "or": np.bitwise_or.reduce, "xor": np.bitwise_xor.reduce,
}  # fmt: skip


def _reduced(one: Instruction) -> Step:
    """`redux.sync` over the lanes of a mask, which here are all."""
    to, origin, members = one.operands
    assert isinstance(to, Register)
    _, _, name, kind = one.name.split(".")
    dtype = np.int32 if kind[0] == "s" else np.uint32

    def step(machine: Any, lanes: Lanes, mask: Mask | None) -> None:
        if (lanes.read(members, "b32") != 0xFFFFFFFF).any():
            raise Fault("a sum over a part of a warp, which this machine has not")
        own = lanes.warps(lanes.read(origin, "b32")).view(dtype)
        found = REDUCED[name](own, axis=1).astype(dtype)
        lanes.put(to, np.repeat(found, 32).view(np.uint32), mask)

    return step


def _nothing(one: Instruction) -> Step:
    """Fences, and barriers of a warp, whose threads go together here."""
    return lambda machine, lanes, mask: None


def _pair(one: Instruction) -> Step:
    """`setp` of two half numbers in a register."""
    to, *given = one.operands
    if not isinstance(to, Both):
        raise ValueError(one.text)
    _, name, kind = one.name.split(".")
    test, half = COMPARISONS[name], kind.removesuffix("x2")

    def step(machine: Any, lanes: Lanes, mask: Mask | None) -> None:
        a, b = (matrices.halves(lanes.read(x, "b32"), half) for x in given)
        for register, x, y in zip((to.first, to.second), a, b, strict=True):
            lanes.put(register, test(x, y), mask)

    return step


# --- matrices of 8 by 8 -----------------------------------------------------------------------


def _matrices(one: Instruction) -> Step:
    """`ldmatrix` and `stmatrix`: lanes 8 n to 8 n + 7 give the addresses of matrix n's rows."""
    loads, turned = one.name.startswith("ld"), ".trans" in one.name
    held, place = one.operands if loads else one.operands[::-1]
    registers = _registers(held)
    assert isinstance(place, Place)

    def step(machine: Any, lanes: Lanes, mask: Mask | None) -> None:
        warps = _whole_warps(lanes, mask)
        base = lanes.read(place.base, "b32") if place.base else np.zeros(1, np.int64)
        address = lanes.whole(base.astype(np.int64) + place.offset, slice(None)).reshape(-1, 32)
        for n, register in enumerate(registers):
            own = np.arange(len(lanes)).reshape(-1, 32)[warps, 8 * n : 8 * n + 8].ravel()
            every = np.zeros(len(lanes), np.int64)
            every[own] = address[warps, 8 * n : 8 * n + 8].ravel()
            at = lanes.place(every, own, 16)
            if loads:
                rows = np.stack(lanes.shared.load(at, 4, 4, lanes.who(own)), -1)
                found = np.zeros((len(lanes) // 32, 32), np.uint32)
                found[warps] = matrices.taken(rows.reshape(-1, 8, 4), turned)
                lanes.put(register, found.ravel(), mask)
            else:
                bits = lanes.warps(lanes.get(register))[warps]
                rows = matrices.given(bits, turned).reshape(-1, 4)
                lanes.shared.store(at, list(np.ascontiguousarray(rows.T)), lanes.who(own))

    return step


def _registers(operand: object) -> list[Register]:
    parts = operand.parts if isinstance(operand, Vector) else (operand,)
    return [x for x in parts if isinstance(x, Register)]


def _whole_warps(lanes: Lanes, mask: Mask | None) -> Array:
    if mask is None:
        return np.arange(len(lanes) // 32)
    some = mask.reshape(-1, 32)
    if (some.any(1) != some.all(1)).any():
        raise Fault("a part of a warp executes what needs all of it")
    return np.flatnonzero(some.all(1))


# --- products ---------------------------------------------------------------------------------


def _multiply(one: Instruction) -> Step:
    to, *given = map(_registers, one.operands)
    kind = re.findall(r"\.(f16|bf16|s8)\b", one.name)[-1]
    if not re.search(r"m16n8k16.*\.f32$|m16n8k32.*\.s32$", one.name):
        raise ValueError(f"a product that this machine has not: {one.name}")

    def step(machine: Any, lanes: Lanes, mask: Mask | None) -> None:
        _whole_warps(lanes, mask)
        a, b, c = ([lanes.warps(lanes.get(x)) for x in registers] for registers in given)
        for register, found in zip(to, matrices.multiply(kind, a, b, c), strict=True):
            lanes.put(register, found.ravel(), mask)

    return step


def _group(one: Instruction) -> Step:
    """`wgmma`. Its products are there at once here; on a GPU when they are waited for."""
    if "mma_async" not in one.name:
        return _nothing(one)
    held, left, right, more, *options = one.operands
    columns, kind = int(re.findall(r"n(\d+)k16", one.name)[0]), one.name.rpartition(".")[2]
    turns = [bool(x.bits) for x in options[2:] if isinstance(x, Immediate)]
    turns = [False, *turns] if isinstance(left, Vector) else turns
    registers = _registers(held)

    def step(machine: Any, lanes: Lanes, mask: Mask | None) -> None:
        _whole_warps(lanes, mask)
        if isinstance(left, Vector):
            four = [lanes.warps(lanes.get(x)) for x in _registers(left)]
            a = matrices.left_halves(four, kind).reshape(-1, 64, 16)
        else:
            a = _described(lanes, lanes.read(left, "b64"), (64, 16), kind, turns[0])
        b = _described(lanes, lanes.read(right, "b64"), (columns, 16), kind, turns[1])
        keep = lanes.read(more, "pred").astype(np.uint32)
        c = [lanes.warps(lanes.get(x) * keep) for x in registers]
        found = matrices.products_of_groups(a.astype(np.float32), b.astype(np.float32), c)
        for register, bits in zip(registers, found, strict=True):
            lanes.put(register, bits.ravel(), mask)

    return step


def _described(lanes: Lanes, descriptor: Array, shape: tuple[int, int], kind: str,
               turned: bool) -> Array:  # fmt: skip
    """A matrix in shared memory for each four warps, which all read it."""
    firsts = np.arange(0, len(lanes), 128)
    of_each = lanes.whole(descriptor, firsts)
    found = []
    for first, own in zip(firsts, of_each, strict=True):
        every = matrices.places(int(own), *shape, 2, turned).ravel()
        for warp in range(4):
            lane = np.full(len(every), first + 32 * warp)
            each = len(lanes.shared.bytes) // len(lanes.blocks)
            at = every + lanes.slot[lane] * each
            bits = lanes.shared.load(at, 2, 1, lanes.who(lane))[0]
        found.append(matrices.wide(bits, kind).reshape(shape))
    return np.stack(found)


STEPS: dict[str, Callable[[Instruction], Step]] = {
    "shfl": _shuffle,
    "redux": _reduced,
    "ldmatrix": _matrices,
    "stmatrix": _matrices,
    "mma": _multiply,
    "wgmma": _group,
    "fence": _nothing,
    "bar": _nothing,
    "setp": _pair,
}
