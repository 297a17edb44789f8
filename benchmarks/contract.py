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
from collections.abc import Iterator
from pathlib import Path

import torch

import asrc
from asrc.backends.torch.contract import run_contract
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.trial import Finding, Trial
from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts

MODELS = Path(asrc.__file__).parent / "models"
HEAD = "| model | pipeline | parameters | state(step), KiB | stream - whole | all checks | s |"


def graphs(pattern: str) -> Iterator[tuple[str, str, Facts]]:
    """Models by name and pipeline."""
    for path in sorted(MODELS.glob(pattern)):
        model = asrc.load(path)
        name = path.relative_to(MODELS).with_suffix("").as_posix()
        for pipeline, result in model.results.items():
            yield name, pipeline, result.facts
        if not model.results and model.facts is not None:
            yield name, "", model.facts


def streams(facts: Facts) -> bool:
    try:
        return bool((facts.schedule, facts.label_schedule))
    except AsrcError:
        return False


def row(name: str, pipeline: str, facts: Facts) -> str:
    begin = time.perf_counter()
    lowered = Lowered(facts)
    initialise(lowered, seed=1)
    findings = run_contract(Trial.of(lowered.eval()))
    state = float(facts.held_bits(facts.graph.nodes, step=True) or 0) / 8 / 1024
    count = f"{facts.param_count(facts.graph.nodes):,}"
    seconds = time.perf_counter() - begin
    cells = (name, pipeline, count, f"{state:,.1f}", f"{findings[0].worst:.1e}", verdict(findings))
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
    for pattern in ("*.asr",) if given.published else ("small/*.asr", "commands/*.asr"):
        for name, pipeline, facts in graphs(pattern):
            if given.only in name and streams(facts):
                print(row(name, pipeline, facts), flush=True)


if __name__ == "__main__":
    main()
