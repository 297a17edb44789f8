"""Audio files as float samples at the rate of a model.

Any file that libsndfile reads (wav, flac, ogg, mp3, ...), at any rate. Files are read in blocks, so
that neither hours of audio nor a header that lies about its length exhausts the memory.
"""

from __future__ import annotations

import math
import os
import stat
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler.files import printable
from .resample import rebuffered, resampled
from .riff import sample_bytes
from .samples import Samples, check_rate, check_samples, library, unusable

_BLOCK = 1 << 16
"""Frames that are read at once."""

_NEARLY = 0.99
"""Of what its header says, so much is a whole file."""

_LONGEST = 1 << 40
"""Frames; a header that claims more does not know its length."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header of a file says: sample rate (Hz), channels, length (seconds)."""

    rate: int
    channels: int
    seconds: float


def audio_info(path: Path | str) -> AudioInfo:
    """Rate, channels and length of a file without reading its samples.

    The length is what the header claims; a damaged file can hold less. Raises AsrcError E1001.
    """
    with _opened(Path(path)) as file:
        return AudioInfo(file.samplerate, file.channels, file.frames / file.samplerate)


def read_audio(
    path: Path | str,
    rate: int,
    *,
    start: float = 0.0,
    seconds: float | None = None,
    channels: int = 1,
) -> Samples:
    """A file, or the part of it from `start` on, at `rate` Hz: `[samples]` float32 in [-1, 1].

    With `channels=1` all channels are averaged; with more, the first ones are kept:
    `[channels, samples]`. A file that ends before `start + seconds` gives what it has; a wav file
    that is wanted to its end, or any mp3 file, that was cut does so with a Python warning.
    Raises AsrcError E1001, naming the file, where there is nothing to hear: unreadable, empty,
    no samples, not finite, too few channels, or a rate that cannot be.
    """
    parts = list(_frames(Path(path), rate, start, seconds, channels))
    frames = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not len(frames):
        raise unusable(path, "it has less than one sample", "leave this file out")
    return np.ascontiguousarray(frames.T)


def stream_audio(
    path: Path | str,
    rate: int,
    block_seconds: float,
    *,
    start: float = 0.0,
    seconds: float | None = None,
    channels: int = 1,
) -> Iterator[Samples]:
    """The samples of `read_audio` in blocks of `block_seconds`, the last one shorter.

    Holds one block at a time, whatever the length of the file. Errors come with the block at which
    they are found.
    """
    size = max(1, round(block_seconds * rate))
    for block in rebuffered(_frames(Path(path), rate, start, seconds, channels), size):
        yield np.ascontiguousarray(block.T)


def _frames(
    path: Path, rate: int, start: float, seconds: float | None, channels: int
) -> Iterator[Samples]:
    """Clipped blocks `[frames]` or `[frames, channels]` at `rate`."""
    check_rate(path, rate, "it is wanted at")
    _check_part(path, start, seconds)
    with _opened(path) as file:
        if seconds is None:
            _warn_if_cut(path, file.frames / file.samplerate)
        blocks = _mixed(path, file, start, seconds, channels)
        for block in resampled(blocks, file.samplerate, rate):
            yield np.clip(block, -1.0, 1.0)


def _check_part(path: Path, start: float, seconds: float | None) -> None:
    if not (math.isfinite(start) and start >= 0):
        raise unusable(path, f"it should start at {start:g}s", "start at 0s or later")
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise unusable(path, f"{seconds:g}s of it are wanted", "ask for more than 0s")


def _warn_if_cut(path: Path, there: float) -> None:
    """libsndfile tells the length that is there, not the one that the header of a wav file says."""
    claimed, held = sample_bytes(path) or (0, 0)
    if 0 < held < claimed:
        _warn_of_cut(path, there * claimed / held, there)


def _warn_if_short(path: Path, file: Any, end: int) -> None:
    """An mp3 file says its length in its first frame, to which an encoder's padding is added."""
    if end < _NEARLY * file.frames:
        _warn_of_cut(path, file.frames / file.samplerate, end / file.samplerate)


def _warn_of_cut(path: Path, claimed: float, held: float) -> None:
    lengths = f"its header says {claimed:.3f}s, and it holds {held:.3f}s"
    warnings.warn(f"the audio `{printable(str(path))}` is cut off: {lengths}", stacklevel=3)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A libsndfile file whose header makes sense."""
    soundfile = library("soundfile", "soundfile")
    _check_file(path)
    try:
        file = soundfile.SoundFile(_name(path))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        raise _unreadable(path, error) from None
    with file:
        check_rate(path, file.samplerate)
        if file.frames == 0:
            raise unusable(path, "it holds no samples", "fetch or record it again")
        if not 0 < file.frames < _LONGEST:
            raise unusable(path, "its header gives no length", "convert it to wav or flac")
        yield file


def _name(path: Path) -> str | bytes:
    """As the system has it: elsewhere than on Windows a name is bytes, perhaps not UTF-8."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


def _check_file(path: Path) -> None:
    """What libsndfile would only call a system error."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise unusable(path, "it is not a regular file", "name an audio file")
        path.open("rb").close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise unusable(path, reason.lower(), "check the path and its permissions") from None
    if status.st_size == 0:
        raise unusable(path, "the file is empty", "fetch or record it again")


def _unreadable(path: Path, error: Exception) -> Exception:
    reason = getattr(error, "error_string", "") or str(error)
    return unusable(
        path,
        f"it cannot be decoded ({reason.rstrip('.').lower()})",
        "it should be a whole wav, flac, ogg or mp3 file; convert or fetch it again",
    )


def _mixed(
    path: Path, file: Any, start: float, seconds: float | None, channels: int
) -> Iterator[Samples]:
    """Checked blocks at the rate of the file: the mean of the channels, or the first ones."""
    if channels > file.channels:
        reason = f"it has {file.channels} channels, {channels} are wanted"
        raise unusable(path, reason, "record with all microphones, or use a one-channel model")
    at = round(start * file.samplerate)
    left = _LONGEST if seconds is None else max(1, round(seconds * file.samplerate))
    for block in _blocks(path, file, at, left):
        check_samples(path, block, at, file.samplerate)
        at += len(block)
        yield block.mean(axis=1) if channels == 1 else block[:, :channels]


def _blocks(path: Path, file: Any, start: int, left: int) -> Iterator[Samples]:
    """Blocks `[frames, channels]` of at most `left` frames from frame `start` on."""
    if start >= file.frames:
        end = file.frames / file.samplerate
        raise unusable(path, f"it ends at {end:.3f}s, before the part begins", "check the offset")
    try:
        if start:
            file.seek(start)
        while left > 0:
            block = file.read(min(_BLOCK, left), dtype="float32", always_2d=True)
            if not len(block):
                _warn_if_short(path, file, start)
                return
            yield block
            left, start = left - len(block), start + len(block)
    except RuntimeError as error:
        raise _unreadable(path, error) from None
