"""Every kernel compiles for GPUs, on a machine without one, and fits into their shared memory.

Tests run kernels in Triton's interpreter, which takes programs that the compiler refuses. So each
file of kernels is compiled by a process of its own: `compiling.py` has the cases.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import asrc
from asrc.tests.backends.triton import compiling, lengths
from asrc.tests.backends.triton.compiling import CASES, Launch, dtypes_of

KERNELS = Path(asrc.__file__).parent / "backends/triton/kernels"
SHARED = {80: 163 << 10, 90: 227 << 10}
"""Bytes that one program may have, by compute capability."""
FILES = list(dict.fromkeys(case.partition(".")[0] for case in CASES))


def cases() -> list[tuple[str, str]]:
    """Names of cases and of the types that they are compiled in."""
    pairs = [(case, dtype) for case in CASES for dtype in dtypes_of(case)]
    return [(case, str(dtype).removeprefix("torch.")) for case, dtype in pairs]


@cache
def compiled(file: str, capability: int, every: bool = False) -> list[Launch]:
    said = without_interpreter(compiling, file, str(capability), *["--all"] * every)
    return [Launch(**json.loads(line)) for line in said.splitlines()]


def without_interpreter(module: ModuleType, *arguments: str) -> str:
    """What a process of its own prints."""
    command = [sys.executable, "-m", module.__name__, *arguments]
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


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


@pytest.mark.parametrize(("case", "dtype"), cases())
@pytest.mark.parametrize("capability", [90, pytest.param(80, marks=pytest.mark.long)])
def test_kernels_compile(capability: int, case: str, dtype: str) -> None:
    """And fit, with the tiles that the tuner begins with."""
    found = of_case(compiled(case.partition(".")[0], capability), case, dtype)
    large = too_large(found, capability)
    assert not large, "\n".join(large)


@pytest.mark.long
@pytest.mark.parametrize(("case", "dtype"), cases())
@pytest.mark.parametrize("capability", SHARED)
def test_candidates_compile(capability: int, case: str, dtype: str) -> None:
    """With all tiles that the tuner may choose. It passes by those that are too large for a GPU,
    but of each kernel there is one that fits."""
    found = of_case(compiled(case.partition(".")[0], capability, every=True), case, dtype)
    for kernel in {x.kernel for x in found}:
        own = [x for x in found if x.kernel == kernel]
        large = too_large(own, capability)
        assert len(large) < len(own), "\n".join(large)


HALVES = ("float16", "bfloat16")


def code_of(case: str, dtype: str, kernel: str) -> list[Counter[str]]:
    """Instructions of its launches."""
    found = of_case(compiled(case.partition(".")[0], 90), case, dtype)
    return [Counter(x.code) for x in found if x.kernel == kernel]


@pytest.mark.parametrize("dtype", ["float32", *HALVES])
@pytest.mark.parametrize(
    ("case", "kernel"), [("linear.packed-1x4", "_row"), ("lstm.step-1x4", "_step")]
)
def test_one_row_meets_codes_in_registers(case: str, kernel: str, dtype: str) -> None:
    """Four products an instruction; words come in vectors, and no lookup goes to memory."""
    for code in code_of(case, dtype, kernel):
        codes = 4 * code["IDP"] // 3  # of a thread in one turn: each meets three digits
        assert code["PRMT"] >= 3 * codes // 4 > 0
        assert code["LDG"] < codes // 4
        assert 0 < code["LDG.128"] < codes
        assert code["BAR"] < codes // 4
        assert code["LDL"] == code["STL"] == 0


@pytest.mark.parametrize("dtype", ["float32", *HALVES])
@pytest.mark.parametrize(
    ("case", "kernel"), [("linear.cores-4", "_row"), ("lstm.cores-4", "_step")]
)
def test_tensor_cores_take_codes_and_digits(case: str, kernel: str, dtype: str) -> None:
    """32 codes of 16 outputs an instruction, all digits at once; bytes are moved as vectors."""
    for code in code_of(case, dtype, kernel):
        assert code["IMMA"] > 0
        assert code["IDP"] == code["LDL"] == code["STL"] == 0
        assert code["PRMT"] >= 3 * 4 * code["IMMA"]  # 16 codes of a thread are 4 words, 3 each
        assert code["STS.128"] == code["IMMA"]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    ("case", "kernel"),
    [
        *(("linear.float", "_product"), ("linear.mixed-0", "_product")),
        *(("linear.packed-64x4", "_product"), ("lstm.step-64x0", "_step")),
        *(
            ("lstm.step-64x4", "_step"),
            ("greedy.packed", "_joint"),
            ("attention.step", "_attended"),
        ),
    ],
)
def test_halves_are_multiplied_on_tensor_cores(case: str, kernel: str, dtype: str) -> None:
    found = code_of(case, dtype, kernel)
    assert found
    assert all(code["HMMA"] + code["HGMMA"] > 0 for code in found)


def test_frames_of_a_window_are_read_in_vectors() -> None:
    """As long as there are enough dims, which lie side by side."""
    wide, narrow = code_of("conv1d.windows", "float16", "_convolved")
    assert wide["LDGSTS.128"] > narrow["LDGSTS.128"] == 0


def test_threads_of_one_program_wait_for_what_others_wrote() -> None:
    """An LSTM of few cells, whose next frame reads what all threads have written of this one."""
    found = of_case(compiled("lstm", 90), "lstm.sequence-64", "float32")
    (kernel,) = (x for x in found if x.kernel == "_sequence")
    assert "BARRIER=False" in kernel.options
    assert re.search(r"tt\.store.*barrier", kernel.ir, re.DOTALL)


def test_utterances_of_other_lengths_have_nothing_compiled() -> None:
    """Triton compiles anew where an integer is divisible by 16 and the last one was not."""
    seen: lengths.Seen = json.loads(without_interpreter(lengths))
    assert len(seen) > 12
    for kernel, of_length in seen.items():
        assert len(of_length) == len(lengths.LENGTHS)
        assert len({frozenset(found) for found in of_length.values()}) == 1, kernel


def test_numbers_of_a_chain_are_found_without_long_divisions() -> None:
    """A GPU divides int64 by a routine of its own."""
    for kernel in of_case(compiled("pointwise", 90), "pointwise.chain", "float32"):
        divided = re.findall(r"arith\.(?:div|rem)si .*", kernel.ir)
        assert divided
        assert not [line for line in divided if "i64" in line]


def test_no_function_makes_a_number_of_nan() -> None:
    """The interpreter's maximum keeps NaN; that of a GPU has to be told."""
    found = of_case(compiled("pointwise", 90), "pointwise.chain", "float32")
    (kernel,) = (x for x in found if "'relu'" in x.options)
    relu = re.search(r".*arith\.max\w+.*", kernel.ir)
    assert relu is not None
    assert "arith.maximumf" in relu.group()


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
