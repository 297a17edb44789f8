"""Products of whole warps, and matrices of 8 by 8 between registers and shared memory.

Which thread holds which element: PTX ISA 9.7.14.5 (`mma`, `ldmatrix`, `stmatrix`) and 9.7.15
(`wgmma`, with the layouts that a matrix descriptor names). Arrays are `[warps, 32]`, a register
each. Products are exact in float64 and added there; a GPU rounds between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import Array, wide

LANES = np.arange(32)
GROUP, MEMBER = LANES >> 2, LANES & 3
Matrix = NDArray[Any]


def halves(register: Array, kind: str) -> tuple[Array, Array]:
    """The two numbers in it."""
    low, high = register.astype(np.uint16), (register >> np.uint32(16)).astype(np.uint16)
    return wide(low, kind), wide(high, kind)


def bytes_of(register: Array) -> Array:
    """The four integers in it, `[warps, 32, 4]`."""
    shifts = np.arange(0, 32, 8, dtype=np.uint32)
    return (register[..., None] >> shifts).astype(np.uint8).view(np.int8)


def multiply(kind: str, a: Sequence[Array], b: Sequence[Array], c: Sequence[Array]) -> list[Array]:
    """`mma.m16n8k16` of half types, `mma.m16n8k32` of int8: four registers of bits."""
    if kind == "s8":
        return _integers(a, b, c)
    left, right = left_halves(a, kind), right_halves(b, kind)
    total = left.astype(np.float64) @ right + accumulated([x.view(np.float32) for x in c])
    return [x.view(np.uint32) for x in dealt(total.astype(np.float32))]


def _integers(a: Sequence[Array], b: Sequence[Array], c: Sequence[Array]) -> list[Array]:
    left = np.zeros((len(a[0]), 16, 32), np.int64)
    right = np.zeros((len(a[0]), 32, 8), np.int64)
    for n, register in enumerate(a):
        rows, columns = GROUP + 8 * (n & 1), 4 * MEMBER + 16 * (n >> 1)
        left[:, rows[:, None], columns[:, None] + np.arange(4)] = bytes_of(register)
    for n, register in enumerate(b):
        rows = 4 * MEMBER + 16 * n
        right[:, rows[:, None] + np.arange(4), GROUP[:, None]] = bytes_of(register)
    total = left @ right + accumulated([x.view(np.int32) for x in c])
    held = np.clip(total, -(1 << 31), (1 << 31) - 1).astype(np.int32)
    return [x.view(np.uint32) for x in dealt(held)]


def left_halves(a: Sequence[Array], kind: str) -> Matrix:
    """`[warps, 16, 16]`."""
    found = np.zeros((len(a[0]), 16, 16), np.float32)
    for n, register in enumerate(a):
        rows, columns = GROUP + 8 * (n & 1), 2 * MEMBER + 8 * (n >> 1)
        found[:, rows, columns], found[:, rows, columns + 1] = halves(register, kind)
    return found


def right_halves(b: Sequence[Array], kind: str) -> Matrix:
    """`[warps, 16, 8]`."""
    found = np.zeros((len(b[0]), 16, 8), np.float32)
    for n, register in enumerate(b):
        rows = 2 * MEMBER + 8 * n
        found[:, rows, GROUP], found[:, rows + 1, GROUP] = halves(register, kind)
    return found


def accumulated(c: Sequence[Array]) -> Matrix:
    """`[warps, 16, 8 n]` from 4 n registers."""
    found = np.zeros((len(c[0]), 16, 2 * len(c)), c[0].dtype)
    for n, register in enumerate(c):
        rows, columns = _held(n)
        found[:, rows, columns] = register
    return found


def dealt(total: Matrix) -> list[Array]:
    """The other way."""
    registers = []
    for n in range(total.shape[2] // 2):
        rows, columns = _held(n)
        registers.append(np.ascontiguousarray(total[:, rows, columns]))
    return registers


def _held(n: int) -> tuple[Array, Array]:
    return GROUP + 8 * (n >> 1 & 1), 8 * (n >> 2) + 2 * MEMBER + (n & 1)


# --- matrices of 8 by 8 -----------------------------------------------------------------------


def taken(rows: Array, turned: bool) -> Array:
    """A register from `[warps, 8, 4]` words, the rows of a matrix of 16-bit numbers."""
    if not turned:
        return rows[:, GROUP, MEMBER]
    single = _numbers_of(rows)
    low, high = single[:, 2 * MEMBER, GROUP], single[:, 2 * MEMBER + 1, GROUP]
    return low | high << np.uint32(16)


def given(register: Array, turned: bool) -> Array:
    """The other way: `[warps, 8, 4]` words."""
    if not turned:
        return register.reshape(-1, 8, 4)
    single = np.zeros((len(register), 8, 8), np.uint32)
    single[:, 2 * MEMBER, GROUP] = register & np.uint32(0xFFFF)
    single[:, 2 * MEMBER + 1, GROUP] = register >> np.uint32(16)
    return single[..., ::2] | single[..., 1::2] << np.uint32(16)


def _numbers_of(rows: Array) -> Array:
    """`[warps, 8, 8]` from words of two."""
    both = np.stack([rows & np.uint32(0xFFFF), rows >> np.uint32(16)], -1)
    return both.reshape(len(rows), 8, 8)


# --- descriptors ------------------------------------------------------------------------------

SWIZZLES = {0: 0, 1: 7, 2: 3, 3: 1}
"""By the descriptor's last two bits: what of the address is mixed, in units of 16 bytes."""


def places(descriptor: int, rows: int, columns: int, size: int, turned: bool) -> NDArray[np.int64]:
    """Addresses of a matrix whose rows are products' outputs and whose columns are summed over.

    Columns lie beside each other, or rows if it is turned. Lines are 16 bytes times 1 to 8, in
    groups of 8 lines; one offset leads to the next group, the other to the next line's worth.
    """
    begin, leading, stride = (descriptor >> at & 0x3FFF for at in (0, 16, 32))
    mix = SWIZZLES[descriptor >> 62 & 3]
    line = 16 * (mix + 1)
    outer, inner = (columns, rows) if turned else (rows, columns)
    across, along = np.meshgrid(np.arange(outer), np.arange(inner) * size, indexing="ij")
    at = (begin << 4) + (across % 8) * line + along % line
    far, near = (leading, stride) if turned else (stride, leading)
    if turned:
        at = at + (across // 8) * (near << 4) + (along // line) * (far << 4)
    else:
        at = at + (across // 8) * (far << 4) + (along // line) * (near << 4)
    mixed = at ^ (at >> 7 & mix) << 4
    return mixed.T if turned else mixed


def products_of_groups(a: Matrix, b: Matrix, c: Sequence[Array]) -> list[Array]:
    """`wgmma`: `[groups, 64, k]` by `[groups, n, k]`, the sums in 4 warps each."""
    held = accumulated([x.view(np.float32) for x in c])
    total = a.astype(np.float64) @ b.astype(np.float64).transpose(0, 2, 1)
    found = total.reshape(held.shape) + held
    return [x.view(np.uint32) for x in dealt(found.astype(np.float32))]
