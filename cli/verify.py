"""`asrc verify`: the streaming contract, run on a user's own model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import FILE, settings_option
from .pipeline import Watch, load, run
from .terminal import common, look, show_json, show_table

if TYPE_CHECKING:
    from ..backends.torch.lowered import Lowered
    from ..backends.torch.trial import Finding
    from ..compiler.facts import Facts
    from ..dsl.syntax import Expr


@click.command("verify")
@click.argument("file", type=FILE)
@settings_option
@click.option("--pipeline", metavar="NAME", help="After this pipeline of the file.")
@click.option("--passes", metavar="CALLS", help="After these passes: 'mask(encoder, causal)'.")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights (safetensors).")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@common
def command(
    file: str,
    settings: Mapping[str, Expr],
    pipeline: str | None,
    passes: str | None,
    weights: Path | None,
    seed: int,
) -> None:
    """Run a model as a stream and as a whole, on random audio, and compare.

    A stream gives what the whole utterance gives, however it is cut; padding changes nothing;
    look-ahead and context are as inferred; the end is flushed whole; streams of a batch do not see
    each other; parameters, state and products are as many as `asrc inspect` says. Without
    --weights, they are random.
    """
    model = load(file, settings)
    facts = run(model, pipeline, passes, Watch((), False, False, None)).facts
    findings = _contract(facts, weights, seed)
    _show(findings)
    broken = [finding for finding in findings if not finding.ok]
    if broken:
        from ..compiler.diagnostics import AsrcError, Diagnostic

        notes = tuple(f"{finding.check}: {finding.words}" for finding in broken)
        message = f"`{facts.graph.name}` does not keep the streaming contract"
        raise AsrcError(Diagnostic("E1101", message, notes=notes))


def _contract(facts: Facts, weights: Path | None, seed: int) -> list[Finding]:
    from ..backends.torch.contract import run_contract
    from ..backends.torch.trial import Trial

    return run_contract(Trial.of(_lowered(facts, weights, seed), seed), exact=weights is None)


def _lowered(facts: Facts, weights: Path | None, seed: int) -> Lowered:
    from ..backends.torch.initialise import initialise
    from ..backends.torch.lowered import Lowered
    from ..backends.torch.weights import load_weights, read_tensors

    lowered = Lowered(facts)
    initialise(lowered, seed)
    if weights is not None:
        load_weights(lowered, read_tensors(weights)[0], str(weights))
    return lowered.eval()


def _show(findings: list[Finding]) -> None:
    if look().json:
        fields = ("check", "worst", "limit", "ok", "words")
        show_json({"findings": [{name: getattr(f, name) for name in fields} for f in findings]})
        return
    rows = [
        (finding.check, f"{finding.worst:.1e}", "holds" if finding.ok else "broken")
        for finding in findings
    ]
    show_table(("contract", "largest difference", ""), rows, left=1, trailing=1)
