"""Options and arguments that several commands share, and what they stand for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..compiler.source import Source
    from ..dsl.syntax import Expr

Command = TypeVar("Command", bound=Callable[..., Any])

STDIN = "-"
FILE = click.Path(allow_dash=True)
"""Completed by shells as a path; what is wrong with it is found when it is read."""


def settings_option(command: Command) -> Command:
    return click.option(
        "--set",
        "settings",
        metavar="NAME=EXPR",
        multiple=True,
        callback=_settings,
        help="Give a `param` another value, such as `--set D=512`; may be repeated.",
    )(command)


def _settings(
    ctx: click.Context, param: click.Parameter, texts: Sequence[str]
) -> Mapping[str, Expr]:
    """Name -> expression. Raises AsrcError where one does not parse."""
    if not texts or ctx.resilient_parsing:
        return {}
    from ..dsl.check import setting

    found: dict[str, Expr] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"`{text}` is not NAME=EXPR", ctx, param)
        if name.strip() in found:
            raise click.BadParameter(f"`{name.strip()}` is set twice", ctx, param)
        found[name.strip()] = setting(name.strip(), value)
    return found


def read_source(file: str) -> tuple[Source, Path]:
    """The text of a file, or of stdin for `-`, and the folder that its `use` lines start from."""
    from ..dsl.load import MAX_BYTES, load_source, source_from_bytes

    if file == STDIN:
        return source_from_bytes("<stdin>", _stdin(MAX_BYTES + 1)), Path()
    return load_source(file), Path(file).parent


def _stdin(most: int) -> bytes:
    """Raises AsrcError E0008 where stdin is closed."""
    from ..compiler.diagnostics import AsrcError, diagnostic

    if sys.stdin is None:
        raise AsrcError(diagnostic("E0008", "cannot read <stdin>: it is closed"))
    return sys.stdin.buffer.read(most)
