"""What kernels become on a GPU that is not there: their machine code, loop by loop.

    python benchmarks/machine_code.py linear.packed-1x4 lstm.step-1x4 [--dtype float16] [--all]

The cases are those of `tests/backends/triton/compiling.py`, compiled for compute capability 9.0
with the first tile of the tuner, or with `--all` of them. Of each innermost loop: instructions that
a thread runs in one turn, and among them barriers, reads of memory, how many of these are of 16
bytes, shared memory, tensor cores, byte permutations and products of four bytes. A dash is a kernel
without a loop. Nothing here is a time: it says what a processor has to do, not how long it waits.
"""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

os.environ["TRITON_INTERPRET"] = "0"

import torch
from triton.runtime.jit import JITFunction

from asrc.backends.triton.tuning import Tuner
from asrc.tests.backends.triton import compiling

COLUMNS = {
    "barriers": r"BAR",
    "memory": r"LDG|LDGSTS",
    "16 bytes": r"(LDG|LDGSTS).*\.128",
    "shared": r"LDS|STS|LDSM|STSM",
    "tensor cores": r"[HIQ]G?MMA",
    "permute": r"PRMT",
    "bytes x 4": r"IDP",
}


def loops(text: str) -> list[list[str]]:
    """Instructions of each innermost loop, from its label to the branch back to it."""
    lines, labels, found = text.splitlines(), {}, []
    for n, line in enumerate(lines):
        if label := re.match(r"(\.L_\w+):", line):
            labels[label[1]] = n
        branch = re.search(r"BRA.*`\((\.L_\w+)\)", line)
        if branch and labels.get(branch[1], n) < n - 1:
            found.append((labels[branch[1]], n))
    inner = [x for x in found if not any(x != y and x[0] <= y[0] and y[1] <= x[1] for y in found)]
    return [compiling.instructions(lines[first : last + 1]) for first, last in inner]


def row(case: str, kernel: str, options: dict[str, Any], made: Any) -> Iterator[str]:
    text = compiling.machine_code(made)
    tile = " x ".join(str(x) for name, x in options.items() if name in SIZES)
    title = f"| {case} | {kernel} {tile}, {options.get('num_warps', 4)} warps"
    used = " | ".join(map(str, compiling.resources(made)))
    for body in loops(text) or [[]]:
        count = Counter(name for op in body for name, kind in COLUMNS.items() if re.match(kind, op))
        numbers = " | ".join(str(count[name]) for name in COLUMNS)
        yield f"{title} | {used} | {len(body) or '-'} | {numbers} |"


SIZES = (
    "BLOCK",
    "CHUNK",
    "BLOCK_M",
    "BLOCK_N",
    "BLOCK_K",
    "BLOCK_Q",
    "BLOCK_T",
    "BLOCK_C",
    "FRAMES",
)


def launched(now: SimpleNamespace) -> Callable[[Any, object], Callable[..., None]]:
    """In the place of a launch: prints its rows, once for each kernel and tile."""
    seen: set[str] = set()

    def get(kernel: Any, grid: object) -> Callable[..., None]:
        def launch(*args: object, **options: Any) -> None:
            given = [compiling.mocked(x) for x in args]
            made = kernel.run(*given, grid=None, warmup=True, **options)
            for line in row(now.case, kernel.__name__, options, made):
                if line not in seen:
                    print(line, flush=True)
                seen.add(line)

        return launch

    return get


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", choices=compiling.CASES, metavar="CASE")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--capability", type=int, default=90)
    parser.add_argument("--all", action="store_true", help="every tile of the tuner")
    given, now = parser.parse_args(), SimpleNamespace(case="")
    compiling.Driver(given.capability).activate()
    JITFunction.__getitem__ = launched(now)
    Tuner.best = compiling.best_of_all if given.all else compiling.first
    columns = ["case", "kernel", "registers", "stack", "instructions", *COLUMNS]
    print(f"| {' | '.join(columns)} |\n|---|---|{'---:|' * (len(columns) - 2)}")
    for case in given.cases:
        now.case = case
        with compiling.OnGpu(), torch.device("meta"):
            compiling.CASES[case](getattr(torch, given.dtype))


if __name__ == "__main__":
    main()
