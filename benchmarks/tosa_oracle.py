"""Programs on the TOSA reference model, a judge that is neither ours nor LiteRT.

    python -m venv tosa && tosa/bin/pip install tosa-tools==2026.8.0
    python benchmarks/tosa_oracle.py model.asrc --tools tosa/bin [--speech test.jsonl] [--steps 20]

Each program of an artefact is written as TOSA 1.0 (profile pro_int, DOUBLE_ROUND), checked and
packed by `tosa-opt`, and run step by step by `tosa_reference_model`; each goes on from its own
states, and every output and next state is compared with the executor's.

With --speech, whole utterances of a manifest from the first on, until the encoder has had so many
steps: features as the artefact makes and quantises them, from before the start to after the end;
the predictor on the labels of the text; the joint on every 5th frame with all of them. Without, as
many steps of random codes each.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.golden import random_inputs
from asrc.backends.nna.program import Array, Program
from asrc.backends.nna.tosamodel import TosaModel
from asrc.runtime.audio import read_audio
from asrc.runtime.compiled import Compiled, read_compiled
from asrc.runtime.contents import NAMES
from asrc.runtime.integer import IntegerSteps
from asrc.training.manifest import Utterance, read_manifest

EVERY = 5
"""The joint is compared at one frame in so many."""


class Beside(Executor):
    """An executor, and the reference model from the same start."""

    def __init__(self, program: Program, tools: Path, folder: Path) -> None:
        folder.mkdir()
        self.other = TosaModel(program, tools, folder)
        self.steps = self.codes = self.different = 0
        super().__init__(program)

    def reset(self) -> None:
        super().reset()
        self.other.reset()

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        made, theirs = super().step(inputs), self.other.step(inputs)
        self.steps += 1
        self.codes += sum(x.size for x in made.values())
        self.different += sum(int((made[name] != theirs[name]).sum()) for name in made)
        return made

    def said(self) -> str:
        numbers = f"{self.steps} | {self.codes:,} | {self.different}"
        return f"| {self.program.name} | {len(self.program.ops)} | {numbers} |"


def on_random_codes(compiled: Compiled, beside: Mapping[str, Beside], steps: int) -> None:
    for name, run in beside.items():
        chance = np.random.default_rng(0)
        for _ in range(steps):
            run.step(random_inputs(compiled.programs[name], chance))


def on_speech(
    compiled: Compiled, beside: Mapping[str, Beside], utterances: Sequence[Utterance], steps: int
) -> int:
    """How many utterances were heard; all of them where the encoder has fewer steps than wanted."""
    encoder = compiled.run().steps
    assert isinstance(encoder, IntegerSteps)
    encoder.program = beside["encoder"]
    for heard, utterance in enumerate(utterances, start=1):
        frames = encoded(encoder, compiled, read_audio(utterance.audio, compiled.rate))
        labels = [0, *compiled.vocabulary.encode(utterance.text)]
        joined(beside["joint"], frames, predicted(compiled, beside["predictor"], labels))
        if beside["encoder"].steps >= steps:
            return heard
    return len(utterances)


def encoded(encoder: IntegerSteps, compiled: Compiled, samples: Array) -> Array:
    """Codes of one utterance's frames, `[frames, D]`."""
    encoder.restart()
    audio = torch.from_numpy(samples).view(1, -1, 1)
    made = encoder.push({compiled.manifest["audio"]: audio}), encoder.finish()
    return np.concatenate([block.data[0].numpy() for blocks in made for block in blocks.values()])


def predicted(compiled: Compiled, predictor: Beside, labels: list[int]) -> list[Array]:
    """What the predictor makes after each label of one utterance."""
    predictor.reset()
    (made,) = compiled.programs["predictor"].made.values()
    rows = (compiled.table[label][None, None, None] for label in labels)
    return [predictor.step({compiled.manifest["row"]: row})[made] for row in rows]


def joined(joint: Beside, frames: Array, rows: list[Array]) -> None:
    frame, label = joint.program.inputs
    for codes in frames[::EVERY]:
        for row in rows:
            joint.step({frame: codes[None, None, None], label: row})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    compiled, heard = read_compiled(given.artefact), "random codes"
    with tempfile.TemporaryDirectory() as folder:
        beside = {
            name: Beside(compiled.programs[name].program, given.tools, Path(folder) / name)
            for name in NAMES
        }
        if given.speech:
            utterances = read_manifest(given.speech)
            heard = f"{on_speech(compiled, beside, utterances, given.steps)} utterances"
        else:
            on_random_codes(compiled, beside, given.steps)
    print(f"{given.artefact}, {heard}")
    print("| program | operators | steps | codes | differ |", "|---|---:|---:|---:|---:|", sep="\n")
    print(*(run.said() for run in beside.values()), sep="\n")


if __name__ == "__main__":
    main()
