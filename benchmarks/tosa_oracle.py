"""Programs on the TOSA reference model, a judge that is neither ours nor LiteRT.

    python -m venv tosa && tosa/bin/pip install tosa-tools==2026.8.0
    python benchmarks/tosa_oracle.py model.asrc --tools tosa/bin [--steps 20]

Each program of an artefact is written as TOSA 1.0 (profile pro_int, DOUBLE_ROUND), checked and
packed by `tosa-opt`, and run step by step by `tosa_reference_model` on random codes; states go on.
Every output and state is compared with the executor's.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.golden import random_inputs
from asrc.backends.nna.program import Array, Program
from asrc.backends.nna.tosa import tosa
from asrc.runtime.compiled import read_compiled

TARGET = "specification_version=1.0 profiles=pro_int extensions=int16,doubleround,int4 level=none"


class Oracle:
    """As `Executor`: a program and its states, run by the reference model."""

    def __init__(self, program: Program, tools: Path, folder: Path) -> None:
        self.program, self.tools, self.folder = program, tools, folder
        self.states = program.at_rest()
        (folder / "program.mlir").write_text(tosa(program))
        packed = "retain-graph-input-output-names=true tosa-flatbuffer-filename=program.tosa"
        self._run(
            "tosa-opt",
            "program.mlir",
            f"--tosa-attach-target={TARGET}",
            "--tosa-validate=strict-op-spec-alignment=true",
            f"--tosa-serialize={packed}",
            *("-o", "/dev/null"),
        )

    def _run(self, name: str, *arguments: str) -> None:
        tool = str((self.tools / name).resolve())
        done = subprocess.run(
            [tool, *arguments], cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{name}: {(done.stderr or done.stdout)[:1500]}")

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        values = {**inputs, **self.states}
        for n, name in enumerate(self.program.inputs):
            np.save(self.folder / f"in{n}.npy", values[name])
        ins, outs = range(len(self.program.inputs)), range(len(self.program.outputs))
        self._run(
            "tosa_reference_model",
            *("--flatbuffer_dir", ".", "--output_dir", ".", "--tosa_file", "program.tosa"),
            *("--ifm_name", ",".join(f"in{n}" for n in ins)),
            *("--ifm_file", ",".join(f"in{n}.npy" for n in ins)),
            *("--ofm_name", ",".join(f"out{n}" for n in outs)),
            *("--ofm_file", ",".join(f"out{n}.npy" for n in outs)),
            *("--tosa_level", "NONE"),
        )
        made = {
            name: np.load(self.folder / f"out{n}.npy")
            for n, name in enumerate(self.program.outputs)
        }
        self.states = {state: made[after] for state, after in self.program.states.items()}
        return made


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
            ours, theirs = Executor(program), Oracle(program, given.tools, Path(folder))
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
