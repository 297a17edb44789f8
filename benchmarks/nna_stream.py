"""Real speech through an artefact's programs: exact against LiteRT, memory, drift, saturation.

    python benchmarks/nna_stream.py model.asrc test.jsonl [--hours 1] [--exact 1000]

Utterances follow one another with a restart between them, as a device would run for hours, and are
decoded greedily. The first `--exact` steps of encoder, predictor and joint are compared with
LiteRT's reference kernels on the artefact's own files, every output and every state. At the end an
utterance is heard by fresh programs, too.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import resource
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.litert import LiteRt
from asrc.backends.nna.program import Array, Program
from asrc.compiler.artefact import read_artefact
from asrc.runtime.audio import read_audio
from asrc.runtime.compiled import Compiled, read_compiled
from asrc.runtime.decode import Hypothesis
from asrc.runtime.integer import IntegerSteps, IntegerTransducer
from asrc.runtime.listener import Listener
from asrc.runtime.samples import Samples
from asrc.runtime.threads import use_threads
from asrc.training.manifest import read_manifest

BLOCK = 1600
"""Samples that are pushed at once."""


class Watched(Executor):
    """An executor, and LiteRT beside it for the rows of its first steps; `said` are the outputs
    since the last restart."""

    def __init__(self, program: Program, file: bytes, exact: int) -> None:
        super().__init__(program)
        self.other, self.left = LiteRt(program, file), exact
        self.compared = self.different = self.taken = 0

    def reset(self) -> None:
        super().reset()
        self.said: list[Array] = []

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        before, made = dict(self.states), super().step(inputs)
        self.said += (codes.ravel() for codes in made.values())
        rows = len(next(iter(made.values())))
        self.taken += rows
        for row in range(min(rows, self.left)):
            self.left -= 1
            self._compare(_row(inputs, row), _row(before, row), _row({**made, **self.states}, row))
        return made

    def _compare(
        self, given: Mapping[str, Array], before: Mapping[str, Array], ours: Mapping[str, Array]
    ) -> None:
        self.other.states = dict(before)
        theirs = {**self.other.step(given), **self.other.states}
        self.compared += sum(codes.size for codes in ours.values())
        self.different += sum(int((codes != theirs[name]).sum()) for name, codes in ours.items())


def _row(values: Mapping[str, Array], row: int) -> dict[str, Array]:
    return {name: codes[row : row + 1] for name, codes in values.items()}


class Stream:
    """An artefact that listens, its three programs watched."""

    def __init__(self, compiled: Compiled, parts: Mapping[str, bytes], exact: int) -> None:
        self.listener = Listener(compiled)
        steps, model = self.listener.running.steps, self.listener.running.model
        assert isinstance(steps, IntegerSteps)
        assert isinstance(model, IntegerTransducer)
        self.programs = {
            name: Watched(lowered.program, parts[f"{name}.tflite"], exact)
            for name, lowered in compiled.programs.items()
        }
        steps.program = self.programs["encoder"]
        model.predictor, model.heads = self.programs["predictor"], self.programs["joint"]

    def hear(self, samples: Samples) -> tuple[Hypothesis, list[Array]]:
        """What is heard in an utterance, and the encoder's outputs."""
        self.listener.restart()
        for name in ("predictor", "joint"):
            self.programs[name].said.clear()
        for at in range(0, len(samples), BLOCK):
            self.listener.push(samples[at : at + BLOCK])
        return self.listener.finish().best[0], self.programs["encoder"].said

    def saturated(self) -> dict[str, float]:
        """Shares of codes that an operator's output could not hold; operators that have some."""
        found = {}
        for watched in self.programs.values():
            for name, codes in watched.saturated.items():
                size = int(np.prod(watched.program.tensors[name].shape))
                found[name] = codes / (size * watched.taken)
        return {name: share for name, share in found.items() if share}


def utterances(manifest: Path, hours: float) -> Iterator[Samples]:
    left = hours * 3600
    for one in cycle(read_manifest(manifest)):
        samples = read_audio(one.audio, 16_000)
        yield samples
        left -= len(samples) / 16_000
        if left <= 0:
            return


def measured(given: argparse.Namespace) -> dict[str, Any]:
    parts = read_artefact(given.artefact)
    compiled = read_compiled(given.artefact, parts)
    stream = Stream(compiled, parts, given.exact)
    seconds, labels, memory, start = 0.0, 0, list[int](), time.perf_counter()
    for samples in utterances(given.manifest, given.hours):
        last, (best, frames) = samples, stream.hear(samples)
        labels += len(best.tokens)
        seconds += len(samples) / 16_000
        if seconds >= len(memory) * given.hours * 360:
            memory.append(_resident())
    took = time.perf_counter() - start
    again, others = Stream(compiled, parts, 0).hear(last)
    programs, shares = stream.programs, stream.saturated()
    return {
        "seconds of audio": round(seconds),
        "labels heard": labels,
        "real-time factor": round(took / seconds, 3),
        "steps": {name: watched.taken for name, watched in programs.items()},
        "codes compared with LiteRT": {n: watched.compared for n, watched in programs.items()},
        "of these different": {name: watched.different for name, watched in programs.items()},
        "KiB of memory more than after one utterance, at each tenth": [
            now - memory[0] for now in memory[1:]
        ],
        "codes of the last utterance that fresh programs give otherwise": int(
            (np.concatenate(others) != np.concatenate(frames)).sum()
        ),
        "labels, frames and scores of it are the same": again == best,
        "operators that ever saturate": f"{len(shares)} of {_operators(programs)}",
        "the most saturated": {n: f"{100 * s:.3f} %" for n, s in Counter(shares).most_common(5)},
    }


def _resident() -> int:
    """Memory that this process has now, in KiB, without what is free there: utterances of all
    lengths leave holes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim:
        trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def _operators(programs: Mapping[str, Watched]) -> int:
    return sum(len(watched.program.ops) for watched in programs.values())


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
