"""Word error rates of ways to reach the accelerator, from one float model, at equal budgets.

    python benchmarks/nna_ablation.py run/best --train train.jsonl --dev dev.jsonl \
      --test test.jsonl --out folder [--updates 200] [--seeds 0 1 2] [--jobs 2]

Every arm goes on from the same float weights for so many updates, and is then deployed: scored on
the test set in the accelerator's integers, which are the shipped program's (see `nna_agree.py`).

    float         trained in float, scored in float
    post          trained in float, quantised afterwards
    rounded       trained with rounded weights and values, float operators between them
    integers      trained in the accelerator's integers
    learned       the same, scales and ranges learning as well

What was done is kept in `folder`; a second call goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch

from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.weights import load_weights
from asrc.runtime.calibration import graph_inputs
from asrc.runtime.compiled import quantised_model
from asrc.runtime.recogniser import Recogniser, read_recogniser
from asrc.training.bootstrap import interval
from asrc.training.cache import AudioCache
from asrc.training.manifest import Utterance, read_manifest
from asrc.training.recognise import Recognised, recognise
from asrc.training.scoring import Transcript, report

RECIPE = """seed = {seed}
[optimiser]
updates = {updates}
rate = {rate}
warm_up = 20
average = 0.98
[losses]
ctc = 0.3
[data]
seconds = 60.0
vocabulary = "characters"
size = 64
[augmentation]
bands = 2
widest = 8
stretches = 1
longest = 10
portion = 0.08
warp = 0.12
colour = 0.5
[pace]
validate = {updates}
save = 50
log = 20
"""

PROGRAM = "from asrc.cli.main import main; main()"

HEARD = 64
"""Utterances of the training set that give ranges to what was trained without."""


@dataclass(frozen=True)
class Arm:
    """`passes` are those of its training, `widths` those of deployed weights: bits, `5c4` for 5 of
    which a coded stream has 4, `0` for float."""

    name: str
    passes: str
    widths: tuple[str, ...]


ARMS = (
    Arm("float", "", ("0", "8", "5", "5c4", "4", "5c3", "3", "2")),
    Arm("rounded 8", "quantize()", ("8",)),
    Arm("integers 8", "substitute(), quantize()", ("8",)),
    Arm("integers 5", "substitute(), quantize(weights=5)", ("5",)),
    Arm("integers 4", "substitute(), quantize(weights=4)", ("4",)),
    Arm("integers 2", "substitute(), quantize(weights=2)", ("2",)),
    Arm("integers 1", "substitute(), quantize(weights=1)", ("1",)),
    Arm("integers 1c1", "substitute(), quantize(weights=1, coded=1)", ("1c1",)),
    Arm("integers 1c0.99", "substitute(), quantize(weights=1, coded=0.99)", ("1c0.99",)),
    Arm("learned 2", "substitute(), quantize(weights=2, scales=learned)", ("2",)),
)


def trained(given: argparse.Namespace, arm: Arm, seed: int) -> Path:
    """The run of an arm, trained to its end."""
    out = given.out / f"{arm.name.replace(' ', '')}-{seed}"
    recipe = out.with_suffix(".toml")
    recipe.write_text(RECIPE.format(seed=seed, updates=given.updates, rate=given.rate))
    passes = ["--passes", arm.passes] if arm.passes else []
    command = [
        *(sys.executable, "-c", PROGRAM, "train", str(given.model)),
        *("--from", str(given.start / "weights.safetensors"), "--recipe", str(recipe)),
        *("--train", str(given.train), "--dev", str(given.dev), "--out", str(out), *passes),
    ]
    with out.with_suffix(".log").open("w") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True)
    return out / "best"


def deployed(recogniser: Recogniser, width: str, some: list[Utterance]) -> Lowered:
    """As the accelerator has it; with a width of 0 as it is."""
    if width == "0":
        return recogniser.lowered
    bits, _, coded = width.partition("c")
    cache = AudioCache(recogniser.rate)
    pairs = [(cache.read(u), u.text) for u in some]
    inputs = graph_inputs(recogniser.lowered, recogniser.vocabulary, pairs)
    limit = Fraction(coded) if coded else None
    facts, weights = quantised_model(recogniser, inputs, int(bits), limit)
    made = Lowered(facts)
    load_weights(made, {name: torch.from_numpy(np.array(x)) for name, x in weights.items()})
    return made.eval()


def scored(given: argparse.Namespace, recogniser: Recogniser, lowered: Lowered) -> dict[str, Any]:
    """Errors and words of every utterance."""
    tested = read_manifest(given.test)
    found = recognise(lowered, recogniser.vocabulary, tested, AudioCache(recogniser.rate))
    heard = [r for r in found if isinstance(r, Recognised)]
    lines = [Transcript(r.utterance.id, r.utterance.text, r.text) for r in heard]
    counts = [one.counts for one in report(lines).utterances]
    return {"errors": [c.errors for c in counts], "words": [c.words for c in counts]}


def run(given: argparse.Namespace, arm: Arm, seed: int) -> None:
    """One arm with one seed: trained, deployed, scored, written down."""
    places = [given.out / f"{arm.name.replace(' ', '')}-{seed}-{w}.json" for w in arm.widths]
    if all(place.exists() for place in places):
        return
    command = [sys.executable, __file__, *sys.argv[1:], "--score", f"{arm.name}/{seed}"]
    trained(given, arm, seed)
    subprocess.run(command, check=True)


def score(given: argparse.Namespace, wanted: str) -> None:
    """In a process of its own: memory goes with it."""
    torch.set_num_threads(1)
    name, seed = wanted.split("/")
    arm = next(one for one in ARMS if one.name == name)
    train = read_manifest(given.train)
    some = train[:: len(train) // HEARD][:HEARD]
    stem = f"{arm.name.replace(' ', '')}-{seed}"
    recogniser = read_recogniser(given.out / stem / "best")
    for place, width in ((given.out / f"{stem}-{w}.json", w) for w in arm.widths):
        if not place.exists():
            found = scored(given, recogniser, deployed(recogniser, width, some))
            place.write_text(json.dumps(found))


def table(given: argparse.Namespace) -> None:
    print("| arm | weights | WER of each seed | mean | deviation | 95 %, utterances and seeds |")
    print("|---|---:|---|---:|---:|---|")
    for arm in ARMS:
        for width in arm.widths:
            stems = [f"{arm.name.replace(' ', '')}-{seed}-{width}.json" for seed in given.seeds]
            found = [
                json.loads((given.out / s).read_text()) for s in stems if (given.out / s).exists()
            ]
            if found:
                print(row(arm, width, found))


def row(arm: Arm, width: str, found: list[dict[str, Any]]) -> str:
    rates = [100 * sum(one["errors"]) / sum(one["words"]) for one in found]
    errors, words = ([n for one in found for n in one[key]] for key in ("errors", "words"))
    low, high = interval(errors, words) or (0.0, 0.0)
    kind = arm.name.split()[0]
    name = "post" if kind == "float" and width != "0" else kind
    spread = f"{stdev(rates):.1f}" if len(rates) > 1 else ""
    each = ", ".join(f"{rate:.1f}" for rate in rates)
    ends = f"{100 * low:.1f} to {100 * high:.1f}"
    return f"| {name} | {said(width)} | {each} | {mean(rates):.1f} | {spread} | {ends} |"


def said(width: str) -> str:
    bits, _, coded = width.partition("c")
    return "float32" if width == "0" else f"{bits} bits" + (f", {coded} coded" if coded else "")


PAIRS = (
    *((("float", width), ("float", "0")) for width in ("8", "4")),
    (("float", "5c4"), ("float", "4")),
    (("float", "5c3"), ("float", "3")),
    (("integers 8", "8"), ("rounded 8", "8")),
    *(((f"integers {bits}", bits), ("float", bits)) for bits in ("8", "5", "4", "2")),
    (("learned 2", "2"), ("integers 2", "2")),
)
"""Arms and widths, each compared with another."""


def paired(given: argparse.Namespace) -> None:
    """Differences over the utterances of the seeds that both have."""
    print("\n| arm | less | points | 95 %, paired |")
    print("|---|---|---:|---|")
    for one, other in PAIRS:
        both = [(of(given, one, n), of(given, other, n)) for n in given.seeds]
        found = [(a, b) for a, b in both if a and b]
        if found:
            gap, low, high = difference(found)
            names = (f"{name}, {said(width)}" for name, width in (one, other))
            print(f"| {' | '.join(names)} | {gap:.1f} | {low:.1f} to {high:.1f} |")


def of(given: argparse.Namespace, arm: tuple[str, str], seed: int) -> dict[str, Any] | None:
    name, width = arm
    place = given.out / f"{name.replace(' ', '')}-{seed}-{width}.json"
    return json.loads(place.read_text()) if place.exists() else None


def difference(found: list[tuple[dict[str, Any], dict[str, Any]]]) -> tuple[float, float, float]:
    """Points of the word error rate, and the ends of its interval (bootstrap of utterances)."""
    words = sum(np.array(one["words"]) for one, _ in found)
    extra = sum(np.array(one["errors"]) - np.array(other["errors"]) for one, other in found)
    drawn = np.random.default_rng(0).integers(0, len(words), (4000, len(words)))
    rates = 100 * extra[drawn].sum(1) / words[drawn].sum(1)
    low, high = np.percentile(rates, [2.5, 97.5])
    return 100 * float(extra.sum() / words.sum()), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("start", type=Path)
    parser.add_argument("--model", type=Path, default=Path("models/commands/rnnt.asr"))
    for name in ("train", "dev", "test", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", help="these arms, by name")
    parser.add_argument("--score", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.score:
        score(given, given.score)
        return
    with ThreadPoolExecutor(given.jobs) as pool:
        wanted = [arm for arm in ARMS if not given.only or arm.name in given.only]
        tasks = [pool.submit(run, given, arm, seed) for seed in given.seeds for arm in wanted]
        for task in tasks:
            task.result()
    table(given)
    paired(given)


if __name__ == "__main__":
    main()
