"""Compiling what `benchmarks/gpu.py` launches, before anything is measured, on all cores.

Triton keeps what it compiled in a folder. So processes go through the rows of a section, some
each, and compile all that their kernels would launch, every candidate of the tuner too; they
launch nothing, and what tensors hold then means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from triton.runtime.jit import JITFunction

from asrc.backends.triton.tuning import Config, Tuner
from asrc.benchmarks.gpu_parts.measuring import Rows

SHARES = {
    "linear": (3, 2),
    "lstm": (4, 1),
    "decoding": (1, 1),
    "conformer": (4, 1),
    "rnnt": (3, 1),
    "convrnnt": (3, 1),
    "attention": (2, 1),
    "rows": (2, 1),
    "bits": (12, 2),
    "loss": (1, 1),
}
"""Processes of a section, and how many rows in a row launch the same kernels."""


@contextmanager
def compiling() -> Iterator[None]:
    """Inside, a launch is compiled alone, and a tuner has all candidates compiled."""
    run, best = JITFunction.run, Tuner.best

    def compiled(kernel: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        return run(kernel, *args, grid=grid, warmup=True, **options)

    JITFunction.run, Tuner.best = compiled, _all  # type: ignore[method-assign]
    try:
        yield
    finally:
        JITFunction.run, Tuner.best = run, best  # type: ignore[method-assign]


def _all(
    tuner: Tuner,
    kernel: str,
    shape: Sequence[object],
    candidates: Sequence[Config],
    run: Callable[[Config], object],
    device: object,
) -> Config:
    """In the place of `Tuner.best`; what does not compile says so when it is measured."""
    for candidate in candidates:
        with suppress(Exception):
            run(candidate)
    return candidates[0]


def warm(rows: Rows, share: int, shares: tuple[int, int]) -> None:
    """The rows of one process: what their first way, the kernel, launches."""
    of, alike = shares
    with compiling():
        for place, (_, make) in enumerate(rows):
            if place // alike % of == share:
                with suppress(Exception):
                    next(iter(make().ways.values()))()()
