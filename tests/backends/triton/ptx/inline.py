"""A block of inline PTX on arrays, without a kernel around it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .lanes import Lanes, axes
from .machine import Launch, Machine
from .memory import global_memory, shared_memory
from .program import Program, read

Words = NDArray[np.int64]
FRAME = """.visible .entry block(
)
.reqntid {threads}
{{
.reg .b32 %w<99>; .reg .b64 %d<99>;
{body}
}}
"""


def run(text: str, outputs: int, inputs: Sequence[Words | int]) -> list[Words]:
    """What is in the first operands after a block, `$0` and so on; inputs are those behind them.
    Operands have 64 bits where a block makes two words of one, or one of two, else 32."""
    wide = {
        int(n) for one in re.findall(r"mov\.b64[^;]*", text) for n in re.findall(r"\$(\d+)", one)
    }
    body = re.sub(r"\$(\d+)", lambda n: f"%{'wd'[int(n[1]) in wide]}{n[1]}", text)
    threads = max(np.size(x) for x in inputs)
    program = read(FRAME.format(threads=threads, body=body))
    lanes = _lanes(program, threads)
    for n, given in enumerate(inputs, outputs):
        dtype = np.uint64 if n in wide else np.uint32
        lanes.registers[f"%{'wd'[n in wide]}{n}"] = np.atleast_1d(given).astype(dtype)
    _machine(program).go(lanes)
    found = [lanes.registers[f"%{'wd'[n in wide]}{n}"] for n in range(outputs)]
    return [np.broadcast_to(x, threads).astype(np.int64) for x in found]


def _lanes(program: Program, threads: int) -> Lanes:
    nothing = shared_memory(0, 1, None)
    return Lanes(program, np.zeros(1, np.int64), threads, axes([0], (1, 1, 1)), nothing)


def _machine(program: Program) -> Machine:
    return Machine(Launch(program, (1, 1, 1), {}, global_memory([], None).memory, 0, None))


def signed(x: Words, bits: int) -> Words:
    """The two's complement number in the lowest bits."""
    x = np.asarray(x) & ((1 << bits) - 1)
    return np.where(x >> (bits - 1), x - (1 << bits), x)
