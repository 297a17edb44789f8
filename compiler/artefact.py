"""The artefact: everything that runs, in one file, and a digest of all of it.

A zip archive, so that any tool can look into it, and a trailer: the format's version, the SHA-256
of all bytes before the digest, a mark. The digest is checked before anything is read. Parts are
data: text, JSON, safetensors, programs of a target.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from .diagnostics import AsrcError, diagnostic
from .files import read_bytes, write_bytes

_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, KeyError, OSError),
    RuntimeError,  # what is encrypted, or of a kind that is not implemented
)
"""What `zipfile` raises for an archive whose digest fits and whose bytes do not."""

VERSION = 2
ON_KERNELS = "transducer on Triton kernels"
"""What the manifest of an artefact for `--target triton` says that it is."""

_MARK = b"asrc-artefact\n"
_DIGEST = hashlib.sha256().digest_size
_TRAILER = 4 + _DIGEST + len(_MARK)
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time of every part: the same parts are the same bytes."""

MOST = 1 << 31
"""Bytes of all parts; what says that it is more is damaged."""


def pack(parts: Mapping[str, bytes]) -> bytes:
    """The bytes of an artefact; they depend on the parts alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(parts):
            info = zipfile.ZipInfo(name, _LONG_AGO)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, parts[name])
    whole = buffer.getvalue() + VERSION.to_bytes(4, "little")
    return whole + hashlib.sha256(whole).digest() + _MARK


def unpack(data: bytes, name: str) -> dict[str, bytes]:
    """The parts of an artefact; `name` is for messages.

    Raises AsrcError E1201 where a byte is not what was written, or it is no artefact at all, E1202
    where it is of another version.
    """
    if not is_marked(data) or len(data) < _TRAILER:
        raise _damaged(name, "it does not end as an artefact of asrc does")
    signed, digest = data[: -_DIGEST - len(_MARK)], data[-_DIGEST - len(_MARK) : -len(_MARK)]
    if hashlib.sha256(signed).digest() != digest:
        raise _damaged(name, "its digest is not that of its bytes")
    version = int.from_bytes(signed[-4:], "little")
    if version != VERSION:
        message = f"`{name}` is of version {version}, this asrc reads {VERSION}"
        raise AsrcError(diagnostic("E1202", message, help="use the asrc that wrote it"))
    try:
        with zipfile.ZipFile(io.BytesIO(signed[:-4])) as archive:
            if sum(info.file_size for info in archive.infolist()) > MOST:
                raise _damaged(name, f"it says that it holds more than {MOST} bytes")
            return {part: archive.read(part) for part in archive.namelist()}
    except _DAMAGED as error:
        raise _damaged(name, str(error)) from None


def is_marked(data: bytes) -> bool:
    """Whether bytes end as an artefact does, whatever is in them."""
    return data.endswith(_MARK)


def kind_of(parts: Mapping[str, bytes]) -> str:
    """What the manifest says that an artefact is; nothing where it says nothing."""
    try:
        return str(json.loads(parts["manifest.json"])["kind"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return ""


def write_artefact(path: Path, parts: Mapping[str, bytes]) -> None:
    """Whole, or as it was. Raises AsrcError E0008."""
    write_bytes(path, pack(parts))


def read_artefact(path: Path) -> dict[str, bytes]:
    """Raises AsrcError E0008, and those of `unpack`."""
    return unpack(read_bytes(path), str(path))


def _damaged(name: str, reason: str) -> AsrcError:
    message = f"`{name}` is damaged or no artefact: {reason}"
    return AsrcError(diagnostic("E1201", message, help="copy it or compile it again"))
