"""`asrc fmt`: files in the one layout there is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .guard import FAILED, exit_code
from .options import FILE, STDIN, read_source
from .terminal import common, look, show_diagnostics, show_json, show_text

if TYPE_CHECKING:
    from ..compiler.diagnostics import Diagnostic


@click.command("fmt")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file would change.")
@click.option("--diff", is_flag=True, help="Write nothing; print what would change.")
@click.option("--stdout", is_flag=True, help="Write nothing; print the formatted text.")
@common
def command(files: tuple[str, ...], check: bool, diff: bool, stdout: bool) -> None:
    """Format models in place; `-` formats stdin to stdout.

    There are no options for the layout. Comments stay. A file that does not parse stays as it is.
    """
    if stdout and (check or diff or look().json):
        raise click.UsageError("--stdout goes alone")
    done = [_format(file) for file in files]
    found = [item for one in done for item in one.diagnostics]
    for one in done:
        if diff:
            _show_diff(one)
        elif stdout or (one.file == STDIN and not (check or look().json)):
            click.echo(one.after, nl=False)
        elif one.changed and not check:
            _write(one)
    _report(done, found, "would be formatted" if check else "" if diff or stdout else "formatted")
    would = (check or diff) and any(one.changed for one in done)
    click.get_current_context().exit(exit_code(found) or (FAILED if would else 0))


@dataclass(frozen=True, slots=True)
class Formatted:
    """A file's text before and after; the same where it does not parse."""

    file: str
    before: str = ""
    after: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def changed(self) -> bool:
        return self.before != self.after


def _format(file: str) -> Formatted:
    from ..compiler.diagnostics import AsrcError
    from ..dsl.format import format_source

    try:
        source, _ = read_source(file)
        return Formatted(file, source.text, format_source(source))
    except AsrcError as error:
        return Formatted(file, diagnostics=error.diagnostics)


def _write(one: Formatted) -> None:
    from ..compiler.files import write_text

    if one.file != STDIN:
        write_text(Path(one.file).resolve(), one.after)


def _report(done: Iterable[Formatted], found: list[Diagnostic], words: str) -> None:
    from ..dsl.render import as_dict

    if look().json:
        mistakes = [as_dict(item) for item in found]
        changed = [one.file for one in done if one.changed]
        show_json({"ok": not found, "changed": changed, "diagnostics": mistakes})
        return
    show_diagnostics(found)
    for one in done:
        if one.changed and words and one.file != STDIN:
            click.echo(f"{words}: {one.file}", err=True)


_TINTS = {"+": "green", "-": "red", "@": "cyan"}


def _show_diff(one: Formatted) -> None:
    old, new = one.before.splitlines(), one.after.splitlines()
    for line in unified_diff(old, new, one.file, f"{one.file} (formatted)", lineterm=""):
        show_text(click.style(line, fg=_TINTS.get(line[:1])))
