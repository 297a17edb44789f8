"""Tests of kernels, of what the compiler makes of them: on a machine that is not there (`ptx/`).

It stops at what a GPU would not forgive, and the interpreter does not see: reads out of a buffer
at all, vectors at addresses that they do not divide, threads that do not wait for each other,
copies that are read before they have come. Each file is run by a process of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOON = {"aligned": 0, "codes": 0, "norm": -1, "overlap": 0, "pointwise": 1, "rings": -1}
"""In which order warps go: together, or one by one, the last or the first before the others."""
LATE = [
    *(
        "absorbed",
        "active",
        "attention",
        "beside",
        "captured",
        "conv1d",
        "conv2d",
        "decoding",
        "depthwise",
        "embed",
    ),
    *("exact", "greedy", "integers", "linear", "logmel", "lowering", "lstm", "rewrite"),
    *("ring_steps", "running_sum", "transducer_loss"),
]


def passed(file: str, capability: int, order: int, *options: str) -> int:
    """How many tests of a file; all that are not skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    told = {"TRITON_INTERPRET": "0", "ASRC_MACHINE": str(capability), "ASRC_ORDER": str(order)}
    told |= {name: "" for name in os.environ if name.startswith("PYTEST_XDIST")}
    ran = subprocess.run(
        [*command, *options, str(HERE / f"test_{file}.py")],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
    return sum(map(int, re.findall(r"(\d+) passed", ran.stdout)))


@pytest.mark.parametrize(("file", "order"), SOON.items())
def test_on_a_machine(file: str, order: int) -> None:
    assert passed(file, 90, order) > 20


@pytest.mark.long
@pytest.mark.parametrize("file", [*SOON, *LATE])
@pytest.mark.parametrize(("capability", "order"), [(90, 0), (90, -1), (80, 1)])
def test_in_all_orders(file: str, capability: int, order: int) -> None:
    """Also of the other kind of machine, and all warps together."""
    assert passed(file, capability, order) > 0


@pytest.mark.long
def test_every_tile() -> None:
    """Of the tuner, in all types."""
    assert passed("aligned", 90, 0, "-m", "long or not long") > 400


def test_all_that_launch_kernels_are_here() -> None:
    """Others read text, look at what is compiled, or are about the host."""
    others = {"compiles", "gpu_apart", "gpu_benchmark", "on_machine", "tuning"}
    files = {path.stem.removeprefix("test_") for path in HERE.glob("test_*.py")}
    assert files == {*SOON, *LATE, *others}
