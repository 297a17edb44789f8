"""Bits a weight, tensor by tensor, in the weight streams of the accelerators' own compiler.

    python benchmarks/nna_bits.py model.asrc [--least 100000] [--optimise Size] [--machines ...]

Vela tells the size of a whole program's stream, scales and biases left out. So each operator with
that many weights is made a program of its own, constants as they are, and compiled. The last lines
are the programs as they ship. The limit is the width of an index: ceil(log2(values)). Vela is told
what to make small by the weights, as `asrc compile` does, or by `--optimise`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil, log2
from pathlib import Path

import numpy as np

from asrc.backends.nna.machine import Machine, chosen, settled, vela
from asrc.backends.nna.program import Op, Program
from asrc.backends.nna.tflite import tflite
from asrc.runtime.compiled import read_compiled

MACHINES = ("ethos-u55-256", "ethos-u65-512", "ethos-u85-512")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--least", type=int, default=100_000)
    parser.add_argument("--machines", nargs="*", default=MACHINES)
    parser.add_argument("--optimise", choices=("Performance", "Size"))
    given = parser.parse_args()
    programs = [each.program for each in read_compiled(given.artefact).programs.values()]
    on = [settled(each, programs) for each in chosen(given.machines, given.optimise)]
    print("| tensor | weights | values | limit |", *(f" {m.name} |" for m in on), sep="")
    print("|---|---:|---:|---:|", "---:|" * len(on), sep="")
    for program in programs:
        for weight, alone in of_operators(program, given.least):
            values = len(np.unique(np.asarray(alone.tensors[weight].data)))
            size = int(np.prod(alone.tensors[weight].shape))
            print(f"| {weight} | {size:,} | {values} | {ceil(log2(values))} |", row(alone, on))
    for program in programs:
        print(f"| **{program.name}** | | | |", row(program, on), flush=True)


def row(program: Program, on: Sequence[Machine]) -> str:
    bits = (vela(tflite(program), each)[1].bits for each in on)
    return " ".join(f"{each:.3f} |" for each in bits)


def of_operators(program: Program, least: int) -> Iterator[tuple[str, Program]]:
    """The weights of each operator that has at least so many, and a program of it alone."""
    for op in program.ops:
        for name in op.inputs[1:]:
            tensor = program.tensors[name]
            if tensor.data is not None and tensor.dtype == "int8" and np.size(tensor.data) >= least:
                yield name, alone(program, op)


def alone(program: Program, op: Op) -> Program:
    tensors = {name: program.tensors[name] for name in (*op.inputs, op.output)}
    given = tuple(name for name in op.inputs if tensors[name].data is None)
    return replace(
        program, tensors=tensors, ops=(op,), inputs=given, outputs=(op.output,), states={}
    )


if __name__ == "__main__":
    main()
