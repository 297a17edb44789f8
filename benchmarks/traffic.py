"""What kernels move and compute on a GPU that is not there: counted, access by access.

    python benchmarks/traffic.py ["product 1 x 640" "LSTM step" ...] [--tile 8]

Rows are those of `benchmarks/gpu.py` whose title holds one of the texts, at their full sizes. They
are compiled for compute capability 9.0, with the tile that the tuner begins with or another of its
candidates, by number, and run on the machine of `tests/backends/triton/ptx`. By row:

- MB that the kernel's `cost` says it must move, of which a roofline is made, and how many times as
  many are touched at all, and asked for by all warps: the second read of a number may find it in a
  cache, the first one does not
- passes of shared memory, beside the fewest there could be: more are conflicts of banks
- what a card of 3.35 TB/s with 132 processors of 1.755 GHz needs at least, for the bytes of `cost`
  and for the instructions (of PTX), 4 of a warp in a clock. Neither is a time: waiting is left out.
- the difference to PyTorch, relative to the largest number.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence

os.environ["TRITON_INTERPRET"] = "0"

import torch

from asrc.backends.triton.tuning import Config, Tuner
from asrc.benchmarks.gpu_parts import kernels, measuring
from asrc.benchmarks.gpu_parts.measuring import Bench, Case
from asrc.tests.backends.triton.ptx.launching import Launcher, machine

BANDWIDTH, ISSUES = 3.35e12, 132 * 4 * 1.755e9
USUAL = (
    *("product 1 x 640 to 2560, 4 bits", "product 1 x 4096 to 4096, 4 bits"),
    *("product 64 x 640 to 2560, 4 bits", "LSTM step, 1 streams, 640 cells"),
    *("LSTM step, 64 streams, 640 cells", "attention step", "layer norm"),
)
HEAD = """\
| what | kernels | MB | touched | asked | shared memory | at least, µs: bytes | instructions \
| difference |
|---|---|---:|---:|---:|---:|---:|---:|---:|"""


def cases(bench: Bench, texts: list[str]) -> Iterator[tuple[str, Case]]:
    sections = (
        kernels.linear_rows((4, 8), bench), kernels.lstm_rows(bench),
        kernels.attention_rows(bench), kernels.other_rows(bench),
    )  # fmt: skip
    for section in sections:
        for title, made in section:
            if any(text in title for text in texts):
                yield title, made()


def row(title: str, case: Case, counted: Launcher) -> str:
    """One of the table."""
    counted.clear()
    found = case.ways["kernel"]()().float()
    names = [f"{count} {name}" if count > 1 else name for name, count in counted.launches.items()]
    asked = sum(x.asked for x in counted.traffic.values()) * 32
    touched = sum(x.sectors for x in counted.traffic.values()) * 32
    passes = sum(x.passes for x in counted.traffic.values())
    fewest = sum(x.fewest for x in counted.traffic.values())
    issued = sum(sum(x.values()) for x in counted.issued.values())
    wanted = case.ways["PyTorch"]()().float()
    gap = float((found - wanted).abs().max() / wanted.abs().max())
    assert case.cost
    must = case.cost.bytes
    numbers = [
        f"{must / 1e6:.2f}", f"{touched / must:.2f}", f"{asked / must:.2f}",
        f"{passes / fewest:.2f}" if fewest else "-",
        f"{must / BANDWIDTH * 1e6:.2f}", f"{issued / ISSUES * 1e6:.2f}", f"{gap:.1e}",
    ]  # fmt: skip
    return f"| {title} | {', '.join(names)} | {' | '.join(numbers)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="*", default=list(USUAL), metavar="TEXT")
    parser.add_argument("--tile", type=int, default=0, help="which of the tuner's candidates")
    given, counted = parser.parse_args(), Launcher(races=False, counting=True)
    measuring.ENOUGH = 0  # no copies of weights: nothing is timed

    def best(tuner: Tuner, name: str, shape: object, candidates: Sequence[Config],
             run: object, device: object) -> Config:  # fmt: skip
        return candidates[given.tile]

    print(HEAD)
    with machine(counted), torch.no_grad():
        Tuner.best = best
        for title, case in cases(Bench(smoke=False), given.texts):
            print(row(title, case, counted), flush=True)


if __name__ == "__main__":
    main()
