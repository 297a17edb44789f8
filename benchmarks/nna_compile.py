"""Seconds to compile an encoder for the accelerator: ours, and Vela's on three machines.

    python benchmarks/nna_compile.py models/rnnt.asr [--pipeline stream] [--set vocab=1024]

Random weights. Ranges come from two seconds of noise; that float run, and the search for codebooks,
are told apart. Ours is from there to the integer programs and the encoder's `.tflite` file.
"""

from __future__ import annotations

import argparse
import time

import torch

from asrc.backends.nna.machine import machine, vela
from asrc.backends.nna.tflite import tflite
from asrc.backends.nna.transducer import Ends, compile_transducer
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.cli.pipeline import load
from asrc.compiler.facts import Facts
from asrc.compiler.manager import run_pipeline
from asrc.dsl.check import setting
from asrc.passes.fold_norm import FoldNorm
from asrc.passes.quantize import Quantize
from asrc.passes.substitute import Substitute

MACHINES = ("ethos-u55-256", "ethos-u65-512", "ethos-u85-512")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--pipeline")
    parser.add_argument("--set", default="vocab=1024")
    parser.add_argument("--bits", type=int, default=5)
    parser.add_argument("--machines", nargs="*", default=MACHINES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    name, _, value = given.set.partition("=")
    model = load(given.model, {name: setting(name, value)})
    assert model.facts is not None
    graph = model.facts.graph
    if given.pipeline:
        graph = run_pipeline(graph, model.plans[given.pipeline].calls).graph
    for each in (FoldNorm("batchnorm"), Substitute(), Quantize(weights=given.bits)):
        graph, _ = each.run(graph, None)
    facts = Facts(graph)
    lowered = Lowered(facts)
    begin = time.perf_counter()
    initialise(lowered)
    print(f"first values, with the float run over noise: {time.perf_counter() - begin:.1f} s")
    weights = {n: x.detach().numpy() for n, x in lowered.tensors().items()}
    begin = time.perf_counter()
    ends = Ends(*(graph.outputs[net] for net in ("encoder", "predictor", "joint")))
    encoder = compile_transducer(facts, ends, weights).encoder.program
    file = tflite(encoder)
    print(f"ours: {time.perf_counter() - begin:.1f} s, {len(encoder.ops)} operators")
    for on in given.machines:
        _, estimate = vela(file, machine(on))
        print(f"{on}: {estimate.compiling:.1f} s, {estimate.elsewhere} operators elsewhere")


if __name__ == "__main__":
    main()
