"""The corpus "commands": a closed grammar, synthetic to train on, real recordings to test on.

Training and most of development are synthetic voices (other ones in each); the test set holds
real recordings only, and no recording of it is anywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ...compiler.files import write_bytes
from ..manifest import Json, Utterance, write_manifest
from . import recordings, store, voices
from .clips import flac
from .grammar import composed, sentences
from .licences import write_licences
from .making import made
from .packages import Shelf
from .recipes import RATE, Recipe, recipes
from .sittings import SIZE, sittings
from .takes import Take
from .voices import DEV, STRANGERS, TRAIN, Family

PACKAGES = (
    *("asterisk-core-sounds-en", "asterisk-core-sounds-en-g722", "saytime"),
    *voices.PACKAGES,
)
_MEAN = 3.6
"""Seconds of an utterance and of its share of the composed ones; it turns hours into a count."""

_MEAN_SITTING = 4.2
"""Seconds of an utterance of a sitting."""

_FLUENT = 0.3
"""The share of the hours in which whole sentences are said."""

_STRANGERS = 0.17
"""Hours of sittings of speakers that are drawn at random, for every hour of the others."""

_DEV_HOURS = 0.375


@dataclass(frozen=True, slots=True)
class Options:
    """`hours` of training audio (about, and some more of drawn speakers), the `seed`, the number of
    processes."""

    hours: float = 40.0
    seed: int = 0
    jobs: int = 1


def build(out: Path, shelf: Shelf, options: Options, report: store.Report | None = None) -> None:
    """Write `train.jsonl`, `dev.jsonl`, `test.jsonl`, their audio and the licences below `out`.

    What an earlier run wrote for the same recipes is kept. Raises AsrcError E1003 where a package
    or a voice is missing, E0008 where a file cannot be written.
    """
    test, dev = recordings.split(shelf)
    write_manifest(out / "test.jsonl", _real(out / "audio/test", test))
    for_dev = _recipes(min(_DEV_HOURS, options.hours), options.seed + 1, DEV, "d")
    spoken = made(out / "audio/dev", for_dev, options.jobs)
    write_manifest(out / "dev.jsonl", [*_real(out / "audio/dev-real", dev), *spoken])
    spoken = [
        *_fluent(out, options, report),
        *_put_together(out, options, report),
        *_strangers(out, options, report),
    ]
    write_manifest(out / "train.jsonl", spoken)
    write_licences(out, "commands", PACKAGES)


def _fluent(out: Path, options: Options, report: store.Report | None) -> list[Utterance]:
    wanted = _recipes(options.hours * _FLUENT, options.seed, TRAIN, "t")
    return made(out / "audio/train", wanted, options.jobs, report)


def _put_together(out: Path, options: Options, report: store.Report | None) -> list[Utterance]:
    wanted = list(sittings(options.seed, _count(options.hours * (1 - _FLUENT))))
    return made(out / "audio/sittings", wanted, options.jobs, report, batch=SIZE)


def _strangers(out: Path, options: Options, report: store.Report | None) -> list[Utterance]:
    wanted = list(sittings(options.seed + 2, _count(options.hours * _STRANGERS), STRANGERS, "k"))
    return made(out / "audio/strangers", wanted, options.jobs, report, batch=SIZE)


def _count(hours: float) -> int:
    return max(1, round(hours * 3600 / _MEAN_SITTING))


def _recipes(hours: float, seed: int, families: tuple[Family, ...], prefix: str) -> list[Recipe]:
    count = max(1, round(hours * 3600 / _MEAN))
    said = chain(sentences(seed, count), composed(seed, count // 5))
    return list(recipes(said, families, prefix, seed))


def _real(folder: Path, takes: Sequence[Take]) -> list[Utterance]:
    paths = [folder / f"{take.name}.flac" for take in takes]
    for path, take in zip(paths, takes, strict=True):
        write_bytes(path, flac(take.samples, RATE))
    store.remove_others(folder, paths)
    return [_of_take(path, take) for path, take in zip(paths, takes, strict=True)]


def _of_take(path: Path, take: Take) -> Utterance:
    source = take.name.split("-")[0]
    extra: dict[str, Json] = {"class": take.kind, "source": source, "clips": list(take.clips)}
    seconds = round(len(take.samples) / RATE, 4)
    return Utterance(take.name, path, take.text, seconds, 0.0, take.speaker, extra)
