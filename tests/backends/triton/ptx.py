"""As much of PTX as kernels have inline, on arrays: what a block of it does, without a GPU.

Semantics are those of the PTX ISA: 9.7.9.7 `prmt` (default mode), 9.7.8.6 `lop3`, 9.7.1.24 `dp4a`,
9.7.9.1 `mov` (packing and unpacking). An instruction that is not here is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.int64]
WORD = (1 << 32) - 1


def run(text: str, outputs: int, inputs: Sequence[Words | int]) -> list[Words]:
    """What is in the first operands after a block; inputs are those behind them."""
    registers: dict[str, Words] = {
        f"${outputs + n}": np.asarray(given, np.int64) for n, given in enumerate(inputs)
    }
    for line in filter(None, (part.strip() for part in _body(text).split(";"))):
        name, _, rest = line.partition(" ")
        if name != ".reg":
            _step(name, re.findall(r"\{[^}]*\}|[^,\s]+", rest), registers)
    return [registers[f"${n}"] for n in range(outputs)]


def _body(text: str) -> str:
    """Without the braces that registers of its own are declared in."""
    text = text.strip()
    return text[1:-1] if text.startswith("{") else text


def _step(name: str, operands: Sequence[str], registers: dict[str, Words]) -> None:
    to, *given = operands
    if name == "mov.b64":
        _moved(to, given[0], registers)
        return
    values = [registers[x] if x in registers else np.int64(int(x, 0)) for x in given]
    registers[to] = np.asarray(OPERATIONS[name](*values), np.int64)


def _moved(to: str, given: str, registers: dict[str, Words]) -> None:
    if to.startswith("{"):
        low, high = _pair(to)
        registers[low] = registers[given] & WORD
        registers[high] = registers[given] >> 32 & WORD
    else:
        low, high = _pair(given)
        registers[to] = registers[low] | registers[high] << 32


def _pair(vector: str) -> list[str]:
    return [x.strip() for x in vector.strip("{}").split(",")]


def _prmt(a: Words, b: Words, selectors: Words) -> Words:
    both, found = a | b << 32, np.zeros_like(a | selectors)
    for n in range(4):
        nibble = selectors >> 4 * n & 15
        byte = both >> 8 * (nibble & 7) & 255
        sign = np.where(byte & 128, 255, 0)
        found |= np.where(nibble & 8, sign, byte) << 8 * n
    return found


def _lop3(a: Words, b: Words, c: Words, table: Words) -> Words:
    found = np.zeros_like(a | b | c)
    for row in range(8):
        if int(table) >> row & 1:
            terms = [x if row & bit else ~x for x, bit in ((a, 4), (b, 2), (c, 1))]
            found |= terms[0] & terms[1] & terms[2]
    return found & WORD


def _dp4a(a: Words, b: Words, c: Words) -> Words:
    total = signed(c, 32)
    for n in range(4):
        total = total + signed(a >> 8 * n, 8) * signed(b >> 8 * n, 8)
    return total & WORD


def signed(x: Words, bits: int) -> Words:
    """The two's complement number in the lowest bits."""
    x = np.asarray(x) & ((1 << bits) - 1)
    return np.where(x >> (bits - 1), x - (1 << bits), x)


OPERATIONS: Mapping[str, Callable[..., Words]] = {
    "mov.b32": lambda a: a,
    "shr.u32": lambda a, n: a >> n,
    "shl.b32": lambda a, n: a << n & WORD,
    "and.b32": lambda a, b: a & b,
    "xor.b32": lambda a, b: a ^ b,
    "lop3.b32": _lop3,
    "prmt.b32": _prmt,
    "dp4a.s32.s32": _dp4a,
}
