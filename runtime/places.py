"""Where an integer program can run: here in NumPy, on LiteRT, on Triton kernels. The same codes."""

from __future__ import annotations

import os
from typing import Protocol

import torch

from ..backends.nna.executor import Executor
from ..backends.nna.golden import Steps
from ..backends.nna.program import Array, Program
from ..compiler.diagnostics import AsrcError, diagnostic

PLACES = ("asrc", "litert", "triton")


class Runs(Steps, Protocol):
    """A program, its states, and steps; see `backends.nna.executor.Executor`."""

    states: dict[str, Array]

    def reset(self) -> None: ...


def at(place: str, program: Program, file: bytes | None = None) -> Runs:
    """A program, its states at rest; `file` is its `.tflite`, written anew if not given.

    Raises AsrcError E1206 where triton is missing or there is nothing to run it on, ValueError for
    other than PLACES.
    """
    if place == "asrc":
        return Executor(program)
    if place == "litert":
        from ..backends.nna.litert import LiteRt

        return LiteRt(program, file)
    if place != "triton":
        raise ValueError(f"no place to run: {place}")
    try:
        from ..backends.triton.exact_stream import ExactStream
    except ModuleNotFoundError as error:
        raise no_triton(error) from None
    return ExactStream(program, kernel_device())


def no_triton(error: ModuleNotFoundError) -> AsrcError:
    message = f"the Python package `{error.name}` is missing"
    help = "pip install -e '.[triton]' -c constraints.txt"
    return AsrcError(diagnostic("E1206", message, help=help))


def kernel_device() -> torch.device:
    """The GPU; the CPU if Triton's interpreter was asked for, GPU or not.

    Raises AsrcError E1206."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    message = "there is no GPU to run Triton's kernels on"
    help = "`TRITON_INTERPRET=1` in the environment runs them on the CPU, to try them: very slowly"
    raise AsrcError(diagnostic("E1206", message, help=help))
