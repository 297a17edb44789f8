"""`asrc new`: a file to begin with."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import click

from .terminal import show_text

_FOLDER = files(__package__) / "templates"
TEMPLATES = tuple(sorted(p.name.removesuffix(".asr") for p in _FOLDER.iterdir()))

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@click.command("new")
@click.argument("name")
@click.option("--template", type=click.Choice(TEMPLATES), default="rnnt", show_default=True)
def command(name: str, template: str) -> None:
    """Write NAME.asr, a small model whose comments explain the language.

    An existing file is never touched.
    """
    path = Path(name if name.endswith(".asr") else f"{name}.asr")
    if not _NAME.fullmatch(path.stem):
        raise click.BadParameter(f"`{path.stem}` is no name: letters, digits, _", param_hint="NAME")
    text = (_FOLDER / f"{template}.asr").read_text(encoding="utf-8")
    _write_new(path, text.replace(f"model {template} ", f"model {path.stem} ", 1))
    show_text(f"{path} is written; next: asrc check {path}")


def _write_new(path: Path, text: str) -> None:
    """Creates the file, or refuses where there is one."""
    from ..compiler.diagnostics import AsrcError, diagnostic

    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise click.UsageError(f"`{path}` exists and stays as it is; choose another name") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise AsrcError(diagnostic("E0008", f"cannot write `{path}`: {reason}")) from None
