"""Kernels run in Triton's interpreter where there is no GPU, or what the compiler makes of them on
a machine that is not there (`ptx/`), for a compute capability and in an order of warps:

    TRITON_INTERPRET=0 ASRC_MACHINE=90 [ASRC_ORDER=-1] pytest tests/backends/triton/test_linear.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

pytest.importorskip("triton")


@pytest.fixture(autouse=True)
def on_machine(request: pytest.FixtureRequest) -> Iterator[None]:
    asked = os.environ.get("ASRC_MACHINE")
    if not asked:
        yield
        return
    if request.node.get_closest_marker("interpreter"):
        pytest.skip("counts what the interpreter calls")
    from asrc.backends.triton.kernels.overlap import overlapping
    from asrc.tests.backends.triton.ptx.launching import Launcher, machine

    launcher = Launcher(int(asked), order=int(os.environ.get("ASRC_ORDER", "0")))
    with machine(launcher), overlapping():
        yield
