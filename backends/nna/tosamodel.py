"""A program on the TOSA reference model: a judge that is neither ours nor LiteRT.

Its tools come with the package `tosa-tools`, which needs an environment of its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .program import Array, Program
from .tosa import tosa

TARGET = "specification_version=1.0 profiles=pro_int extensions=int16,doubleround,int4 level=none"


class TosaModel:
    """As `Executor`: a program, its states, and steps, in a folder of its own.

    `tools` has `tosa-opt` and `tosa_reference_model`. Raises RuntimeError with what they say where
    they refuse a program.
    """

    def __init__(self, program: Program, tools: Path, folder: Path) -> None:
        self.program, self.tools, self.folder = program, tools, folder
        self.reset()
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

    def reset(self) -> None:
        """States stand for zero again."""
        self.states = self.program.at_rest()

    def _run(self, name: str, *arguments: str) -> None:
        tool = str((self.tools / name).resolve())
        done = subprocess.run(
            [tool, *arguments], cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{name}: {(done.stderr or done.stdout)[:1500]}")

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of one step, by name; states go on."""
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
