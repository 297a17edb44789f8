"""Packages made in the test: a few clips in the formats of the real ones."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

from asrc.tests.runtime.sounds import tone
from asrc.training.corpora.clips import Clip
from asrc.training.corpora.packages import Shelf
from asrc.training.corpora.sources import SOURCES

Files = Mapping[str, bytes]


def shelf(tree: Path) -> Shelf:
    """Only what is below `tree` is there."""
    return Shelf(None, tree / "cache", system=tree)


def put(tree: Path, package: str, files: Files, version: str = "") -> None:
    """An installed package with the changelog that tells its version."""
    version = version or SOURCES[package].version
    log = gzip.compress(f"{package} ({version}) unstable; urgency=low\n".encode())
    for name, data in {f"usr/share/doc/{package}/changelog.Debian.gz": log, **files}.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def clip(name: str, text: str, *, speaker: str = "one", seconds: float = 0.3) -> Clip:
    """A tone at 16 kHz, whose pitch follows from the name."""
    pitch = 200.0 + sum(name.encode()) % 400
    return Clip(name, text, speaker, 16_000, lambda: tone(seconds, pitch=pitch))


# --- Asterisk and saytime --------------------------------------------------------------------

LISTING = """; Core sounds

hello: Hello world.
vm-press: press [a key] *
digits/2: two
digits/h-40: fourtieth
silence/1: (1 second of silence)
not-recorded: Where is it?
"""


def asterisk(tree: Path, listing: bytes = LISTING.encode()) -> None:
    """Four recordings with a text, and one of nothing."""
    put(
        tree,
        "asterisk-core-sounds-en",
        {"usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz": gzip.compress(listing)},
    )
    rng = np.random.default_rng(0)
    folder = "usr/share/asterisk/sounds/en_US_f_Allison"
    names = ("hello", "vm-press", "digits/2", "digits/h-40", "silence/1")
    files = {f"{folder}/{name}.g722": rng.bytes(4000) for name in names}
    put(tree, "asterisk-core-sounds-en-g722", files)


def saytime(tree: Path) -> None:
    files = {f"usr/share/saytime/{name}.au": b"\x80\xff\x00" for name in ("2", "10", "oclock")}
    put(tree, "saytime", files)


# --- Flight of the Amazon Queen --------------------------------------------------------------


def queen(files: Files) -> bytes:
    """A `queen.1c` that holds these files."""
    at = 15 + 21 * len(files)
    table, body = b"", b""
    for name, data in files.items():
        table += struct.pack(">12sBII", name.encode(), 0, at + len(body), len(data))
        body += data
    return struct.pack(">4s6s2xBH", b"QTBL", b"CEM10\0", 1, len(files)) + table + body


def mp3(seconds: float = 0.5) -> bytes:
    file = io.BytesIO()
    samples = tone(seconds, 11_025, pitch=300)
    soundfile.write(file, samples, 11_025, format="MP3", subtype="MPEG_LAYER_III")
    return file.getvalue()


def string(text: str, at: int, align: int) -> bytes:
    """A string as the game keeps it at place `at`."""
    data = bytes([len(text)]) + text.encode("cp437")
    return data + bytes(-(at + len(data)) % align) if text else data


def dialogue(
    key: int, joe: Mapping[int, str], person: Mapping[int, str], again: tuple[str, str]
) -> bytes:
    """A `.DOG` file with one level."""

    def records(texts: Mapping[int, str], at: int) -> bytes:
        data = b""
        for number, text in texts.items():
            data += struct.pack(">hh", 0, number)
            data += string(text, at + len(data), 4)
        return data

    start = 32 + 96
    said = records(joe, start)
    answered = records(person, start + len(said))
    end = start + len(said) + len(answered)
    words = [1, 0, key, len(joe), len(person), *[0] * 6, start + len(said), 0, end, 0]
    greetings = string(again[0], end, 2)
    greetings += string(again[1], end + len(greetings), 2)
    head = struct.pack(">15h", *words).ljust(start, b"\0")
    return bytes(20) + head + said + answered + greetings


def cut_scene(*texts: str) -> bytes:
    """A `.CUT` file: an entry command, then what is said beside each object."""
    at = 10
    body = string("", at, 2)
    for text in texts:
        body += string(text, at + len(body), 2)
    return bytes(20) + struct.pack(">5h", 0, -len(texts), 0, 0, at) + body


# --- Drascula --------------------------------------------------------------------------------

ARRAYS = 15


def drascula_texts(first: list[str], second: list[str]) -> bytes:
    """A `drascula.dat`: the first two arrays hold these texts, the other ones an empty one."""

    def block(texts: list[str]) -> bytes:
        records = [struct.pack(">I", 4 + len(t) + 1) + t.encode() + b"\0" for t in texts]
        data = struct.pack(">I", 4) + b"".join(records)
        return struct.pack(">H", len(data)) + data

    def array(texts: list[str]) -> bytes:
        languages = [block(texts), *[block(["otra"] * len(texts))] * 5]
        return struct.pack(">H", 1 + len(texts)) + b"".join(languages)

    rest = [array([])] * (ARRAYS - 2)
    return b"other data" + array(first) + array(second) + b"".join(rest)
