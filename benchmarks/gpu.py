"""Kernels and models on one GPU, beside what else computes the same, in one call of ten minutes.

    python benchmarks/gpu.py [--only linear lstm] [--out build/gpu.md]
    TRITON_INTERPRET=1 python benchmarks/gpu.py --smoke --only linear

Each section is a process of its own with a limit of time, so that a kernel that fails, or hangs,
costs its section alone; a row that fails says why. Rivals take turns, behind a write that empties
the caches and hides the time of launching: medians, 10th and 90th percentiles. What a CUDA graph
takes is measured in one. Bytes and operations are those of a kernel's `cost`; the roofline is what
copying 1 GiB and a large product of halves reach on this card in the same process. The difference
is to PyTorch, relative to the largest number. `torch.compile` has the mode `max-autotune`, whose
own CUDA graphs are left out in favour of these.

Without a GPU it says so, and that is all; `--smoke` runs tiny sizes in Triton's interpreter.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import TextIO

import torch

from asrc.benchmarks.gpu_parts import decoding, kernels, models
from asrc.benchmarks.gpu_parts.measuring import HEAD, Bench, first_line, lines

SECTIONS = {**kernels.SECTIONS, **decoding.SECTIONS, **models.SECTIONS}
LIMITS = {
    "linear": 90,
    "lstm": 70,
    "attention": 60,
    "rows": 75,
    "loss": 35,
    "decoding": 35,
    "rnnt": 65,
    "conformer": 80,
    "convrnnt": 65,
}
"""Seconds that each may take."""
LATE = 25
"""Seconds that a section may go on for, which begins no new row."""


def section(name: str, bench: Bench, until: float) -> None:
    """Its table, row by row: what is printed stays, whatever comes after it."""
    bandwidth, rate = bench.card
    said = f"copies {bandwidth / 1e9:.0f} GB/s, products {rate / 1e12:.1f} TFLOP/s"
    where = "CPU" if bench.smoke else torch.cuda.get_device_name()
    print(f"\n### {name}\n\n{where}: {said}\n\n{HEAD}", flush=True)
    for title, make in SECTIONS[name](bench):
        if time.monotonic() > until:
            print(empty(title, "not measured: out of time"), flush=True)
            continue
        try:
            for line in lines(title, make(), bench):
                print(line, flush=True)
        except Exception as error:  # noqa: BLE001  it is a line of the table
            print(empty(title, first_line(error)), flush=True)


def empty(title: str, why: str) -> str:
    return f"| {title} | | {why} | | | | | | | |"


def run_section(given: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    torch.backends.cudnn.allow_tf32 = False  # kernels multiply float32 in whole
    with torch.no_grad():
        section(given.section, Bench(given.smoke), time.monotonic() + given.limit)


def apart(name: str, given: argparse.Namespace, out: TextIO, left: float) -> str:
    """A section in a process of its own, which is ended when it hangs; what went wrong."""
    limit = min(left, given.limit or LIMITS[name])
    if left <= LATE:
        return "not measured: out of time"
    command = [sys.executable, __file__, "--section", name, "--limit", str(limit)]
    command += ["--smoke"] if given.smoke else []
    try:
        ran = subprocess.run(command, stdout=out, timeout=limit + LATE)
    except subprocess.TimeoutExpired:
        return "did not end in time"
    return f"ended with {ran.returncode}" if ran.returncode else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--out", type=Path, help="a file for the table")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, in the interpreter")
    parser.add_argument("--limit", type=float, help="seconds of a section")
    parser.add_argument("--total", type=float, default=565, help="seconds of all")
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.smoke and not torch.cuda.is_available():
        print("no GPU: nothing to measure")
    elif given.section:
        run_section(given)
    else:
        all_sections(given)


def all_sections(given: argparse.Namespace) -> None:
    begin = time.monotonic()
    with given.out.open("w") if given.out else nullcontext(sys.stdout) as out:
        for name in given.only:
            why = apart(name, given, out, given.total - (time.monotonic() - begin))
            if why:
                print(empty(name, why), file=out, flush=True)


if __name__ == "__main__":
    main()
