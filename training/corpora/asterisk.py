"""The English prompts of Asterisk: one professional speaker, 16 kHz, G.722 at 64 kb/s.

The text is a gzipped list `key: text`, the key being the path of the recording without its
ending. `;` begins a comment; `[...]`, `(...)` and `<...>` are not spoken.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...runtime.samples import Samples
from .clips import Clip
from .modules import needed
from .packages import Shelf
from .sources import changed, check_count

SPEAKER = "allison"
RATE = 16_000

_TEXT = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
_SOUNDS = "usr/share/asterisk/sounds/en_US_f_Allison"
_CLIPS = 551

_UNSPOKEN = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")
_KEYS = {"*": " star ", "#": " pound ", "@": " at "}

# Slips of the package's own spelling.
_SPELLING = {
    "exclaimation-point": "exclamation point",
    "fourtieth": "fortieth",
    "represenatives": "representatives",
    "umute": "unmute",
    "un-indentified": "unidentified",
    "witheld": "withheld",
}


def clips(shelf: Shelf, *, count: int = _CLIPS) -> list[Clip]:
    """Every recording that has a text, in the order of the list.

    Raises AsrcError E1003 where a package is missing or does not hold `count` of them.
    """
    listing = shelf.file("asterisk-core-sounds-en", _TEXT)
    folder = shelf.file("asterisk-core-sounds-en-g722", _SOUNDS)
    found = list(_clips(listing, folder))
    check_count(listing, "texts with a recording", len(found), count)
    return found


def _clips(listing: Path, folder: Path) -> Iterator[Clip]:
    for key, text in _texts(listing):
        path = folder / f"{key}.g722"
        if text and path.is_file():
            yield Clip(key, text, SPEAKER, RATE, partial(read_g722, path))


def _texts(listing: Path) -> Iterator[tuple[str, str]]:
    """Keys and what is said."""
    try:
        lines = gzip.decompress(listing.read_bytes()).decode("utf-8").splitlines()
    except (OSError, EOFError, ValueError):
        raise changed(listing, "it should be a gzipped list of `key: text`") from None
    for line in lines:
        key, colon, text = line.partition(":")
        if colon and not line.startswith(";"):
            yield key.strip(), _spoken(text)


def _spoken(text: str) -> str:
    text = _UNSPOKEN.sub(" ", text)
    for sign, word in _KEYS.items():
        text = text.replace(sign, word)
    return " ".join(_SPELLING.get(word, word) for word in text.split())


def read_g722(path: Path) -> Samples:
    """`[samples]` at 16 kHz of a bare G.722 stream at 64 kb/s (ITU-T G.722, mode 1).

    Raises AsrcError E1003 where it does not decode or is cut off.
    """
    av = needed("av", "av", "decodes the G.722 recordings of Asterisk")
    try:
        with av.open(str(path), format="g722") as container:
            blocks = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    except (OSError, ValueError) as error:
        raise changed(path, f"it should be a G.722 recording ({error})") from None
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.int16)
    if not len(samples):
        raise changed(path, "it should be a G.722 recording, but holds no samples")
    return samples.astype(np.float32) / 32768.0
