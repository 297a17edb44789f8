"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from .diagnostics import AsrcError, diagnostic


def write_text(path: Path, text: str) -> None:
    """Write beside the file, then move into place; an old file's permissions stay.

    Raises AsrcError E0008 where that fails.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8", newline="\n")
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        reason = error.strerror or str(error)
        raise AsrcError(diagnostic("E0008", f"cannot write `{path}`: {reason}")) from None
