"""`asrc`: the command line.

Each command is in the module of its name, imported when it is asked for; what a command needs it
imports when it runs. So `asrc --help` loads click and nothing else.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, cast

import click

from .guard import FAILED, READER_GONE, Guard, close_quietly, exit_code, version
from .terminal import plain_warnings, show_diagnostics

COMMANDS = (
    "bench",
    "check",
    "compile",
    "completion",
    "convert",
    "corpora",
    "diff",
    "eval",
    "explain",
    "fmt",
    "inspect",
    "new",
    "passes",
    "run",
    "size",
    "train",
    "transcribe",
    "verify",
)

HELP = """Compile streaming speech recognisers written in `.asr`.

\b
  asrc new mine --template rnnt     begin a model
  asrc check mine.asr               types, look-ahead, state, size, budgets
  asrc inspect mine.asr             the same, layer by layer
"""

EXIT_CODES = """\b
Exit codes:
    0  all is well
    1  a mistake that has a code, or a difference found
    2  wrong usage
    3  a file of the command cannot be read or written
   70  internal error; a report was written
  130  interrupted
  141  the reader of the output went away
"""


class Commands(click.Group):
    """The commands, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return cast(click.Command, import_module(f".{cmd_name}", __package__).command)

    def invoke(self, ctx: click.Context) -> Any:
        from ..compiler.diagnostics import AsrcError

        try:
            with plain_warnings():
                return super().invoke(ctx)
        except AsrcError as error:
            show_diagnostics(error.diagnostics)
            ctx.exit(exit_code(error.diagnostics) or FAILED)
        except BrokenPipeError:
            close_quietly()
            ctx.exit(READER_GONE)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from ..compiler.nearest import did_you_mean

            hint = did_you_mean(name, COMMANDS) or f"commands are {', '.join(COMMANDS)}"
            ctx.fail(f"There is no command `{name}`; {hint}")
        return super().resolve_command(ctx, args)


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"asrc {version()}")
        ctx.exit()


@click.group(
    cls=Commands,
    help=HELP,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version)
def cli() -> None:
    pass


def main() -> None:
    """The program `asrc`."""
    with Guard():
        sys.exit(cli.main(prog_name="asrc", standalone_mode=False) or 0)
