"""Bytes to `Source`: everything that can be wrong with a file before it is text."""

from __future__ import annotations

from pathlib import Path

from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ..compiler.source import Source

MAX_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_ARCHIVE = b"PK\x03\x04"
"""How a compiled model begins; its mark is at its end, beyond what is read of a large one."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def load_source(path: str | Path) -> Source:
    """The text of a file, at most 1 MiB of UTF-8.

    Raises `AsrcError`: E0008 not readable, E0003 too large, E0002 not UTF-8 text.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise AsrcError(diagnostic("E0008", f"cannot read `{path}`: {reason}")) from None
    except ValueError as error:  # a NUL character in the path
        raise AsrcError(diagnostic("E0008", f"cannot read {str(path)!r}: {error}")) from None
    return source_from_bytes(str(path), data)


def source_from_bytes(name: str, data: bytes) -> Source:
    """The text of `data`; a byte order mark is skipped, line ends stay as they are.

    Raises `AsrcError`: E0003 too large, E0002 not UTF-8 text.
    """
    if data.startswith(_ARCHIVE) and _is_compiled(name, data):
        raise AsrcError(_compiled(name))
    if len(data) > MAX_BYTES:
        raise AsrcError(diagnostic("E0003", f"`{name}` is larger than 1 MiB"))
    if data.startswith(_UTF16):
        raise AsrcError(_not_text(name, data, 0, "looks like UTF-16"))
    body = data.removeprefix(_BOM)
    skipped = len(data) - len(body)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise AsrcError(_not_text(name, data, error.start + skipped, "is not UTF-8")) from None
    if "\0" in text:
        raise AsrcError(_not_text(name, data, data.index(0), "holds a NUL byte"))
    return Source(name, text)


def _is_compiled(name: str, data: bytes) -> bool:
    from ..compiler.artefact import is_marked

    return name.endswith(".asrc") or is_marked(data)


def _compiled(name: str) -> Diagnostic:
    message = f"`{name}` is a compiled artefact, not the text of a model"
    help = (
        "`asrc size`, `asrc run`, `asrc diff` and `asrc verify` look into it,"
        " `asrc transcribe`, `asrc eval` and `asrc bench` run it"
    )
    return diagnostic("E0002", message, help=help)


def _not_text(name: str, data: bytes, offset: int, problem: str) -> Diagnostic:
    line = data.count(b"\n", 0, offset) + 1
    return diagnostic(
        "E0002",
        f"`{name}` {problem}: byte 0x{data[offset]:02x} at offset {offset}, line {line}",
        help="save the file as UTF-8 text",
    )
