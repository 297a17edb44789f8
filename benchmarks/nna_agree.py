"""Training-time graph, executor and LiteRT on real speech: how many codes differ.

    python benchmarks/nna_agree.py run/best test.jsonl --bits 8 5 4 2 1 [--frames 1000]

A recogniser's weights as they are, ranges from --calibrate utterances of the manifest. For each
width: whole utterances in PyTorch, as in training; the same quantised features step by step
through the executor; and each of its steps on LiteRT's reference kernels, states included. Then
the predictor on the reference labels, and the joint on every 5th frame with all of them.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.litert import LiteRt
from asrc.backends.nna.program import Array, Program, quantised
from asrc.backends.nna.transducer import Programs, compile_transducer
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.weights import load_weights
from asrc.compiler.facts import Facts
from asrc.runtime.audio import read_audio
from asrc.runtime.calibration import graph_inputs
from asrc.runtime.compiled import ends_of, paces, quantised_model
from asrc.runtime.differences import Given
from asrc.runtime.integer import IntegerSteps
from asrc.runtime.recogniser import Recogniser, read_recogniser
from asrc.runtime.threads import use_threads
from asrc.training.manifest import Utterance, read_manifest

EVERY = 5
"""The joint is compared at one frame in so many."""


class Beside(Executor):
    """An executor, and LiteRT on each of its steps."""

    def __init__(self, program: Program, found: Counter[str]) -> None:
        super().__init__(program)
        self.other, self.found = LiteRt(program), found

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.other.states = dict(self.states)
        made, theirs = super().step(inputs), self.other.step(inputs)
        pairs = [(made[name], theirs[name]) for name in made]
        pairs += [(self.states[name], self.other.states[name]) for name in self.states]
        for ours, other in pairs:
            self.found["LiteRT"] += ours.size
            self.found["LiteRT differs"] += int((ours != other).sum())
        return made


def compared(
    recogniser: Recogniser, utterances: list[Utterance], calibrate: int, bits: int, frames: int
) -> dict[str, int]:
    """Codes of each kind, and how many of them differ."""
    chosen = utterances[:: max(1, len(utterances) // calibrate)][:calibrate]
    heard = list(graph_inputs(recogniser.lowered, recogniser.vocabulary, spoken(chosen)))
    facts, weights = quantised_model(recogniser, heard, bits)
    programs = compile_transducer(facts, ends_of(recogniser), weights)
    graph = replace(
        facts.graph,
        outputs={
            **facts.graph.outputs,
            "the.features": programs.features,
            "the.logits": next(iter(programs.joint.made)),
        },
    )
    model = Lowered(Facts(graph))
    load_weights(model, {n: torch.from_numpy(np.array(x)) for n, x in weights.items()})
    model.eval()
    found: Counter[str] = Counter()
    for utterance in utterances:
        one(recogniser, programs, model, utterance, found)
        if found["frames"] >= frames:
            break
    return dict(found)


def spoken(utterances: list[Utterance]) -> Iterator[tuple[Array, str]]:
    return ((read_audio(u.audio, 16_000), u.text) for u in utterances)


@torch.no_grad()
def one(
    recogniser: Recogniser,
    programs: Programs,
    model: Lowered,
    utterance: Utterance,
    found: Counter[str],
) -> None:
    """One utterance through all of them."""
    roles, (pair,) = recogniser.roles, list(spoken([utterance]))
    samples, labels = pair[0], [0, *recogniser.vocabulary.encode(pair[1])]
    values = model(
        {
            roles.audio: torch.from_numpy(samples)[None, :, None],
            roles.previous: torch.tensor([labels]),
        }
    )
    of = {name: x[0].numpy() for name, x in values.items() if x.ndim > 1}
    encoded = of[roles.frames[0]]
    steps = IntegerSteps(model, programs.encoder, programs.features, paces(model.facts, programs))
    steps.session = Given(of["the_features"])  # type: ignore[assignment]
    steps.program = Beside(programs.encoder.program, found)
    blocks = [*steps.push({}).values(), *steps.finish().values()]
    codes = np.concatenate([block.data[0].numpy() for block in blocks])
    note(found, codes, quantised(encoded, programs.encoder.program.tensors[steps.codes]))
    found["frames"] += len(codes)
    predictor, rows = Beside(programs.predictor.program, found), []
    (said,) = programs.predictor.made.values()
    for label in labels:
        row = programs.table[label][None, None, None]
        rows.append(predictor.step({programs.row: row})[said])
    tensor = programs.predictor.program.tensors[said]
    note(found, np.stack(rows).reshape(len(rows), -1), quantised(of[roles.labels], tensor))
    joint, (frame, label) = Beside(programs.joint.program, found), programs.joint.program.inputs
    (logits,) = programs.joint.made.values()
    tensor = programs.joint.program.tensors[logits]
    for t in range(0, len(codes), EVERY):
        for u, row in enumerate(rows):
            made = joint.step({frame: codes[t][None, None, None], label: row})[logits]
            note(found, made.ravel(), quantised(of["the_logits"][t, u], tensor))


def note(found: Counter[str], ours: Array, trained: Array) -> None:
    found["training"] += ours.size
    found["training differs"] += int((ours != trained).sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 5, 4, 2, 1])
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--calibrate", type=int, default=16)
    given = parser.parse_args()
    use_threads(1)
    recogniser = read_recogniser(given.run)
    utterances = read_manifest(given.manifest)
    print("| bits | frames | training: codes | differ | LiteRT: codes | differ | s |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for bits in given.bits:
        begin = time.perf_counter()
        n = compared(recogniser, utterances, given.calibrate, bits, given.frames)
        cells = [n["training"], n["training differs"], n["LiteRT"], n["LiteRT differs"]]
        numbers = " | ".join(f"{cell:,}" for cell in cells)
        seconds = time.perf_counter() - begin
        print(f"| {bits} | {n['frames']:,} | {numbers} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
