"""Training-time graph, executor and LiteRT on real speech: how many codes differ.

    python benchmarks/nna_agree.py run/best test.jsonl --bits 8 5 4 2 1 [--frames 1000]

A recogniser's weights as they are, ranges from --calibrate utterances of the manifest. For each
width the model is compiled, and utterances are heard as `asrc diff` hears them, until the encoder
has made so many frames: whole in PyTorch, as in training, and from the same quantised features on
step by step in the executor and, each of its steps, on LiteRT's reference kernels of the file that
Vela compiles. Compared with training is every value of the graph that the programs have, so also
all that states are made of; with LiteRT every tensor of every step. The predictor runs on the
labels that are heard, the joint where greedy decoding asks it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from asrc.backends.nna.program import Array
from asrc.compiler.artefact import write_artefact
from asrc.runtime.audio import read_audio
from asrc.runtime.calibration import graph_inputs
from asrc.runtime.compiled import compiled, read_compiled
from asrc.runtime.differences import differences
from asrc.runtime.recogniser import Recogniser, read_recogniser
from asrc.runtime.threads import use_threads
from asrc.training.manifest import Utterance, read_manifest

WAYS = ("training", "LiteRT")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 5, 4, 2, 1])
    parser.add_argument("--coded", type=Fraction, help="bits of an index in the coded stream")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--calibrate", type=int, default=16)
    given = parser.parse_args()
    use_threads(1)
    recogniser = read_recogniser(given.run)
    utterances = read_manifest(given.manifest)
    heard = utterances[:: max(1, len(utterances) // given.calibrate)][: given.calibrate]
    ways = " ".join(f"{way}: codes |" for way in WAYS)
    print(f"| bits | utterances | frames | labels | {ways} differ | s |")
    print("|---:|---:|---:|---:|---:|---:|---|---:|")
    for bits in given.bits:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder, "model.asrc")
            write_artefact(model, parts(recogniser, heard, bits, given.coded))
            n, first = compared(model, recogniser, utterances, given.frames)
        counts = " | ".join(f"{n[key]:,}" for key in ("utterances", "frames", "labels", *WAYS))
        differ = ", ".join(first) or "none"
        print(f"| {bits} | {counts} | {differ} | {time.perf_counter() - begin:.0f} |", flush=True)


def parts(
    recogniser: Recogniser, utterances: list[Utterance], bits: int, coded: Fraction | None
) -> dict[str, bytes]:
    heard = graph_inputs(recogniser.lowered, recogniser.vocabulary, spoken(utterances))
    return compiled(recogniser, heard, bits, coded=coded)


def spoken(utterances: list[Utterance]) -> Iterator[tuple[Array, str]]:
    return ((read_audio(u.audio, 16_000), u.text) for u in utterances)


def compared(
    model: Path, recogniser: Recogniser, utterances: list[Utterance], frames: int
) -> tuple[Counter[str], list[str]]:
    """How much was compared, and where codes differ first, utterance by utterance."""
    found: Counter[str] = Counter()
    first: list[str] = []
    encoder = read_compiled(model).programs["encoder"]
    each = encoder.program.tensors[next(iter(encoder.made.values()))].shape[1]
    for utterance in utterances:
        (pair,) = spoken([utterance])
        made = differences(model, pair[0], recogniser, None)
        found["utterances"] += 1
        found["frames"] += made.programs["encoder"].steps * each
        found["labels"] += len(made.labels)
        for program in made.programs.values():
            found.update(program.compared)
        wrong = {"training": made.training, "LiteRT": made.litert}
        first += [f"{utterance.id} {way} {at.value}" for way, at in wrong.items() if at]
        if found["frames"] >= frames:
            break
    return found, first


if __name__ == "__main__":
    main()
