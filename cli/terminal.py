"""What goes to the terminal: colours, tables, diagnostics, JSON."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from ..compiler.files import printable

if TYPE_CHECKING:
    from ..compiler.diagnostics import Diagnostic

Command = TypeVar("Command", bound=Callable[..., Any])


STYLES = ("graphical", "plain", "json")


@dataclass(frozen=True, slots=True)
class Look:
    """How output looks: `color` is auto, always or never; `style` is one of `STYLES`."""

    color: str = "auto"
    style: str = "graphical"

    @property
    def plain(self) -> bool:
        return self.style == "plain"

    @property
    def json(self) -> bool:
        return self.style == "json"

    def colored(self, stream: TextIO) -> bool:
        """NO_COLOR set to anything means no; see no-color.org."""
        if self.color != "auto":
            return self.color == "always"
        dumb = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return not self.plain and not dumb and stream.isatty()


def look() -> Look:
    """The look that the options of the running command ask for."""
    context = click.get_current_context(silent=True)
    return Look(**context.meta.get(__name__, {})) if context else Look()


def common(command: Command) -> Command:
    """The options of every command that says something: `--json`, `--plain`, `--color`."""
    command = click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        callback=_note("color"),
        expose_value=False,
        is_eager=True,
        help="Colour on a terminal (auto), always or never; NO_COLOR is respected.",
    )(command)
    command = _style_flag("plain", "No colour, no drawings; tables are tab-separated.")(command)
    return _style_flag("json", "Print JSON, for machines.")(command)


def style_option(command: Command) -> Command:
    """`--style`: `--plain` and `--json` in one."""
    return click.option(
        "--style",
        type=click.Choice(STYLES),
        callback=_note("style"),
        expose_value=False,
        is_eager=True,
        help="How mistakes are shown; plain and json are --plain and --json.",
    )(command)


def _style_flag(style: str, help: str) -> Callable[[Command], Command]:
    return click.option(
        f"--{style}",
        flag_value=style,
        default=None,
        callback=_note("style"),
        expose_value=False,
        is_eager=True,
        help=help,
    )


def _note(field: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def note(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta.setdefault(__name__, {})[field] = value

    return note


# --- writing ---------------------------------------------------------------------------------


def show_diagnostics(items: Iterable[Diagnostic]) -> None:
    """Diagnostics on stderr, or as JSON on stdout."""
    from ..dsl.render import as_dict, render

    found, style = list(items), look()
    if style.json:
        show_json({"ok": False, "diagnostics": [as_dict(item) for item in found]})
    elif found:
        color = style.colored(sys.stderr)
        click.echo(render(found, style.style, color=color), err=True, color=color)


@contextmanager
def plain_warnings(before: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Python's warnings as one line each on stderr, without a place in the source."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        before()
        click.echo(f"warning: {' '.join(str(message).split())}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def show_json(data: object) -> None:
    click.echo(printable(json.dumps(data, indent=2, ensure_ascii=False)))


def show_json_line(data: object) -> None:
    """One of many, as it comes."""
    click.echo(printable(json.dumps(data, ensure_ascii=False)))


def show_text(text: str) -> None:
    """Text on stdout; what is printed with `paint` keeps its colours where they are wanted."""
    click.echo(printable(text), color=look().colored(sys.stdout))


def show_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, trailing: int = 0
) -> None:
    """Columns under a head, flush right but for the first `left` and the last `trailing`.

    Under `--plain` the fields are separated by one tab each.
    """
    lines = [tuple(head), *map(tuple, rows)]
    if look().plain:
        show_text("\n".join("\t".join(line) for line in lines))
        return
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = [str.ljust if i < left or i >= len(head) - trailing else str.rjust
             for i in range(len(head))]  # fmt: skip
    for index, line in enumerate(lines):
        cells = (side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True))
        show_text(click.style("  ".join(cells).rstrip(), bold=index == 0))
