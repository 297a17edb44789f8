"""The streaming contract of every model in the zoo, as a table.

    python benchmarks/contract.py [--published] [--only rnnt] [--threads 1]

For each model and each of its pipelines: what `asrc verify` checks, on the lowered model with
random weights in float32. The difference between stream and whole utterance is the largest of all
outputs and frames, relative to the largest number of that output; parameters, state and products
are counted on the modules as they run and must equal the facts.
"""

from __future__ import annotations

import argparse
import time

import torch

from asrc.backends.torch.contract import run_contract
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.trial import Finding, Trial
from asrc.compiler.facts import Facts
from asrc.tests.backends.torch.zoo import PUBLISHED, SMALL, cases, facts, streams

HEAD = "| model | pipeline | parameters | state(step), KiB | stream - whole | all checks | s |"


def row(name: str, pipeline: str, found: Facts) -> str:
    begin = time.perf_counter()
    lowered = Lowered(found)
    initialise(lowered, seed=1)
    findings = run_contract(Trial.of(lowered.eval()))
    state = float(found.held_bits(found.graph.nodes, step=True) or 0) / 8 / 1024
    count = f"{found.param_count(found.graph.nodes):,}"
    seconds = time.perf_counter() - begin
    cells = (
        name.removesuffix(".asr"),
        pipeline,
        count,
        f"{state:,.1f}",
        f"{findings[0].worst:.1e}",
        verdict(findings),
    )
    return f"| {' | '.join(cells)} | {seconds:.0f} |"


def verdict(findings: list[Finding]) -> str:
    broken = [f"{finding.check}: {finding.words}" for finding in findings if not finding.ok]
    return "; ".join(broken) or "hold"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--published", action="store_true", help="the published sizes")
    options.add_argument("--only", default="", help="models whose name contains this")
    options.add_argument("--threads", type=int, default=1)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    print(HEAD, "|---|---|---:|---:|---:|---|---:|", sep="\n")
    for case in cases(PUBLISHED if given.published else SMALL):
        name, pipeline = map(str, case.values)
        if given.only in name and streams(facts(name, pipeline)):
            print(row(name, pipeline, facts(name, pipeline)), flush=True)


if __name__ == "__main__":
    main()
