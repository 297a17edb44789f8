"""Size and time of compiled transducers, by weight bits and accelerator, as Vela estimates them.

    python benchmarks/nna_sizes.py models/pretrained/commands-rnnt --calibrate data/dev.jsonl \
      [--bits 8 5 4 3 2 1] [--machines NAME ...]

Each row is what `asrc compile` reports: microseconds of one encoder step, one predictor step and
one evaluation of the joint; the most KiB of SRAM that one of them needs; bits a weight in the
machine's own stream, of the encoder, the predictor and all three; KiB of that stream.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MACHINES = ("ethos-u55-256", "ethos-u65-512", "ethos-u85-512")
PARTS = ("encoder", "predictor", "joint")
HEAD = (
    *("model", "machine", "weights", *PARTS, "KiB of SRAM"),
    *("bits: encoder", "predictor", "all", "KiB of stream", "elsewhere"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--bits", nargs="*", type=int, default=(8, 5, 4, 3, 2, 1))
    parser.add_argument("--machines", nargs="*", default=MACHINES)
    given = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |", f"|---|---|---:{'|---:' * (len(HEAD) - 3)}|", sep="\n")
    for model in given.models:
        found = {bits: estimates(model, bits, given) for bits in given.bits}
        for machine in given.machines:
            for bits in given.bits:
                print(row(model.name, machine, bits, found[bits][machine]), flush=True)


def estimates(model: Path, bits: int, given: argparse.Namespace) -> dict[str, Any]:
    """By machine and program, as `asrc compile --json` says them."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["asrc", "compile", str(model), "--target", "nna", "--weights", str(bits)]
        command += ["--calibrate", str(given.calibrate), "--out", f"{folder}/model.asrc", "--json"]
        command += [word for machine in given.machines for word in ("--machine", machine)]
        command[0] = str(Path(sys.executable).with_name("asrc"))
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        found: dict[str, Any] = json.loads(done.stdout)["estimates"]
        return found


def row(model: str, machine: str, bits: int, parts: dict[str, Any]) -> str:
    streams, weights = ([parts[p][key] for p in PARTS] for key in ("stream", "weights"))
    each = [8 * stream / count for stream, count in zip(streams, weights, strict=True)]
    cells = (
        *(model, machine, f"{bits} bits"),
        *(f"{parts[p]['seconds'] * 1e6:.0f}" for p in PARTS),
        f"{max(parts[p]['sram'] for p in PARTS) / 1024:.1f}",
        *(f"{one:.2f}" for one in (each[0], each[1], 8 * sum(streams) / sum(weights))),
        f"{sum(streams) / 1024:.0f}",
        str(sum(parts[p]["elsewhere"] for p in PARTS)),
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
