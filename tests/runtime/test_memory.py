"""Freed memory that stays, by the faults of pages that come again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
from resource import RUSAGE_SELF, getrusage
import numpy as np
from asrc.runtime.memory import keep_freed
assert keep_freed()
def faults():
    return getrusage(RUSAGE_SELF).ru_minflt
def work():
    for size in (1 << 19, 1 << 18, 3 << 18):
        values = np.ones(size)
        values = values + np.sqrt(values)
work()
before = faults()
for _ in range(20):
    work()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do as they do")
def test_arrays_that_come_and_go_take_no_new_pages() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True
    )
    assert int(done.stdout) < 100  # of 20 times three arrays of 500 to 1,500 pages, and more
