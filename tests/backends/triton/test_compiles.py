"""Every kernel compiles for GPUs, on a machine without one, and fits into their shared memory.

Tests run kernels in Triton's interpreter, which takes programs that the compiler refuses. So each
file of kernels is compiled by a process of its own: `compiling.py` has the cases.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import asrc
from asrc.tests.backends.triton import compiling
from asrc.tests.backends.triton.compiling import CASES, Launch, dtypes_of

KERNELS = Path(asrc.__file__).parent / "backends/triton/kernels"
SHARED = {80: 163 << 10, 90: 227 << 10}
"""Bytes that one program may have, by compute capability."""
FILES = list(dict.fromkeys(case.partition(".")[0] for case in CASES))


def cases(every: bool) -> list[tuple[str, str]]:
    """Names of cases and of the types that they are compiled in."""
    pairs = [(case, dtype) for case in CASES for dtype in dtypes_of(case, every)]
    return [(case, str(dtype).removeprefix("torch.")) for case, dtype in pairs]


@cache
def compiled(file: str, capability: int, every: bool = False) -> list[Launch]:
    command = [sys.executable, "-m", compiling.__name__, file, str(capability)]
    command += ["--all"] if every else []
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return [Launch(**json.loads(line)) for line in ran.stdout.splitlines()]


def of_case(launches: list[Launch], case: str, dtype: str) -> list[Launch]:
    """There are some, and all of them compiled."""
    found = [x for x in launches if (x.case, x.dtype) == (case, dtype)]
    failed = [f"{x.kernel} {x.options}: {x.error}" for x in found if x.error]
    assert not failed, "\n".join(failed)
    assert found
    assert all(x.cubin for x in found)
    return found


def too_large(launches: list[Launch], capability: int) -> list[str]:
    large = [x for x in launches if x.shared > SHARED[capability]]
    return [f"{x.kernel} {x.options}: {x.shared} bytes of shared memory" for x in large]


@pytest.mark.parametrize(("case", "dtype"), cases(every=False))
@pytest.mark.parametrize("capability", [90, pytest.param(80, marks=pytest.mark.long)])
def test_kernels_compile(capability: int, case: str, dtype: str) -> None:
    """And fit, with the tiles that the tuner begins with."""
    found = of_case(compiled(case.partition(".")[0], capability), case, dtype)
    large = too_large(found, capability)
    assert not large, "\n".join(large)


@pytest.mark.long
@pytest.mark.parametrize(("case", "dtype"), cases(every=True))
@pytest.mark.parametrize("capability", SHARED)
def test_candidates_compile(capability: int, case: str, dtype: str) -> None:
    """With all tiles that the tuner may choose. It passes by those that are too large for a GPU,
    but of each kernel there is one that fits."""
    found = of_case(compiled(case.partition(".")[0], capability, every=True), case, dtype)
    for kernel in {x.kernel for x in found}:
        own = [x for x in found if x.kernel == kernel]
        large = too_large(own, capability)
        assert len(large) < len(own), "\n".join(large)


@pytest.mark.parametrize("file", FILES)
def test_every_launched_kernel_has_a_case(file: str) -> None:
    source = (KERNELS / f"{file}.py").read_text(encoding="utf-8")
    assert {x.kernel for x in compiled(file, 90)} >= set(_launched(source))


def _launched(source: str) -> Iterator[str]:
    """Names of what is called with a grid, `kernel[grid](...)`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript):
            names = (x for x in ast.walk(node.func.value) if isinstance(x, ast.Name))
            yield from (x.id for x in names if x.id.startswith("_"))
