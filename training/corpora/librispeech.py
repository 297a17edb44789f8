"""LibriSpeech folders (Panayotov et al. 2015): `SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac`.

Beside the audio of a chapter lies `SPEAKER-CHAPTER.trans.txt`, a line `ID TEXT` for each file.
A folder may hold one set (`dev-clean`) or several; each becomes a manifest of its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...compiler.diagnostics import AsrcError, diagnostic
from ...runtime.audio import audio_info
from ..manifest import Utterance, write_manifest
from ..text import normalise

_ARCHIVES = "unpack the set again, from its archive at OpenSLR (SLR12)"
_INSIDE = "LibriSpeech"
"""What an archive unpacks to."""

_PURPOSES = {"train": "train", "dev": "dev", "test": "test"}


def build(folder: Path, out: Path) -> list[Path]:
    """Write a manifest for every set of a LibriSpeech folder; the audio stays where it is.

    Sets are joined by the first word of their name: `train-clean-100` and `train-other-500` give
    `train.jsonl`, and each set also has a manifest of its own. Gives the paths of the manifests.
    Raises AsrcError E1003 where the folder has another layout, a text or a recording lacks the
    other, E1001 where a recording cannot be read.
    """
    sets = {name: list(_utterances(path)) for name, path in _sets(folder).items()}
    joined: dict[str, list[Utterance]] = {}
    for name, utterances in sets.items():
        purpose = _PURPOSES.get(name.split("-")[0])
        if purpose and purpose != name:
            joined.setdefault(purpose, []).extend(utterances)
    written = []
    for name, utterances in {**joined, **sets}.items():
        written.append(out / f"{name}.jsonl")
        write_manifest(written[-1], utterances)
    return written


def _sets(folder: Path) -> dict[str, Path]:
    """Name and folder of each set."""
    if not folder.is_dir():
        message = f"the folder `{folder}` does not exist"
        raise AsrcError(diagnostic("E1003", message, help="name the folder of LibriSpeech"))
    if any(folder.glob("*/*/*.trans.txt")):
        return {folder.name: folder}
    found = {path.name: path for path in sorted(folder.iterdir()) if _is_set(path)}
    if not found and (folder / _INSIDE).is_dir():
        return _sets(folder / _INSIDE)
    if not found:
        raise _wrong(folder, "it should hold SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt")
    return found


def _is_set(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*/*/*.trans.txt"))


def _utterances(folder: Path) -> Iterator[Utterance]:
    for listing in sorted(folder.glob("*/*/*.trans.txt")):
        texts = dict(_lines(listing))
        audio = {path.stem for path in listing.parent.glob("*.flac")}
        if lone := sorted(audio ^ texts.keys()):
            what = "recording" if lone[0] in audio else "text"
            raise _wrong(listing, f"`{lone[0]}` has a {what} and nothing else")
        for name, text in sorted(texts.items()):
            path = listing.parent / f"{name}.flac"
            seconds = round(audio_info(path).seconds, 4)
            speaker = listing.parent.parent.name
            yield Utterance(name, path, text, seconds, speaker=speaker, extra=_extra(listing))


def _extra(listing: Path) -> dict[str, str]:
    return {"source": "librispeech", "chapter": listing.parent.name}


def _lines(listing: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = listing.read_bytes().decode("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise _wrong(listing, f"it cannot be read ({error})") from None
    for line in filter(str.strip, lines):
        name, _, text = line.strip().partition(" ")
        yield name, normalise(text)


def _wrong(path: Path, what: str) -> AsrcError:
    message = f"`{path}` is not what it should be: {what}"
    return AsrcError(diagnostic("E1003", message, help=_ARCHIVES))
