"""Programs on the TOSA reference model, a judge that is neither ours nor LiteRT.

    python -m venv tosa && tosa/bin/pip install tosa-tools==2026.8.0
    python benchmarks/tosa_oracle.py model.asrc --tools tosa/bin [--steps 20]

Each program of an artefact is written as TOSA 1.0 (profile pro_int, DOUBLE_ROUND), checked and
packed by `tosa-opt`, and run step by step by `tosa_reference_model` on random codes; states go on.
Every output and state is compared with the executor's.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.golden import random_inputs
from asrc.backends.nna.tosa import tosa
from asrc.backends.nna.tosamodel import TosaModel
from asrc.runtime.compiled import read_compiled


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    print("| program | operators | steps | codes | differ |", "|---|---:|---:|---:|---:|", sep="\n")
    for name, lowered in read_compiled(given.artefact).programs.items():
        program, chance = lowered.program, np.random.default_rng(0)
        try:
            tosa(program)
        except ValueError as error:
            print(f"| {name} | {len(program.ops)} | not run: {error} | | |")
            continue
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = Executor(program), TosaModel(program, given.tools, Path(folder))
            count = different = 0
            for _ in range(given.steps):
                codes = random_inputs(lowered, chance)
                made, other = ours.step(codes), theirs.step(codes)
                count += sum(x.size for x in made.values())
                different += sum(int((made[n] != other[n]).sum()) for n in made)
        print(
            f"| {name} | {len(program.ops)} | {given.steps} | {count:,} | {different} |", flush=True
        )


if __name__ == "__main__":
    main()
