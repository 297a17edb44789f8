"""Drascula: 11.025 kHz clips of 8-bit samples without a header, one file a line.

The texts are in `drascula.dat`: fifteen arrays one after the other, each a big-endian count and,
for each of six languages, the size of a block and the block: strings that begin with their
length as a 32-bit number, itself included; string 0 is empty. The arrays begin twelve bytes
before a sentence that is found by its words. A clip is named by a prefix, that of its array, and
its number.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ...runtime.samples import Samples
from .clips import Clip
from .packages import Shelf
from .sources import changed, check_count

RATE = 11_025
_FOLDER = "usr/share/scummvm/drascula/en"
_CLIPS = 742
_LANGUAGES = 6
_MARK, _BEFORE = b"THAT'S THE SECOND BIGGEST", 12
_ARRAYS = "text d b bj e i l p t vb sys his verbs misc d1".split()
_PREFIXES = {"text": "", **{name: name.upper() for name in "d b bj e i l p t vb".split()}}
_SPEAKERS = {"": "JOHN"}
"""The clips without a prefix are the hero's."""

_NAME = re.compile(r"(?P<prefix>[A-Z]*)(?P<number>\d+)\.ALS", re.IGNORECASE)


def clips(shelf: Shelf, *, count: int = _CLIPS) -> list[Clip]:
    """Every clip that has a text, by name.

    Raises AsrcError E1003 where the package is missing or does not hold `count` of them.
    """
    folder = shelf.file("drascula", _FOLDER)
    texts = _texts(folder / "drascula.dat")
    found = list(_clips(folder, texts))
    check_count(folder, "clips with a text", len(found), count)
    return found


def _clips(folder: Path, texts: Mapping[str, list[str]]) -> Iterator[Clip]:
    prefixes = {prefix: name for name, prefix in _PREFIXES.items()}
    for path in sorted(folder.iterdir()):
        named = _NAME.fullmatch(path.name)
        if named is None or named["prefix"].upper() not in prefixes:
            continue
        prefix, number = named["prefix"].upper(), int(named["number"])
        lines = texts[prefixes[prefix]]
        if number < len(lines) and lines[number]:
            speaker = _SPEAKERS.get(prefix, prefix)
            yield Clip(path.stem.upper(), lines[number], speaker, RATE, partial(read_u8, path))


def _texts(path: Path) -> dict[str, list[str]]:
    """The first language of each array. Raises AsrcError E1003 where the file is another one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise changed(path, f"it cannot be read ({error.strerror})") from None
    at = data.find(_MARK) - _BEFORE
    if at < 0:
        raise changed(path, f"it should hold the words `{_MARK.decode()}`")
    found = {}
    try:
        for name in _ARRAYS:
            found[name], at = _array(data, at)
    except (IndexError, struct.error):
        raise changed(path, "it ends within its texts") from None
    return found


def _array(data: bytes, at: int) -> tuple[list[str], int]:
    """The strings in the first language, and the place behind those in the last."""
    (count,) = struct.unpack_from(">H", data, at)
    at += 2
    blocks = []
    for _ in range(_LANGUAGES):
        (size,) = struct.unpack_from(">H", data, at)
        blocks.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return list(_strings(blocks[0], count)), at


def _strings(block: bytes, count: int) -> Iterator[str]:
    at = 0
    for _ in range(count):
        (length,) = struct.unpack_from(">I", block, at)
        yield block[at + 4 : at + length].partition(b"\0")[0].decode("cp437").strip()
        at += length


def read_u8(path: Path) -> Samples:
    """`[samples]` of bare unsigned 8-bit samples. Raises AsrcError E1003 where there are none."""
    codes = np.frombuffer(path.read_bytes(), np.uint8)
    if not len(codes):
        raise changed(path, "it should hold 8-bit samples, but is empty")
    return (codes.astype(np.float32) - 128.0) / 128.0
