"""Binary files, read and written with the errors of `compiler/files.py`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..compiler.diagnostics import AsrcError, diagnostic


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises AsrcError E0008."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _no_access("read", path, error) from None


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside the file, then move into place. Raises AsrcError E0008."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        beside.replace(path)
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            beside.unlink()
        raise _no_access("write", path, error) from None


def _no_access(what: str, path: Path, error: Exception) -> AsrcError:
    reason = getattr(error, "strerror", None) or str(error)
    return AsrcError(diagnostic("E0008", f"cannot {what} `{path}`: {reason}"))
