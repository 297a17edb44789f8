"""Milliseconds of one encoder step on this machine: ours, LiteRT's reference, LiteRT with XNNPACK.

    python benchmarks/nna_speed.py model.asrc [--rounds 30]

One thread each, in turns, on random codes with the state going on; the float model's step in
PyTorch beside them where `--run` names its folder. XNNPACK rounds otherwise here and there: how
many of its output codes differ, each from the same states, is counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.litert import LiteRt
from asrc.backends.nna.lower import Lowered
from asrc.backends.nna.program import LIMITS, Array
from asrc.backends.torch.session import Session
from asrc.runtime.compiled import Compiled, read_compiled
from asrc.runtime.recogniser import read_recogniser
from asrc.runtime.threads import use_threads

Step = Callable[[], object]


def drawn(encoder: Lowered, rng: np.random.Generator) -> dict[str, Array]:
    """Random codes for every input that is no state; all frames are there."""
    program, found = encoder.program, {}
    for name in (n for n in program.inputs if n not in program.states):
        tensor = program.tensors[name]
        codes = rng.integers(*LIMITS[tensor.dtype], tensor.shape).astype(tensor.dtype)
        there = np.ones(tensor.shape, bool)
        found[name] = encoder.flag(name, there) if name in encoder.flags else codes
    return found


def seconds_of(compiled: Compiled) -> float:
    """Of audio that a step of the encoder hears."""
    encoder = compiled.programs["encoder"]
    (output,) = encoder.made
    return float(Fraction(compiled.manifest["periods"][output]) * encoder.count[output])


def float_step(run: Path, seconds: float) -> Step:
    """A push of as much audio as a step of the program hears."""
    recogniser = read_recogniser(run)
    session = Session(recogniser.lowered)
    samples = torch.randn(1, round(seconds * recogniser.rate), 1)
    return lambda: session.push({recogniser.roles.audio: samples})


def timed(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Milliseconds, the steps in turns."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = perf_counter()
            step()
            found[name].append(1000 * (perf_counter() - start))
    return found


def differing(encoder: Lowered, rounds: int) -> tuple[int, int, int]:
    """Output codes of XNNPACK that are not the reference's, of how many, and the largest gap."""
    exact, fast = LiteRt(encoder.program), LiteRt(encoder.program, fast=True)
    rng, wrong, whole, most = np.random.default_rng(1), 0, 0, 0
    for _ in range(rounds):
        fast.states = dict(exact.states)
        codes = drawn(encoder, rng)
        one, other = exact.step(codes), fast.step(codes)
        gaps = [np.abs(one[name].astype(int) - other[name]) for name in one]
        wrong += sum(int((gap > 0).sum()) for gap in gaps)
        whole += sum(gap.size for gap in gaps)
        most = max(most, *(int(gap.max()) for gap in gaps))
    return wrong, whole, most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    use_threads(1)
    compiled = read_compiled(given.artefact)
    encoder = compiled.programs["encoder"]
    program, codes = encoder.program, drawn(encoder, np.random.default_rng(0))
    machines = Executor(program), LiteRt(program), LiteRt(program, fast=True)
    names = "ours, NumPy", "LiteRT, reference kernels", "LiteRT, XNNPACK"
    steps: dict[str, Step] = {
        name: lambda m=machine: m.step(codes)  # type: ignore[misc]
        for name, machine in zip(names, machines, strict=True)
    }
    if given.run:
        steps["float, PyTorch"] = float_step(given.run, seconds_of(compiled))
    timed(steps, 3)
    print("| | median, ms | least |")
    print("|---|---:|---:|")
    for name, times in timed(steps, given.rounds).items():
        print(f"| {name} | {median(times):.2f} | {min(times):.2f} |")
    wrong, whole, most = differing(encoder, given.rounds)
    print(
        f"\nXNNPACK: {wrong} of {whole} output codes differ from the reference's, by {most} at most"
    )


if __name__ == "__main__":
    main()
