"""The benchmark of a GPU runs from end to end, on a machine without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import asrc

SCRIPT = Path(asrc.__file__).parent / "benchmarks/gpu.py"


def test_smoke(tmp_path: Path) -> None:
    """Products, LSTMs and decoding: kernels are there, and as exact as in their own tests."""
    out = tmp_path / "table.md"
    command = [
        sys.executable,
        SCRIPT,
        "--smoke",
        "--only",
        "linear",
        "lstm",
        "decoding",
        "--out",
        out,
    ]
    subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, check=True)
    text = out.read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if "| kernel |" in line]
    assert {row[0].split()[0] for row in rows} == {"product", "LSTM", "greedy,"}
    assert max(float(row[-1]) for row in rows) < 1e-5
