"""A model that can be listened with, whatever it is: a folder in float, an artefact of integers."""

from __future__ import annotations

from pathlib import Path

from ..compiler.artefact import ON_KERNELS, kind_of, read_artefact
from ..compiler.diagnostics import AsrcError, diagnostic
from .recogniser import read_recogniser
from .running import Recognises


def read_model(path: Path) -> Recognises:
    """What `asrc train` or `asrc compile` made.

    Raises what `read_recogniser`, `compiled.read_compiled` and `fast.read_fast` raise.
    """
    if not path.is_file():
        return read_recogniser(path)
    parts = read_artefact(path)
    if kind_of(parts) == ON_KERNELS:
        from .fast import read_fast

        return read_fast(path, parts)
    try:
        from .compiled import read_compiled
    except ModuleNotFoundError as error:
        message = (
            f"`{path}` is for an accelerator, and the Python package `{error.name}` is missing"
        )
        help = "pip install -e '.[nna]' -c constraints.txt"
        raise AsrcError(diagnostic("E1203", message, help=help)) from None
    return read_compiled(path, parts)
