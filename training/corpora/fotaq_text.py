"""The texts of Flight of the Amazon Queen, and which clip says which.

Texts are in three kinds of files: dialogues (`.DOG`), cut scenes (`.CUT`), and what the hero says
of things (`QUEEN2.JAS`). A text holds commands, `*` and what follows, that cut it into segments;
each segment is a clip.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

Read = Callable[[str], bytes]

_HEADER = 20
"""Bytes before a dialogue or a cut scene; its offsets count from behind them."""

_COMMAND = re.compile(r"\*(?:XY\d+\(\d+,\d+\)|[A-Z]{2}|\d\d)")
_FIRST, _AGAIN = "SSSS", "XXXX"
"""In the names of clips: the first words of a dialogue, and of one that is taken up again."""

_HERO = "JOE"
CUT_SCENE = "CUT"

_DESCRIPTIONS = 723
_RESPONSES = (1188, 1216)
"""Lines of QUEEN2.JAS, from 1 on."""


@dataclass(frozen=True, slots=True)
class Line:
    """The text of a clip and who says it: the name of the dialogue, JOE, or CUT."""

    clip: str
    text: str
    speaker: str


def clip_texts(names: Iterable[str], read: Read) -> Iterator[Line]:
    """Every text of the files `names` with the clip that would say it, whether it exists or not.

    Raises IndexError or struct.error for files that are cut off.
    """
    for name in sorted(names):
        stem, _, ending = name.rpartition(".")
        if ending == "DOG":
            yield from dialogue(stem, read(name))
        elif ending == "CUT":
            yield from cut_scene(stem, read(name))
        elif name == "QUEEN2.JAS":
            yield from descriptions(read(name))


def segments(text: str) -> list[str]:
    """What is said between the commands of a text; nothing is said between two in a row."""
    return [" ".join(part.split()) for part in _COMMAND.split(text)]


def _numbered(prefix: str, text: str, speaker: str) -> Iterator[Line]:
    """The lines of a text; a segment that is silent has a number, but no line."""
    for number, segment in enumerate(segments(text), start=1):
        clip = f"{prefix}{number:x}".replace(" ", "0").upper()
        if segment:
            yield Line(clip, segment, speaker)


# --- dialogues -------------------------------------------------------------------------------


def dialogue(name: str, data: bytes) -> Iterator[Line]:
    """A `.DOG` file: what a person says, and what Joe can answer."""
    data = data[_HEADER:]
    words = struct.unpack_from(">15h", data)
    levels, key, of_joe, of_person = abs(words[0]), words[2], words[3], words[4]
    joe_at = 32 + 96 * levels
    for number, text in _records(data, joe_at, of_joe):
        yield from _numbered(f"{key:2d}{_number(number)}J", text, _HERO)
    for number, text in _records(data, words[11], of_person):
        yield from _numbered(f"{key:2d}{_number(number)}P", text, name)
    person, at = _string(data, words[13], 2)
    joe, _ = _string(data, at, 2)
    yield from _numbered(f"{key:2d}{_AGAIN}P", person, name)
    yield from _numbered(f"{key:2d}{_AGAIN}J", joe, _HERO)


def _number(number: int) -> str:
    """Number 0 opens a dialogue."""
    return f"{number:4x}" if number else _FIRST


def _records(data: bytes, at: int, count: int) -> Iterator[tuple[int, str]]:
    """Number and text of `count` records."""
    for _ in range(count):
        (number,) = struct.unpack_from(">h", data, at + 2)
        text, at = _string(data, at + 4, 4)
        yield number, text


def _string(data: bytes, at: int, align: int) -> tuple[str, int]:
    """A string of at most 255 bytes and the place after it; an empty one has no padding."""
    length = data[at]
    if not length:
        return "", at + 1
    end = at + 1 + length
    return data[at + 1 : end].decode("cp437"), -(-end // align) * align


# --- cut scenes and descriptions -------------------------------------------------------------


def cut_scene(name: str, data: bytes) -> Iterator[Line]:
    """A `.CUT` file: what is said beside each of its objects."""
    data = data[_HEADER:]
    words = struct.unpack_from(">5h", data)
    _, at = _string(data, words[4], 2)
    for number in range(1, abs(words[1]) + 1):
        text, at = _string(data, at, 2)
        yield from _numbered(f"{name:_<5}{number:02d}", text, CUT_SCENE)


def descriptions(data: bytes) -> Iterator[Line]:
    """`QUEEN2.JAS`: what Joe says when he looks at a thing, and his ready answers."""
    lines = data.decode("cp437").splitlines()
    for number, text in enumerate(lines[:_DESCRIPTIONS], start=1):
        yield from _numbered(f"JOE{number + 40:04d}", text, _HERO)
    first, last = _RESPONSES
    for number, text in enumerate(lines[first - 1 : last], start=1):
        yield from _numbered(f"JOE{number:04d}", text, _HERO)
