"""Recordings of a package as FLAC files of a corpus, at the rate that they have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...compiler.files import write_bytes
from ...runtime.audio import audio_info
from ..text import normalise
from .clips import Clip, flac
from .store import Report


@dataclass(frozen=True, slots=True)
class Recording:
    """A clip that is a file by now: its normalised text, its length in seconds."""

    clip: Clip
    path: Path
    text: str
    seconds: float


def extracted(folder: Path, clips: Iterable[Clip], report: Report | None = None) -> list[Recording]:
    """Write every clip below `folder`; what is there already is kept.

    Raises AsrcError E1003 where a clip does not decode, E0008 where a file cannot be written.
    """
    every, found = list(clips), []
    for done, clip in enumerate(every, start=1):
        path = folder / f"{clip.name.replace('/', '-')}.flac"
        if not path.is_file():
            write_bytes(path, flac(clip.read(), clip.rate))
        found.append(Recording(clip, path, normalise(clip.text), audio_info(path).seconds))
        if report:
            report(done, len(every))
    return found
