"""Every model of the zoo on Triton kernels against PyTorch in float32, in the interpreter.

    TRITON_INTERPRET=1 python benchmarks/triton_zoo.py [--only small/rnnt.asr ...] [--weights 4]
                                                     [--precision float16]

Two short utterances of noise, random weights, in float or in so many bits, products in float32 or
in a half type: the largest difference,
relative to the largest number of a value, offline and as a stream; how many values run in a kernel,
and how many PyTorch computes. It takes some twenty minutes of one core: the interpreter is slow.
"""

from __future__ import annotations

import argparse
from collections import Counter

import torch

from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.triton.compare import differences
from asrc.backends.triton.lowering import TritonModel, to_triton
from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.fast import narrow
from asrc.tests.backends.torch import zoo


def row(name: str, pipeline: str, bits: int | None, precision: torch.dtype | None) -> str:
    lowered = Lowered(zoo.facts(name, pipeline)).eval()
    initialise(lowered, seed=1)
    if bits is not None:
        lowered = narrow(lowered, bits)
    kernels, left = counted(to_triton(lowered))
    found = {one.check: f"{one.worst:.1e}" for one in differences(lowered, precision=precision)}
    streams = [x for check, x in found.items() if check != "offline"]
    title = f"{name} {pipeline}".strip()
    return f"| {title} | {found['offline']} | {', '.join(streams) or '-'} | {kernels} | {left} |"


def counted(model: TritonModel) -> tuple[int, str]:
    """Values in kernels; those that PyTorch computes, with the reason."""
    placed = [one for part in model.report.values() for one in part]
    reasons = Counter(one.why for one in placed if one.kernel is None)
    words = "; ".join(f"{n}: {why}" for why, n in reasons.items())
    return sum(one.kernel is not None for one in placed), words or "0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--weights", type=int, choices=range(1, 9))
    parser.add_argument("--precision", choices=("float16", "bfloat16"), help="of products")
    given = parser.parse_args()
    precision = getattr(torch, given.precision) if given.precision else None
    torch.set_num_threads(1)
    print("| model | offline | stream: frames, labels | values in kernels | in PyTorch |")
    print("|---|---:|---:|---:|---|")
    for case in zoo.cases(("small/*.asr",)):
        name, pipeline = case.values
        if not given.only or name in given.only:
            try:
                print(row(name, pipeline, given.weights, precision), flush=True)
            except AsrcError as error:
                print(f"| {name} {pipeline} | {error.diagnostics[0].message} | | | |")


if __name__ == "__main__":
    main()
