"""`asrc check`: every mistake of every file, and what the models that have none are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .guard import FAILED, exit_code
from .options import FILE, read_source, settings_option
from .pipeline import Watch, watch, watch_options
from .terminal import common, look, show_diagnostics, show_json, show_table, show_text, style_option

if TYPE_CHECKING:
    from ..compiler.diagnostics import Diagnostic
    from ..compiler.facts import Facts
    from ..compiler.manager import Result
    from ..dsl.check import Model
    from ..dsl.syntax import Expr


@click.command("check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@settings_option
@click.option("--pipeline", metavar="NAME", help="Check this pipeline alone.")
@click.option("--deny-warnings", is_flag=True, help="Warnings fail the check as well.")
@watch_options
@style_option
@common
def command(
    files: tuple[str, ...],
    settings: Mapping[str, Expr],
    pipeline: str | None,
    deny_warnings: bool,
    **given: Any,
) -> None:
    """Check models; the file `-` is stdin.

    Mistakes go to stderr, all of them at once. A model without any is summed up: for each net its
    type, look-ahead, state, parameters and multiply-accumulates, and for each pipeline.
    """
    watched = watch(given)
    if watched.asked and pipeline is None:
        raise click.UsageError("to watch passes, choose a --pipeline")
    checked = [_check(file, settings, pipeline, watched) for file in files]
    found = [item for one in checked for item in one.diagnostics]
    code = exit_code(found) or (FAILED if found and deny_warnings else 0)
    if look().json:
        show_json({"ok": code == 0, "files": [_as_json(one) for one in checked]})
    else:
        show_diagnostics(found)
        _show_summaries([one for one in checked if one.model and one.model.ok], pipeline)
    click.get_current_context().exit(code)


@dataclass(frozen=True, slots=True)
class Checked:
    """A file and what came of it; no model where it could not be read."""

    file: str
    model: Model | None
    diagnostics: tuple[Diagnostic, ...]


def _check(
    file: str, settings: Mapping[str, Expr], pipeline: str | None, watched: Watch
) -> Checked:
    from ..compiler.diagnostics import AsrcError
    from ..dsl.check import check_model, read_model

    try:
        source, folder = read_source(file)
    except AsrcError as error:
        return Checked(file, None, error.diagnostics)
    model = check_model(read_model(source, settings, folder), pipeline, watched.options())
    for result in model.results.values():
        watched.show_times(result)
    return Checked(file, model, model.diagnostics)


# --- text ------------------------------------------------------------------------------------


def _show_summaries(checked: Iterable[Checked], pipeline: str | None) -> None:
    for index, one in enumerate(checked):
        if index:
            show_text("")
        assert one.model is not None
        _show_summary(one.file, one.model, pipeline)


def _show_summary(file: str, model: Model, pipeline: str | None) -> None:
    """The nets before any pass, and a line for each pipeline; or the nets after the chosen one."""
    assert model.facts is not None
    name = model.facts.graph.name
    if not model.facts.graph.outputs:
        show_text(f"{file}: a library, all well")
    elif pipeline is not None:
        show_text(f"{file}: model {name} after pipeline {pipeline}")
        _show_nets(model.results[pipeline].facts)
    else:
        show_text(f"{file}: model {name}")
        _show_nets(model.facts)
        _show_pipelines(model.results)


def _show_nets(facts: Facts) -> None:
    from ..compiler.report import net_rows, total
    from .figures import SUMMARY, summary, type_text

    rows = [(row.entry.path, type_text(row), *summary(row.figures)) for row in net_rows(facts)]
    rows.append(("total", "", *summary(total(facts))))
    show_table(("net", "type", *SUMMARY), rows, left=2, trailing=1)


def _show_pipelines(results: Mapping[str, Result]) -> None:
    from ..compiler.report import total
    from .figures import SUMMARY, summary

    rows = [(name, *summary(total(result.facts))) for name, result in results.items()]
    if rows:
        show_text("")
        show_table(("pipeline", *SUMMARY), rows, trailing=1)


# --- JSON ------------------------------------------------------------------------------------


def _as_json(one: Checked) -> dict[str, Any]:
    from ..compiler.report_json import model_json
    from ..dsl.render import as_dict

    found = {"file": one.file, "diagnostics": [as_dict(item) for item in one.diagnostics]}
    if one.model is None or one.model.facts is None or not one.model.ok:
        return {"ok": False, **found}
    results = one.model.results.items()
    return {
        "ok": True,
        **found,
        "model": one.model.facts.graph.name,
        **model_json(one.model.facts),
        "pipelines": {name: model_json(result.facts) for name, result in results},
    }
