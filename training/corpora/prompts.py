"""The corpus "prompts": the sentences of Asterisk, one speaker, 16 kHz, a small test set.

Because the test set is small, every utterance also has a `fold` from 0 to 3 for a fourfold
cross-validation; the same sentence is always in the same fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..manifest import Utterance, write_manifest
from . import asterisk, voices
from .extract import Recording, extracted
from .licences import write_licences
from .packages import Shelf
from .readers import Readers, write_with_readers
from .sources import SOURCES
from .splits import PROMPTS, digest, split, usable
from .store import Report

PACKAGES = ("asterisk-core-sounds-en", "asterisk-core-sounds-en-g722")
RATE = asterisk.RATE
_FOLDS = 4


def build(
    out: Path, shelf: Shelf, report: Report | None = None, readers: Readers | None = None
) -> None:
    """Write `train.jsonl`, `dev.jsonl`, `test.jsonl`, their audio and the licences below `out`;
    with readers `train-synthetic.jsonl` as well.

    Raises AsrcError E1003 where a package or a voice is missing or changed, E0008 where a file
    cannot be written.
    """
    folder = out / "audio" / f"asterisk-{SOURCES[PACKAGES[1]].version}"
    every = extracted(folder, asterisk.clips(shelf), report)
    kept = [one for one in every if usable(one.text, one.seconds, verbatim=True)]
    places = split([one.text for one in kept], PROMPTS)
    for place in ("train", "dev", "test"):
        write_manifest(out / f"{place}.jsonl", _utterances(kept, places, place))
    if readers is not None:
        write_with_readers(out, _utterances(kept, places, "train"), readers, report)
    write_licences(out, "prompts", (*PACKAGES, *(voices.PACKAGES if readers else ())))


def _utterances(
    recordings: Sequence[Recording], places: Sequence[str], wanted: str
) -> list[Utterance]:
    return [
        Utterance(
            id=f"asterisk-{one.clip.name}".replace("/", "-"),
            audio=one.path,
            text=one.text,
            duration=round(one.seconds, 4),
            speaker=one.clip.speaker,
            extra={"source": "asterisk", "rate": one.clip.rate, "fold": digest(one.text) % _FOLDS},
        )
        for one, place in zip(recordings, places, strict=True)
        if place == wanted
    ]
