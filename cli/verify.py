"""`asrc verify`: the streaming contract, run on a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .guard import FAILED, exit_code
from .options import FILE, settings_option
from .pipeline import Watch, load, run
from .terminal import common, look, show_diagnostics, show_json, show_table, show_text

if TYPE_CHECKING:
    from ..backends.torch.lowered import Lowered
    from ..backends.torch.trial import Finding, Trial
    from ..compiler.diagnostics import Diagnostic
    from ..compiler.facts import Facts
    from ..compiler.graph import Graph
    from ..dsl.syntax import Expr
    from ..runtime.verified import Verdict


@click.command("verify")
@click.argument("file", type=FILE)
@settings_option
@click.option("--pipeline", metavar="NAME", help="After this pipeline of the file.")
@click.option("--passes", metavar="CALLS", help="After these passes: 'mask(encoder, causal)'.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="WEIGHTS",
    help="With these weights (safetensors); random ones, if not given.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the random utterances, and weights.",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@common
def command(
    file: str,
    settings: Mapping[str, Expr],
    pipeline: str | None,
    passes: str | None,
    weights: Path | None,
    seed: int,
    threads: int,
) -> None:
    """Check on the model itself that streaming is what the whole utterance is.

    However a stream is cut into pieces, it gives what the whole utterance gives, also at its end;
    padding and neighbours in a batch change nothing, also when some begin anew; look-ahead and
    context, parameters, state and work are as `asrc inspect` says.

    FILE may also be a folder that `asrc train` made, which has weights of its own, or what
    `asrc compile` made: its golden vectors run again, on the executor here and on LiteRT's
    reference kernels.
    """
    _need_torch()
    from ..runtime.threads import use_threads

    use_threads(threads)
    if file.endswith(".asrc"):
        _refuse_options()
        click.get_current_context().exit(FAILED if _vectors(Path(file)) else 0)
    if Path(file).is_dir():
        if settings or pipeline or passes or weights:
            raise click.UsageError(
                "a trained folder has its passes and weights, and takes no others"
            )
        weights = Path(file)
        trial = _trained(weights, seed)
    else:
        _refuse_graph(file)
        result = run(load(file, settings), pipeline, passes, Watch((), False, False, None))
        trial = _trial(result.facts, weights, seed)
    from ..backends.torch.contract import run_contract

    findings = run_contract(trial, exact=weights is None)
    broken = [_broken(trial, finding) for finding in findings if not finding.ok]
    if look().json:
        show_json(_as_json(findings, broken))
    else:
        show_text(_title(file, trial.lowered.facts, pipeline or passes, weights))
        show_table(HEAD, [_cells(finding) for finding in findings], trailing=1)
        show_diagnostics(broken)
    click.get_current_context().exit(exit_code(broken) and FAILED)


def _refuse_options() -> None:
    """Raises UsageError for options that would change what is compiled already."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in _OF_MODELS and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            message = f"{parameter.opts[0]} is for models; an artefact runs its golden vectors"
            raise click.UsageError(message)


_OF_MODELS = ("settings", "pipeline", "passes", "weights", "seed")


def _need_torch() -> None:
    """Raises AsrcError E1102 where PyTorch is not installed."""
    from importlib.util import find_spec

    from ..compiler.diagnostics import AsrcError, diagnostic

    if find_spec("torch") is None:
        message = "this needs PyTorch, which is not installed"
        help = "pip install -e '.[train]' -c constraints.txt"
        raise AsrcError(diagnostic("E1102", message, help=help))


def _trial(facts: Facts, weights: Path | None, seed: int) -> Trial:
    """The model with its weights. Raises AsrcError E0008 or E1006 for a file that does not fit."""
    from ..backends.torch.initialise import initialise
    from ..backends.torch.lowered import lower
    from ..backends.torch.trial import Trial

    lowered = lower(facts)
    initialise(lowered, seed)
    if weights is not None:
        _read(lowered, weights)
    return Trial.of(lowered, seed)


def _trained(folder: Path, seed: int) -> Trial:
    """Raises AsrcError E0008 or E1006 where it is no whole folder that `asrc train` made."""
    from ..backends.torch.trial import Trial
    from ..runtime.recogniser import read_recogniser

    return Trial.of(read_recogniser(folder).lowered, seed)


def _refuse_graph(file: str) -> None:
    """Raises AsrcError E1006 for the text of a graph, which is no language of models."""
    from ..compiler.diagnostics import AsrcError, diagnostic

    if file.endswith(".asrir"):
        message = f"`{file}` is the graph of a trained model, without its weights"
        raise AsrcError(diagnostic("E1006", message, help=f"give its folder: {Path(file).parent}"))


def _read(lowered: Lowered, weights: Path) -> None:
    from ..backends.torch.weights import load_weights, read_tensors

    tensors, _ = read_tensors(weights)
    load_weights(lowered, tensors, str(weights))


def _broken(trial: Trial, finding: Finding) -> Diagnostic:
    """E1101, at the first value that differs, where values do."""
    from ..backends.torch.blame import first_difference
    from ..compiler.diagnostics import diagnostic

    path = first_difference(trial) if finding.check in LOCATED else None
    place = f"; the first value that differs is `{path}`" if path else ""
    return diagnostic(
        "E1101",
        f"streaming contract broken, {finding.check}: {finding.words}{place}",
        trial.lowered.facts.graph[path].span if path else None,
        help=_ROUNDED if _rounds(trial.lowered.facts.graph) else _MISTAKE,
    )


_MISTAKE = (
    "this is a mistake in asrc or in a pass, not in the model: leave passes out one by one with"
    " `--passes`, and report what is left"
)
_ROUNDED = (
    "`quantize` without `substitute` rounds values between float operators; float sums differ in"
    " their last bits, and a value may be rounded to another code as a stream. In integers nothing"
    " differs: run `substitute()` first, on the same values, and report what still does"
)


def _rounds(graph: Graph) -> bool:
    """Whether float operators make values that are rounded to a number format."""
    from ..compiler.placement import HOST

    return any(
        "number" in node.attrs and "on" not in node.attrs and node.op not in HOST for node in graph
    )


LOCATED = ("streaming equals offline", "flush at the end", "streams of a batch")

# --- what is shown ---------------------------------------------------------------------------

HEAD = ("check", "largest difference", "allowed", "verdict")


def _title(file: str, facts: Facts, passes: str | None, weights: Path | None) -> str:
    after = f" after {passes}" if passes else ""
    with_ = f"the weights of {weights}" if weights else "random weights"
    return f"{file}: model {facts.graph.name}{after}, {with_}"


def _cells(finding: Finding) -> tuple[str, str, str, str]:
    verdict = "holds" if finding.ok else "broken"
    return finding.check, _number(finding.worst), _number(finding.limit), verdict


def _number(x: float) -> str:
    return f"{x:.1e}" if x else "none"


def _as_json(findings: list[Finding], broken: list[Diagnostic]) -> dict[str, Any]:
    from ..dsl.render import as_dict

    return {
        "ok": not broken,
        "checks": [
            {
                "check": finding.check,
                "difference": finding.worst if finding.worst < float("inf") else None,
                "allowed": finding.limit,
                "ok": finding.ok,
            }
            for finding in findings
        ],
        "diagnostics": [as_dict(item) for item in broken],
    }


# --- artefacts -------------------------------------------------------------------------------


def _vectors(path: Path) -> list[Diagnostic]:
    """Shows what golden vectors say; E1204 where they differ."""
    from ..runtime.verified import verified

    verdicts = list(verified(path))
    broken = [_differs(one) for one in verdicts if one.mismatch is not None]
    if look().json:
        from ..dsl.render import as_dict

        show_json({"ok": not broken, "diagnostics": [as_dict(item) for item in broken]})
        return broken
    rows = [
        (one.program, one.runtime, f"{one.codes:,}", "differs" if one.mismatch else "equal")
        for one in verdicts
    ]
    show_table(("program", "runtime", "codes", "golden vectors"), rows, left=2)
    show_diagnostics(broken)
    return broken


def _differs(one: Verdict) -> Diagnostic:
    from ..compiler.diagnostics import diagnostic

    assert one.mismatch is not None
    message = (
        f"`{one.program}` on {one.runtime}: `{one.mismatch.tensor}` of step {one.mismatch.step}"
        f" differs from the golden vectors in {one.mismatch.codes} codes"
    )
    return diagnostic("E1204", message, help="this runtime computes other integers: report it")
