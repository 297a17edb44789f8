"""Manifests: which utterances there are, one JSON object a line, as NeMo writes them.

    {"audio_filepath": "wav/0001.wav", "text": "good morning", "duration": 1.32}

`offset` (seconds), `speaker` and `id` are known too; further keys are kept. A relative path counts
from the folder of the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ..compiler.files import printable, write_text
from ..runtime.audio import audio_info

Json = None | bool | int | float | str | list[Any] | dict[str, Any]

_MOST_MISTAKES = 20
"""Of more mistakes than these in one manifest, the others are only counted."""

_GZIP = b"\x1f\x8b"

_LONGEST = 1e9
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of an audio file and what is said in it; `duration` and `offset` in seconds.

    `id` is unique in a manifest. Everything random about an utterance is drawn from it. Where a
    manifest does not say what is said, `text` is empty and `told` false.
    """

    id: str
    audio: Path
    text: str
    duration: float
    offset: float = 0.0
    speaker: str = ""
    extra: Mapping[str, Json] = field(default_factory=dict, hash=False)
    told: bool = True


def read_manifest(path: Path | str) -> list[Utterance]:
    """The utterances of a manifest in its order.

    Without `id`, an utterance is called by its path as written, with `@offset` where that is not
    0; bytes of a file's name that are no UTF-8 stand as `\\udce9` in both. Without `duration`, the
    header of the audio file is asked. Whether audio can be decoded is not looked at. Raises
    AsrcError E1002 with every mistake of the file, each with its line, and E0008 where the manifest
    cannot be read.
    """
    path = Path(path)
    mistakes: list[Diagnostic] = []
    found: dict[str, tuple[int, Utterance]] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            utterance = _utterance(line, path.parent)
            _check_new(utterance, found)
        except _Mistake as mistake:
            mistakes.append(_at(path, number, mistake))
        else:
            found[utterance.id] = (number, utterance)
    _report(path, mistakes, found)
    return [utterance for _, utterance in found.values()]


def write_manifest(path: Path | str, utterances: Iterable[Utterance]) -> None:
    """Write a manifest that `read_manifest` reads back to the same utterances, atomically.

    Audio below the folder of the manifest gets a relative path, so that both move together.
    Raises AsrcError E0008 where it cannot be written, and E1002 for what JSON cannot hold.
    """
    path = Path(path)
    lines = [_line(utterance, path) for utterance in utterances]
    write_text(path, "".join(f"{line}\n" for line in lines))


class _Mistake(Exception):
    """What is wrong with a line, and what to do."""

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message)
        self.help = help


def _lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
        _check_plain(path, content)
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            mistake = _Mistake("this is not UTF-8 text", "save the manifest as UTF-8")
            number = error.object[: error.start].count(b"\n") + 1
            raise AsrcError(_at(path, number, mistake)) from None
        reason = getattr(error, "strerror", None) or str(error)
        raise AsrcError(diagnostic("E0008", f"cannot read `{path}`: {reason}")) from None
    return text.split("\n")


def _check_plain(path: Path, content: bytes) -> None:
    if content.startswith(_GZIP):
        mistake = _Mistake("this file is compressed (gzip)", "unpack it, with `gunzip`")
        raise AsrcError(_at(path, 1, mistake))


def _at(path: Path, number: int, mistake: _Mistake) -> Diagnostic:
    return diagnostic("E1002", f"{path}:{number}: {mistake}", help=mistake.help)


def _report(path: Path, mistakes: list[Diagnostic], found: Mapping[str, object]) -> None:
    if len(mistakes) > _MOST_MISTAKES:
        more = f"{path}: {len(mistakes) - _MOST_MISTAKES} more lines are wrong"
        mistakes[_MOST_MISTAKES:] = [diagnostic("E1002", more)]
    if not mistakes and not found:
        mistakes.append(_at(path, 1, _Mistake("no utterances", "give one JSON object a line")))
    if mistakes:
        raise AsrcError(*mistakes)


def _utterance(line: str, folder: Path) -> Utterance:
    record = dict(_record(line))
    _check_characters(line, record)
    name = _string(record, "audio_filepath")
    if not name:
        raise _Mistake("`audio_filepath` is missing or empty", "name the audio file")
    audio, offset = folder / name, _seconds(record, "offset") or 0.0
    duration = _seconds(record, "duration")
    return Utterance(
        id=_string(record, "id") or _made_id(name, offset),
        audio=audio,
        text=_string(record, "text"),
        duration=_measured(audio, offset) if duration is None else duration,
        offset=offset,
        speaker=_string(record, "speaker"),
        extra={key: value for key, value in record.items() if key not in _FIELDS},
        told="text" in record,
    )


def _made_id(name: str, offset: float) -> str:
    """Different for different offsets: with six digits where these are all, else with more."""
    short = f"{offset:g}"
    exact = short if float(short) == offset else repr(offset)
    return printable(name) + (f"@{exact}" if offset else "")


_FIELDS = ("id", "audio_filepath", "text", "duration", "offset", "speaker")


def _record(line: str) -> Iterator[tuple[str, Json]]:
    """The keys and values of a line that holds one JSON object."""
    try:
        record = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        place = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        message = f"this is not JSON ({reason}{place})"
        raise _Mistake(message, "one JSON object a line, with double quotes") from None
    if not isinstance(record, dict):
        raise _Mistake("this is JSON, but not an object", 'like {"audio_filepath": ...}')
    yield from record.items()


def _check_characters(line: str, record: Mapping[str, Json]) -> None:
    """No half of a surrogate pair, which only an escape can write and nothing can print."""
    if "\\u" not in line:
        return
    for key, value in record.items():
        path = key == "audio_filepath" and isinstance(value, str)
        given = str(value) if path else json.dumps([key, value], ensure_ascii=False)
        if not _is_encodable(given, "surrogateescape" if path else "strict"):
            half = f"`{printable(key)}` has half of a surrogate pair, which is no character"
            raise _Mistake(half, "write the character itself, or both halves")


def _is_encodable(text: str, errors: str = "strict") -> bool:
    """`surrogateescape` lets bytes of a file's name pass that are not UTF-8."""
    try:
        text.encode(errors=errors)
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON number")


def _string(record: Mapping[str, Json], key: str) -> str:
    value = record.get(key, "")
    if not isinstance(value, str):
        raise _Mistake(f"`{key}` is {_kind(value)}, not a string", f'write "{key}" in quotes')
    return value


def _seconds(record: Mapping[str, Json], key: str) -> float | None:
    value = record.get(key)
    if key not in record:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Mistake(f"`{key}` is {_kind(value)}, not a number", "seconds, such as 2.75")
    if not 0 <= value <= _LONGEST:
        raise _Mistake(f"`{key}` is {str(value)[:12]}", f"seconds, from 0 to {_LONGEST:.0e}")
    return float(value)


def _kind(value: Json) -> str:
    names = {bool: "true or false", str: "a string", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), "a number")


def _measured(audio: Path, offset: float) -> float:
    try:
        return max(0.0, audio_info(audio).seconds - offset)
    except AsrcError as error:
        message = f"no `duration`, and {error.diagnostics[0].message}"
        raise _Mistake(message, 'write "duration" in seconds') from None


def _check_new(utterance: Utterance, found: Mapping[str, tuple[int, Utterance]]) -> None:
    if utterance.id in found:
        message = f"the id `{utterance.id}` is also on line {found[utterance.id][0]}"
        raise _Mistake(message, 'give each utterance an "id" of its own')


def _line(utterance: Utterance, manifest: Path) -> str:
    record: dict[str, Json] = {
        "id": utterance.id,
        "audio_filepath": _written(utterance.audio, manifest.parent),
        **({"text": utterance.text} if utterance.told or utterance.text else {}),
        "duration": utterance.duration,
    }
    if utterance.offset:
        record["offset"] = utterance.offset
    if utterance.speaker:
        record["speaker"] = utterance.speaker
    record |= {key: value for key, value in utterance.extra.items() if key not in _FIELDS}
    try:
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        return line if _is_encodable(line) else json.dumps(record)
    except (TypeError, ValueError) as error:
        message = f"`{utterance.id}` cannot be written to `{manifest}`: {error}"
        raise AsrcError(diagnostic("E1002", message, help="keep to what JSON can hold")) from None


def _written(audio: Path, folder: Path) -> str:
    """A path as it stands in the manifest: relative below `folder`, else absolute."""
    whole, base = audio.absolute(), folder.absolute()
    return (whole.relative_to(base) if whole.is_relative_to(base) else whole).as_posix()
