"""Seconds to compile a transducer for the accelerator: ours, and Vela's on three machines.

    python benchmarks/nna_compile.py models/rnnt.asr [--pipeline stream] [--set vocab=1024]

Random weights, ranges from two seconds of noise. Ours is all that follows: codebooks for the float
weights, the integer programs of encoder, predictor and joint, and their `.tflite` files. Vela
compiles these.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import torch

from asrc.backends.nna.calibrate import of_weights
from asrc.backends.nna.machine import machine, vela
from asrc.backends.nna.program import Array
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
from asrc.runtime.memory import keep_freed

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
    keep_freed()
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
    initialise(lowered)
    weights = {n: x.detach().numpy() for n, x in lowered.tensors().items()}
    begin = time.perf_counter()
    fit_codebooks(facts, weights)
    codebooks = time.perf_counter() - begin
    ends = Ends(*(graph.outputs[net] for net in ("encoder", "predictor", "joint")))
    made = compile_transducer(facts, ends, weights)
    programs = [net.program for net in (made.encoder, made.predictor, made.joint)]
    files = [tflite(program) for program in programs]
    ours = time.perf_counter() - begin
    count = sum(len(program.ops) for program in programs)
    print(f"ours: {ours:.1f} s, of that codebooks {codebooks:.1f}; {count} operators")
    for on in given.machines:
        found = [vela(file, machine(on))[1] for file in files]
        seconds = " + ".join(f"{each.compiling:.1f}" for each in found)
        elsewhere = sum(each.elsewhere for each in found)
        print(f"{on}: {seconds} s, {elsewhere} operators elsewhere")


def fit_codebooks(facts: Facts, weights: Mapping[str, Array]) -> None:
    """What a compilation does for all weights of a float model; here for its time alone."""
    for node in facts.graph:
        dict(of_weights(node, weights))


if __name__ == "__main__":
    main()
