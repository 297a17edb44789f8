"""`asrc inspect`: what a model is made of, before and after passes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .guard import exit_code
from .options import FILE, settings_option
from .pipeline import load, run, watch, watch_options
from .terminal import common, look, show_diagnostics, show_json, show_table, show_text

if TYPE_CHECKING:
    from ..compiler.facts import Facts
    from ..compiler.manager import Result
    from ..compiler.report import HeldRow
    from ..dsl.check import Model
    from ..dsl.syntax import Expr


View = Callable[["Facts"], None]


@click.command("inspect")
@click.argument("file", type=FILE)
@settings_option
@click.option("--pipeline", metavar="NAME", help="After this pipeline of the file.")
@click.option("--passes", metavar="CALLS", help="After these passes: 'mask(encoder, causal)'.")
@click.option(
    "--depth",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="How many levels below the nets to open.",
)
@click.option("--state", is_flag=True, help="What streaming holds, value by value.")
@click.option("--params", is_flag=True, help="Parameters and buffers by name.")
@click.option("--contributors", metavar="NAME", help="Where a value's look-ahead comes from.")
@click.option("--ir", is_flag=True, help="The graph as text.")
@click.option("--dot", is_flag=True, help="A drawing in the DOT language.")
@click.option("--svg", type=click.Path(path_type=Path), metavar="OUT", help="The drawing as SVG.")
@watch_options
@common
def command(
    file: str, settings: Mapping[str, Expr], pipeline: str | None, passes: str | None, **given: Any
) -> None:
    """Show a model layer by layer: shape @ period, look-ahead, state, parameters, MACs.

    Layers that are alike are one row, with the sum of their figures; look-ahead is that of what a
    row hands on. Budgets that do not hold are reported on stderr.
    """
    watched = watch(given)
    view = _view(given)
    model = load(file, settings)
    result = run(model, pipeline, passes, watched)
    if look().json:
        show_json(_as_json(model, result, given["depth"]))
    else:
        view(result.facts)
        show_diagnostics([*model.diagnostics, *result.diagnostics])
    click.get_current_context().exit(exit_code(result.diagnostics))


def _view(given: Mapping[str, Any]) -> View:
    """What the options ask to be shown; the table of layers when they ask for nothing."""
    views: dict[str, View] = {
        "state": _show_state,
        "params": _show_tensors,
        "contributors": lambda facts: _show_waits(facts, given["contributors"]),
        "ir": _show_ir,
        "dot": lambda facts: show_text(_dot(facts, given["depth"]).rstrip()),
        "svg": lambda facts: _write_svg(given["svg"], _dot(facts, given["depth"])),
    }
    asked = [name for name in views if given[name]]
    if len(asked) > 1 or (asked and look().json):
        others = [*asked, *(["json"] if look().json else [])]
        raise click.UsageError(f"one at a time: {', '.join(f'--{name}' for name in others)}")
    return views[asked[0]] if asked else lambda facts: _show_layers(facts, given["depth"])


# --- tables ----------------------------------------------------------------------------------


def _show_layers(facts: Facts, depth: int) -> None:
    from ..compiler.report import rows, total
    from ..compiler.units import format_time
    from .figures import HEAD, cells, path_text, state, type_text

    lines = [
        (path_text(row), row.entry.kind, type_text(row), *cells(row.figures))
        for row in rows(facts, depth)
    ]
    whole = total(facts)
    show_table(
        ("layer", "is", "shape @ period", *HEAD),
        [*lines, ("total", "", "", *cells(whole))],
        left=3,
        trailing=1,
    )
    show_text(f"state(step), every {format_time(facts.step_seconds)}: {state(whole.step)}")


def _show_state(facts: Facts) -> None:
    from ..compiler.report import held_rows, total
    from .figures import state

    lines = [
        (row.figure, row.path, row.kind, str(row.type), row.format, _frames(row), state(row.bits),
         " ".join(row.readers))
        for row in held_rows(facts)
    ]  # fmt: skip
    head = ("state", "value", "kind", "type", "format", "frames", "bytes", "read by")
    show_table(head, lines, left=5, trailing=1)
    whole = total(facts)
    show_text(f"state(frame) {state(whole.frame)}, state(step) {state(whole.step)}")


def _frames(row: HeldRow) -> str:
    return "ever more" if row.frames is None else str(row.frames)


def _show_tensors(facts: Facts) -> None:
    from ..compiler.report import tensors

    found = list(tensors(facts))
    lines = [
        (t.name, str(list(t.shape)), t.format, f"{t.count:,}", "" if t.learned else "buffer")
        for t in found
    ]
    show_table(("name", "shape", "format", "count", ""), lines, left=3, trailing=1)
    learned, fixed = (sum(t.count for t in found if t.learned is kind) for kind in (True, False))
    show_text(f"{learned:,} parameters, {fixed:,} buffer values")


def _show_waits(facts: Facts, name: str) -> None:
    from ..compiler.budgets import Measure
    from ..compiler.keeps import show_lookahead
    from ..compiler.measure import latest
    from ..compiler.report import waits
    from ..compiler.rows import lines
    from ..compiler.units import format_time

    path = latest(facts, Measure("lookahead", name, None, None))
    worst = facts.lookahead(path)
    show_text(f"{name}: look-ahead {show_lookahead(worst)}")
    amount = format_time if worst is not None else lambda _: "unbounded"
    for line in lines(waits(facts, path), amount):
        show_text(f"  {line}")


# --- the graph -------------------------------------------------------------------------------


def _show_ir(facts: Facts) -> None:
    from ..compiler.irtext import print_graph

    show_text(print_graph(facts.graph, facts.types).rstrip("\n"))


def _dot(facts: Facts, depth: int) -> str:
    from ..compiler.dot import to_dot

    return to_dot(facts, depth)


def _write_svg(out: Path, dot: str) -> None:
    """Raises AsrcError E0008 where Graphviz is missing, or the file cannot be written."""
    from ..compiler.diagnostics import AsrcError, diagnostic
    from ..compiler.files import write_text

    program = shutil.which("dot")
    if program is None:
        message = "`dot` of Graphviz is not on the PATH, and it makes the drawing"
        help = "install the package `graphviz`, or print the drawing with `--dot`"
        raise AsrcError(diagnostic("E0008", message, help=help))
    done = subprocess.run([program, "-Tsvg"], input=dot, capture_output=True, text=True)
    if done.returncode:
        raise AsrcError(diagnostic("E0008", f"`dot` fails: {done.stderr.strip()}"))
    write_text(out, done.stdout)
    show_text(f"{out} is written")


# --- JSON ------------------------------------------------------------------------------------


def _as_json(model: Model, result: Result, depth: int) -> dict[str, Any]:
    from ..compiler import report_json as to
    from ..compiler.report import held_rows, rows, tensors
    from ..dsl.render import as_dict

    facts = result.facts
    return {
        "ok": not exit_code(result.diagnostics),
        "model": facts.graph.name,
        "passes": [str(step.call) for step in result.steps],
        **to.model_json(facts),
        "layers": [to.row_json(row) for row in rows(facts, depth)],
        "contributors": {name: to.waits_json(facts, p) for name, p in facts.graph.outputs.items()},
        "state": [to.held_json(row) for row in held_rows(facts)],
        "tensors": [to.tensor_json(tensor) for tensor in tensors(facts)],
        "values": to.values_json(facts),
        "diagnostics": [as_dict(item) for item in (*model.diagnostics, *result.diagnostics)],
    }
