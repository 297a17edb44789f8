"""Flight of the Amazon Queen: 11.025 kHz MP3 clips in one file, `queen.1c`, with the game's texts.

The file begins with "QTBL", a version of six bytes, two bytes, the compression (1 for MP3) and a
big-endian count of entries; an entry is a name of 12 bytes, a byte, and offset and size as
big-endian 32-bit numbers. A clip is a bare MP3 stream, its name ends in `.SB`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...runtime.samples import Samples
from .clips import Clip
from .fotaq_text import Line, clip_texts
from .modules import needed
from .packages import Shelf
from .sources import changed, check_count

RATE = 11_025
_FILE = "usr/share/scummvm/flight-of-the-amazon-queen/queen.1c"
_VERSION, _MP3 = b"CEM10\0", 1
_HEAD, _ENTRY = struct.Struct(">4s6s2xBH"), struct.Struct(">12sBII")
_ENTRIES, _CLIPS = 7_671, 6_573


@dataclass(frozen=True, slots=True)
class Archive:
    """A file of files: where each lies, by its name in upper case."""

    path: Path
    places: Mapping[str, tuple[int, int]]

    def read(self, name: str) -> bytes:
        offset, size = self.places[name]
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size)


def clips(shelf: Shelf, *, entries: int = _ENTRIES, count: int = _CLIPS) -> list[Clip]:
    """Every clip that has a text, by name.

    Raises AsrcError E1003 where the package is missing, or does not hold `entries` files and
    `count` such clips.
    """
    path = shelf.file("flight-of-the-amazon-queen", _FILE)
    archive = opened(path)
    check_count(path, "files", len(archive.places), entries)
    found = list(_clips(archive))
    check_count(path, "clips with a text", len(found), count)
    return found


def opened(path: Path) -> Archive:
    """The index of the file. Raises AsrcError E1003 where it is another format, or cut off."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or _HEAD.unpack(head)[:3] != (b"QTBL", _VERSION, _MP3):
            raise changed(path, "it should begin with QTBL, version CEM10, compression 1 (MP3)")
        count = _HEAD.unpack(head)[3]
        table = file.read(count * _ENTRY.size)
    if len(table) < count * _ENTRY.size:
        raise changed(path, f"it should have an index of {count} files, but ends in it")
    places = {_name(raw): (at, length) for raw, _, at, length in _ENTRY.iter_unpack(table)}
    for name, (at, length) in places.items():
        if at + length > size:
            raise changed(path, f"`{name}` should end at byte {at + length}, the file has {size}")
    return Archive(path, places)


def _name(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("latin-1").strip().upper()


def _clips(archive: Archive) -> Iterator[Clip]:
    lines = _lines(archive)
    for name in sorted(archive.places):
        stem, _, ending = name.rpartition(".")
        if ending == "SB" and stem in lines:
            line = lines[stem]
            read = partial(_decoded, archive, name)
            yield Clip(stem, line.text, line.speaker, RATE, read)


def _lines(archive: Archive) -> dict[str, Line]:
    """The line of each clip; a clip that two different lines lay claim to has none."""
    found: dict[str, Line] = {}
    twice = set()
    try:
        for line in clip_texts(archive.places, archive.read):
            if found.setdefault(line.clip, line) != line:
                twice.add(line.clip)
    except (IndexError, struct.error) as error:
        raise changed(archive.path, f"its dialogue files cannot be read ({error})") from None
    return {clip: line for clip, line in found.items() if clip not in twice}


def _decoded(archive: Archive, name: str) -> Samples:
    """`[samples]` of a clip. Raises AsrcError E1003 where it is no MP3 of 11.025 kHz."""
    soundfile = needed("soundfile", "soundfile", "decodes MP3")
    try:
        samples, rate = soundfile.read(io.BytesIO(archive.read(name)), dtype="float32")
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        raise changed(archive.path, f"`{name}` should be an MP3 stream ({error})") from None
    if rate != RATE or samples.ndim != 1:
        raise changed(archive.path, f"`{name}` should be mono at {RATE} Hz, it is at {rate} Hz")
    return np.asarray(samples, np.float32)
