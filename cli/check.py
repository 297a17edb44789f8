"""`asrc check`: every mistake of every file, and what the models that have none are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .guard import FAILED, exit_code
from .options import read_source, settings_option
from .terminal import common, look, show_diagnostics, show_json, show_table, show_text, style_option

if TYPE_CHECKING:
    from ..compiler.diagnostics import Diagnostic
    from ..dsl.check import Model
    from ..dsl.syntax import Expr


@click.command("check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@settings_option
@click.option("--pipeline", metavar="NAME", help="Check this pipeline alone.")
@click.option("--deny-warnings", is_flag=True, help="Warnings fail the check as well.")
@style_option
@common
def command(
    files: tuple[str, ...],
    settings: Mapping[str, Expr],
    pipeline: str | None,
    deny_warnings: bool,
) -> None:
    """Check models; the file `-` is stdin.

    Mistakes go to stderr, all of them at once. A model without any is summed up: for each net its
    type, look-ahead, state, parameters and multiply-accumulates, and for each pipeline.
    """
    checked = [_check(file, settings, pipeline) for file in files]
    found = [item for one in checked for item in one.diagnostics]
    code = exit_code(found) or (FAILED if found and deny_warnings else 0)
    if look().json:
        show_json({"ok": code == 0, "files": [_as_json(one) for one in checked]})
    else:
        show_diagnostics(found)
        _show_summaries([one for one in checked if one.model and one.model.ok])
    click.get_current_context().exit(code)


@dataclass(frozen=True, slots=True)
class Checked:
    """A file and what came of it; no model where it could not be read."""

    file: str
    model: Model | None
    diagnostics: tuple[Diagnostic, ...]


def _check(file: str, settings: Mapping[str, Expr], pipeline: str | None) -> Checked:
    from ..compiler.diagnostics import AsrcError
    from ..dsl.check import check_model, read_model

    try:
        source, folder = read_source(file)
    except AsrcError as error:
        return Checked(file, None, error.diagnostics)
    model = check_model(read_model(source, settings, folder), pipeline)
    return Checked(file, model, model.diagnostics)


# --- text ------------------------------------------------------------------------------------


def _show_summaries(checked: Iterable[Checked]) -> None:
    for index, one in enumerate(checked):
        if index:
            show_text("")
        assert one.model is not None
        _show_summary(one.file, one.model)


def _show_summary(file: str, model: Model) -> None:
    from ..compiler.facts import Facts
    from ..compiler.report import net_rows, total
    from .figures import HEAD, cells, type_text

    assert model.graph is not None
    facts = Facts(model.graph)
    nets = net_rows(facts)
    if not nets:
        show_text(f"{file}: a library, all well")
        return
    show_text(f"{file}: model {model.graph.name}")
    rows = [(row.entry.path, type_text(row), *cells(row.figures)) for row in nets]
    show_table(("net", "type", *HEAD), [*rows, ("total", "", *cells(total(facts)))],
        left=2, trailing=1)
    if model.results:
        show_text("")
        runs = model.results.items()
        pipelines = [(name, *cells(total(result.facts))) for name, result in runs]
        show_table(("pipeline", *HEAD), pipelines, trailing=1)


# --- JSON ------------------------------------------------------------------------------------


def _as_json(one: Checked) -> dict[str, Any]:
    from ..compiler.facts import Facts
    from ..compiler.report_json import model_json
    from ..dsl.render import as_dict

    found = {"file": one.file, "diagnostics": [as_dict(item) for item in one.diagnostics]}
    if one.model is None or one.model.graph is None or not one.model.ok:
        return {"ok": False, **found}
    results = one.model.results.items()
    return {
        "ok": True,
        **found,
        "model": one.model.graph.name,
        **model_json(Facts(one.model.graph)),
        "pipelines": {name: model_json(result.facts) for name, result in results},
    }
