"""Reading whole files, and writing them so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from .diagnostics import AsrcError, diagnostic


def printable(text: str) -> str:
    """With escapes for the bytes of a file's name that are not UTF-8: nothing else can print it."""
    return text.encode(errors="backslashreplace").decode()


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises AsrcError E0008."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _no_access("read", path, error) from None


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with plain line ends, as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside the file, then move into place; an old file's permissions stay.

    A device or a pipe is written into, and stays what it is. Raises AsrcError E0008 where that
    fails; an old file is then as it was.
    """
    beside = path.parent / f"{path.name}.{os.getpid()}.part"
    try:
        if _is_special(path):
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            beside.unlink()
        raise _no_access("write", path, error) from None


def check_writable(path: Path) -> None:
    """Find out that a file cannot be written before the work is done; leaves nothing behind.

    Raises AsrcError E0008 as `write_bytes` would. A disk can still be full later.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _is_special(path):
            _check_access(path)
            return
        with suppress(FileNotFoundError):
            path.lstat()
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        TemporaryFile(dir=folder).close()
    except (OSError, ValueError) as error:
        raise _no_access("write", path, error) from None


def _is_special(path: Path) -> bool:
    """Whether it is there and no regular file."""
    return path.exists() and not path.is_file()


def _check_access(path: Path) -> None:
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _no_access(what: str, path: Path, error: Exception) -> AsrcError:
    reason = getattr(error, "strerror", None) or str(error)
    return AsrcError(diagnostic("E0008", f"cannot {what} `{path}`: {reason}"))
