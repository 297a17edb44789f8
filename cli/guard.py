"""The way out: whatever ends a command becomes a line of text and an exit code.

An exception that nobody foresaw is written to a file; the terminal sees one line.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..compiler.diagnostics import Diagnostic

FAILED, NO_FILE, INTERNAL, INTERRUPTED, READER_GONE = 1, 3, 70, 130, 141
"""And 2 for wrong usage, by click."""

_SPECIAL = {"E0008": NO_FILE, "E0999": INTERNAL}


class Guard:
    """Ends the process with a documented exit code, and never with a traceback."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, SystemExit):
            sys.exit(_ended_by(error))


def exit_code(found: Iterable[Diagnostic]) -> int:
    """The exit code for diagnostics: that of the gravest."""
    return max((_SPECIAL.get(d.code, FAILED) for d in found if d.severity == "error"), default=0)


def version() -> str:
    """Of the installed package; a bare checkout has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("asrc")
    except PackageNotFoundError:
        return "(not installed)"


def _ended_by(error: BaseException) -> int:
    match error:
        case click.ClickException():
            error.show()
            return error.exit_code
        case click.Abort() | KeyboardInterrupt():
            return INTERRUPTED
        case OSError():
            click.echo(f"error: {error}", err=True)
            return NO_FILE
    return _internal(error)


def close_quietly() -> None:
    """For when the reader of stdout went away: Python flushes it once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _internal(error: BaseException) -> int:
    try:
        written = f"see {_write_report(error)}"
    except OSError as failed:
        written = f"its report cannot be written: {failed}"
    name = type(error).__name__
    click.echo(f"internal error ({name}): this is a mistake in asrc; {written}", err=True)
    return INTERNAL


def _write_report(error: BaseException) -> str:
    """What a developer needs to see the error again."""
    lines = [
        f"asrc {version()}, Python {platform.python_version()}, {platform.platform()}",
        f"$ {shlex.join(['asrc', *sys.argv[1:]])}",
        "",
        *traceback.format_exception(error),
    ]
    with tempfile.NamedTemporaryFile(
        "w",
        prefix="asrc-error-",
        suffix=".txt",
        delete=False,
        encoding="utf-8",
        errors="backslashreplace",
    ) as file:
        file.write("\n".join(lines))
    return file.name
