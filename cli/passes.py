"""`asrc passes`: which passes there are, and what those of a pipeline do to a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .guard import exit_code
from .options import FILE, settings_option
from .pipeline import load, run, watch, watch_options
from .terminal import common, look, show_diagnostics, show_json, show_table, show_text

if TYPE_CHECKING:
    from ..compiler.manager import Result
    from ..compiler.passtable import Entry, Option
    from ..dsl.syntax import Expr


def _names(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    """For the shell to complete."""
    from ..compiler.passtable import all_passes

    return [name for name, _ in all_passes() if name.startswith(begun)]


@click.command("passes")
@click.argument("name", required=False, shell_complete=_names)
@click.option(
    "--explain", metavar="FILE", type=FILE, help="What the passes of a pipeline do to this model."
)
@click.option("--pipeline", metavar="NAME", help="The pipeline to explain.")
@click.option("--passes", metavar="CALLS", help="Or these passes: 'mask(encoder, causal)'.")
@click.option(
    "--replay", metavar="REPORT", type=FILE, help="Run again what ended in an internal error."
)
@settings_option
@watch_options
@common
def command(
    name: str | None,
    explain: str | None,
    pipeline: str | None,
    passes: str | None,
    replay: str | None,
    settings: Mapping[str, Expr],
    **given: Any,
) -> None:
    """List the passes, or describe pass NAME and its options."""
    watched = watch(given)
    if sum(x is not None for x in (name, explain, replay)) > 1:
        raise click.UsageError("NAME, --explain and --replay exclude each other")
    if explain is not None:
        if pipeline is None and passes is None:
            raise click.UsageError("--explain needs --pipeline or --passes")
        _explain(run(load(explain, settings), pipeline, passes, watched))
    elif replay is not None:
        _replay(replay)
    elif name is not None:
        _describe(name)
    else:
        _list()


# --- the table of passes ---------------------------------------------------------------------


def _list() -> None:
    from ..compiler.passtable import all_passes

    found = list(all_passes())
    if look().json:
        show_json([_as_json(name, entry) for name, entry in found])
    else:
        show_table(("pass", "what it does"), [(n, e.summary) for n, e in found], left=2)


def _describe(name: str) -> None:
    from ..compiler.passtable import lookup

    entry = lookup(name)
    if look().json:
        show_json(_as_json(name, entry))
        return
    show_text(f"{name}: {entry.summary}")
    if entry.options:
        show_text("")
        head = ("option", "takes", "default", "meaning")
        show_table(head, [_option_cells(option) for option in entry.options], left=4)
    show_text("")
    show_text(f"keeps: {', '.join(sorted(entry.keeps)) or 'nothing'}")
    if entry.after:
        show_text(f"comes after: {', '.join(entry.after)}")


def _option_cells(option: Option) -> tuple[str, str, str, str]:
    kind = " | ".join(option.choices) or option.kind
    default = "required" if option.required else _default(option.default)
    return option.name if option.positional else f"{option.name}=", kind, default, option.doc


def _default(value: object) -> str:
    return "-" if value is None else str(value)


def _as_json(name: str, entry: Entry) -> dict[str, Any]:
    return {
        "name": name,
        "summary": entry.summary,
        "keeps": sorted(entry.keeps),
        "after": list(entry.after),
        "options": [_option_json(option) for option in entry.options],
    }


def _option_json(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "kind": option.kind,
        "doc": option.doc,
        "required": option.required,
        "default": None if option.required or option.default is None else str(option.default),
        "positional": option.positional,
        "least": option.low,
        "choices": list(option.choices),
    }


# --- what passes do --------------------------------------------------------------------------


def _explain(result: Result) -> None:
    if look().json:
        show_json(_effects_json(result))
    else:
        _show_effects(result)
        show_diagnostics(result.diagnostics)
    click.get_current_context().exit(exit_code(result.diagnostics))


def _show_effects(result: Result) -> None:
    """A line a pass; `=` is as before it."""
    from ..compiler.facts import Facts
    from ..compiler.report import total
    from .figures import HEAD, cells

    start = result.steps[0].before if result.steps else Facts(result.graph)
    stages = [("as written", start), *((str(step.call), step.after) for step in result.steps)]
    lines: list[tuple[str, ...]] = []
    before: tuple[str, ...] = ()
    for name, facts in stages:
        now = (str(len(facts.graph)), *cells(total(facts)))
        same = (new if new != old else "=" for new, old in zip(now, before or now, strict=True))
        lines.append((name, *(same if before else now)))
        before = now
    show_table(("pass", "values", *HEAD), lines, trailing=1)


def _effects_json(result: Result) -> dict[str, Any]:
    from ..compiler.report import total
    from ..compiler.report_json import figures_json
    from ..dsl.render import as_dict

    return {
        "ok": not exit_code(result.diagnostics),
        "passes": [
            {
                "call": str(step.call),
                "changed": step.changed,
                "seconds": step.seconds,
                "before": figures_json(total(step.before)),
                "after": figures_json(total(step.after)),
            }
            for step in result.steps
        ],
        "diagnostics": [as_dict(item) for item in result.diagnostics],
    }


def _replay(file: str) -> None:
    """Runs the calls of a report on its graph; ends as they do."""
    from ..compiler.irread import parse_graph
    from ..compiler.manager import run_pipeline
    from ..compiler.reproducer import parse_reproducer
    from ..dsl.load import load_source
    from ..dsl.pipelines import parse_pass_text

    report = parse_reproducer(load_source(Path(file)).text, file)
    calls = parse_pass_text(report.calls.replace("\n", ", "), file)
    run_pipeline(parse_graph(report.graph, file), calls)
    show_text("it runs without an error now")
