"""The number words of `saytime`: one speaker, 8 kHz, mu-law without a header (ITU-T G.711)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ...runtime.samples import Samples
from ..numbers import cardinal
from .clips import Clip
from .packages import Shelf
from .sources import changed, check_count

SPEAKER = "dawson"
RATE = 8_000

_FOLDER = "usr/share/saytime"
_CLIPS = 37
_TEXTS = {
    "oclock": "o'clock",
    "am": "A.M.",
    "pm": "P.M.",
    "the_time_is": "the time is",
}


def clips(shelf: Shelf, *, count: int = _CLIPS) -> list[Clip]:
    """Every recording, sorted by name; the name is the word or the number.

    Raises AsrcError E1003 where the package is missing or does not hold `count` of them.
    """
    folder = shelf.file("saytime", _FOLDER)
    found = [_clip(path) for path in sorted(folder.glob("*.au"))]
    check_count(folder, "recordings", len(found), count)
    return found


def _clip(path: Path) -> Clip:
    name = path.stem
    text = cardinal(int(name)) if name.isdecimal() else _TEXTS.get(name, name)
    return Clip(name, text, SPEAKER, RATE, partial(read_mulaw, path))


def read_mulaw(path: Path) -> Samples:
    """`[samples]` of bare 8-bit mu-law. Raises AsrcError E1003 where there are none."""
    codes = np.frombuffer(path.read_bytes(), np.uint8)
    if not len(codes):
        raise changed(path, "it should hold mu-law samples, but is empty")
    return expand_mulaw(codes)


def expand_mulaw(codes: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Samples:
    """Codes `[samples]` to linear samples in [-1, 1] (ITU-T G.711, table 2a)."""
    inverted = ~codes
    segment = (inverted >> 4) & 7
    step = (inverted & 15).astype(np.float32)
    size = ((2 * step + 33) * np.exp2(segment.astype(np.float32)) - 33) * 4
    return np.where(inverted & 128, -size, size).astype(np.float32) / 32768.0
