"""Running a model's pipeline, or passes typed on the command line, for the commands that do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .options import read_source
from .terminal import look, show_table, show_text

if TYPE_CHECKING:
    from ..compiler.manager import Options, Result
    from ..compiler.protocol import Weights
    from ..dsl.check import Model
    from ..dsl.pipelines import Plan
    from ..dsl.syntax import Expr

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Watch:
    """What to see of passes while they run."""

    after: tuple[str, ...]
    on_change: bool
    times: bool
    keep: Path | None

    @property
    def asked(self) -> bool:
        return bool(self.after or self.on_change or self.times or self.keep)

    def options(self) -> Options:
        """For the pass manager. Raises AsrcError E0804 for a pass that does not exist."""
        from ..compiler.manager import Options
        from ..compiler.passtable import lookup

        if look().json and (self.after or self.on_change or self.times):
            raise click.UsageError("with --json only --keep-ir goes")
        for name in self.after:
            lookup(name)
        return Options(frozenset(self.after), self.on_change, self.keep, show=show_text)

    def show_times(self, result: Result) -> None:
        if self.times:
            rows = [(str(step.call), f"{step.seconds * 1000:.1f}ms") for step in result.steps]
            show_table(("pass", "time"), rows)


def watch_options(command: Command) -> Command:
    """`--print-ir-after`, `--print-ir-on-change`, `--time-passes` and `--keep-ir`; see `watch`."""
    for option in (
        click.option("--keep-ir", type=click.Path(path_type=Path), metavar="DIR",
                     help="Write the graph's text before and after every pass."),
        click.option("--time-passes", is_flag=True, help="Print the time of every pass."),
        click.option("--print-ir-on-change", is_flag=True,
                     help="Print the graph's text after passes that change it."),
        click.option("--print-ir-after", metavar="PASS", multiple=True,
                     help="Print the graph's text after this pass; may be repeated."),
    ):  # fmt: skip
        command = option(command)
    return command


def watch(given: dict[str, Any]) -> Watch:
    """Takes the values of `watch_options` out of a command's arguments."""
    return Watch(
        given.pop("print_ir_after"),
        given.pop("print_ir_on_change"),
        given.pop("time_passes"),
        given.pop("keep_ir"),
    )


def load(file: str, settings: Mapping[str, Expr]) -> Model:
    """A model whose facts are there. Raises AsrcError with every mistake in it."""
    from ..compiler.diagnostics import AsrcError
    from ..dsl.check import read_model

    source, folder = read_source(file)
    model = read_model(source, settings, folder)
    if model.facts is None:
        raise AsrcError(*model.diagnostics)
    return model


def run(
    model: Model,
    pipeline: str | None,
    passes: str | None,
    watch: Watch,
    weights: Weights | None = None,
) -> Result:
    """The graph after a pipeline of the file, or the passes of the command line, or neither;
    `weights` are those before.

    Raises AsrcError where a pass cannot run.
    """
    from ..compiler.manager import run_pipeline

    if pipeline is not None and passes is not None:
        raise click.UsageError("--pipeline and --passes exclude each other")
    if watch.asked and pipeline is None and passes is None:
        raise click.UsageError("to watch passes, choose --pipeline or --passes")
    plan = _plan(model, pipeline, passes)
    assert model.facts is not None
    facts, options = model.facts, watch.options()
    result = run_pipeline(
        facts.graph, plan.calls, plan.budgets, weights=weights, options=options, facts=facts
    )
    watch.show_times(result)
    return result


def _plan(model: Model, pipeline: str | None, passes: str | None) -> Plan:
    from ..compiler.diagnostics import AsrcError
    from ..dsl.pipelines import Plan, parse_pass_text, unknown_pipeline

    if passes is not None:
        return Plan("", parse_pass_text(passes, "--passes"), ())
    if pipeline is None:
        return Plan("", (), ())
    if pipeline not in model.plans:
        raise AsrcError(unknown_pipeline(pipeline, None, model.plans))
    return model.plans[pipeline]
