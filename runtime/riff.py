"""How many bytes of samples the header of a wav file says, and how many there are."""

from __future__ import annotations

import os
from pathlib import Path
from struct import unpack

_OPEN = 0x7FFF0000
"""Programs that write to a pipe say this many or more: they do not know their end."""

_MOST_CHUNKS = 64
"""Before the samples; more are no wav file that anyone wrote."""


def sample_bytes(path: Path) -> tuple[int, int] | None:
    """The bytes of samples by the header and in the file; `None` where the header does not say:
    another format, or one that was written to a pipe. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        riff, _, wave = unpack("<4sI4s", file.read(12).ljust(12))
        if (riff, wave) != (b"RIFF", b"WAVE"):
            return None
        for _ in range(_MOST_CHUNKS):
            name, size = unpack("<4sI", file.read(8).ljust(8))
            if name == b"data":
                left = path.stat().st_size - file.tell()
                return (size, min(size, left)) if size < _OPEN else None
            file.seek(size + size % 2, os.SEEK_CUR)
    return None
