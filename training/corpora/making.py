"""Synthetic utterances as files: what recipes give, made by several processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from ...runtime.audio import audio_info
from ..manifest import Json, Utterance
from . import store
from .clips import at_rate, flac
from .recipes import RATE, Recipe, rendered


def made(
    folder: Path,
    wanted: Sequence[Recipe],
    jobs: int,
    report: store.Report | None = None,
    *,
    rate: int = RATE,
    batch: int = store.BATCH,
) -> list[Utterance]:
    """Utterances of recipes, in their order; files are below `folder`, which is theirs alone.

    They are at `rate` (Hz), 16 kHz or less, always the same one in a folder. One process makes
    `batch` of them one after the other.

    What is there for the same recipe is kept, what is there for others is removed. Raises
    AsrcError E1003 where a voice is missing, E0008 where a file cannot be written.
    """
    paths = [_path(folder, recipe) for recipe in wanted]
    encoded = partial(_encoded, rate)
    store.make_all(wanted, partial(_path, folder), encoded, jobs=jobs, report=report, batch=batch)
    store.remove_others(folder, paths)
    return [_as_utterance(path, recipe) for path, recipe in zip(paths, wanted, strict=True)]


def _path(folder: Path, recipe: Recipe) -> Path:
    return folder / f"{recipe.name}-{recipe.digest}.flac"


def _encoded(rate: int, recipe: Recipe) -> bytes:
    return flac(at_rate(rendered(recipe), RATE, rate), rate)


def _as_utterance(path: Path, recipe: Recipe) -> Utterance:
    way = {key: value for key, value in asdict(recipe.way).items() if value is not None}
    extra: dict[str, Json] = {
        "class": recipe.kind,
        "source": recipe.voice.engine,
        "speed": recipe.speed,
        "shift": recipe.voice.shift,
        "way": way,
        "easy": recipe.way.clean,
    }
    seconds = round(audio_info(path).seconds, 4)
    return Utterance(recipe.name, path, recipe.text, seconds, 0.0, recipe.voice.speaker, extra)
