"""Real speech through an artefact's encoder: exact against LiteRT, memory, drift, saturation.

    python benchmarks/nna_stream.py model.asrc test.jsonl [--hours 1] [--exact 1000]

Utterances follow one another with a restart between them, as a device would run for hours. The
first `--exact` steps are compared with LiteRT's reference kernels on the artefact's own file, every
output and every state. At the end an utterance is heard by a fresh program, too.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.litert import LiteRt
from asrc.backends.nna.program import Array, Program
from asrc.compiler.artefact import read_artefact
from asrc.runtime.audio import read_audio
from asrc.runtime.compiled import read_compiled
from asrc.runtime.integer import IntegerSteps
from asrc.runtime.samples import Samples
from asrc.runtime.threads import use_threads
from asrc.training.manifest import read_manifest

BLOCK = 1600
"""Samples that are pushed at once."""


class Watched(Executor):
    """An executor, and LiteRT beside it for its first steps."""

    def __init__(self, program: Program, file: bytes, exact: int) -> None:
        super().__init__(program)
        self.other, self.left = LiteRt(program, file), exact
        self.compared = self.different = self.taken = 0

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.taken += 1
        self.other.states = dict(self.states)
        made = super().step(inputs)
        if self.left:
            self.left -= 1
            self._compare(made, self.other.step(inputs))
        return made

    def _compare(self, made: Mapping[str, Array], theirs: Mapping[str, Array]) -> None:
        pairs = [(made[name], theirs[name]) for name in made]
        pairs += [(self.states[name], self.other.states[name]) for name in self.states]
        self.compared += sum(ours.size for ours, _ in pairs)
        self.different += sum(int((ours != other).sum()) for ours, other in pairs)


def heard(steps: IntegerSteps, samples: Samples) -> Array:
    """All frames of an utterance, `[frames, D]`."""
    steps.restart()
    audio = torch.from_numpy(samples).view(1, -1, 1)
    blocks = [
        steps.push({"audio": audio[:, at : at + BLOCK]}) for at in range(0, len(samples), BLOCK)
    ]
    blocks.append(steps.finish())
    return np.concatenate([b.data[0].numpy() for block in blocks for b in block.values()])


def utterances(manifest: Path, hours: float) -> Iterator[Samples]:
    left = hours * 3600
    for one in cycle(read_manifest(manifest)):
        samples = read_audio(one.audio, 16_000)
        yield samples
        left -= len(samples) / 16_000
        if left <= 0:
            return


def measured(given: argparse.Namespace) -> dict[str, Any]:
    compiled = read_compiled(given.artefact)
    steps = compiled.run().steps
    assert isinstance(steps, IntegerSteps)
    file = read_artefact(given.artefact)["encoder.tflite"]
    watched = steps.program = Watched(steps.encoder.program, file, given.exact)
    seconds, start, memory = 0.0, time.perf_counter(), 0
    for number, samples in enumerate(utterances(given.manifest, given.hours)):
        last, frames = samples, heard(steps, samples)
        seconds += len(samples) / 16_000
        if number == 20:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = time.perf_counter() - start
    fresh = compiled.run().steps
    assert isinstance(fresh, IntegerSteps)
    total = {op.output: 0 for op in steps.encoder.program.ops} | dict(steps.program.saturated)
    sizes = {n: int(np.prod(steps.encoder.program.tensors[n].shape)) for n in total}
    share = {n: total[n] / (sizes[n] * watched.taken) for n in total if total[n]}
    return {
        "seconds of audio": round(seconds),
        "real-time factor": round(took / seconds, 3),
        "steps": watched.taken,
        "codes compared with LiteRT": watched.compared,
        "of these different": watched.different,
        "KiB of memory more at the end than after 20 utterances": (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        ),
        "codes of the last utterance that a fresh program gives otherwise": int(
            (heard(fresh, last) != frames).sum()
        ),
        "operators that ever saturate": f"{len(share)} of {len(total)}",
        "the most saturated": {
            n: f"{100 * s:.3f} %" for n, s in sorted(share.items(), key=lambda x: -x[1])[:5]
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("artefact", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--exact", type=int, default=1000)
    given = parser.parse_args()
    use_threads(1)
    print(json.dumps(measured(given), indent=1))


if __name__ == "__main__":
    main()
