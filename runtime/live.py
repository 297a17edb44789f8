"""Audio as it arrives: raw samples on a pipe, and microphones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from .samples import Samples, check_rate, check_samples, library, unusable

_FORMATS = {"int16": ("<i2", 2.0**15), "int32": ("<i4", 2.0**31), "float32": ("<f4", 1.0)}
"""Sample format -> little-endian NumPy type and full scale."""


def pcm_blocks(
    stream: BinaryIO, rate: int, dtype: str = "int16", seconds: float = 0.1, channels: int = 1
) -> Iterator[Samples]:
    """Raw little-endian samples, in blocks of `seconds` as float32 in [-1, 1].

    Of several channels they are interleaved, and blocks are `[channels, samples]`. The last block
    may be shorter. `dtype` is int16, int32 or float32. A stream that is cut within a sample of all
    channels loses that part of one with a Python warning: what was said before is still wanted.
    Raises AsrcError E1001 for the bytes of a file with a header, and for float samples that are not
    finite or beyond full scale.
    """
    if dtype not in _FORMATS:
        raise unusable("raw samples", f"the format `{dtype}`", f"one of {', '.join(_FORMATS)}")
    check_rate("raw samples", rate)
    return _pcm_blocks(stream, rate, dtype, max(1, round(rate * seconds)), channels)


def _pcm_blocks(
    stream: BinaryIO, rate: int, dtype: str, size: int, channels: int
) -> Iterator[Samples]:
    form, scale = _FORMATS[dtype]
    width, at = np.dtype(form).itemsize * channels, 0
    while data := _read(stream, size * width):
        _check_raw(data if not at else b"")
        whole = len(data) - len(data) % width
        if whole < len(data):
            message = f"the raw samples end within a sample: {len(data) - whole} bytes are dropped"
            warnings.warn(message, stacklevel=2)
        values = np.frombuffer(data[:whole], form).reshape(-1, channels)
        block = (values / scale).astype(np.float32)
        check_samples("raw samples", block, at, rate)
        at += len(block)
        if len(block):
            yield _by_channel(np.clip(block, -1.0, 1.0))


_HEADERS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM")


def _check_raw(data: bytes) -> None:
    """Raises AsrcError E1001 for the begin of a file, whose header would be heard as samples."""
    if data.startswith(_HEADERS):
        reason = f"they begin as a file does, with `{data[:4].decode()}`"
        help = "name the file in place of `-`, or send its samples alone (`ffmpeg -f s16le`)"
        raise unusable("raw samples", reason, help)


def _by_channel(block: Samples) -> Samples:
    """`[samples]`, or `[channels, samples]`, of `[samples, channels]`."""
    return block[:, 0] if block.shape[1] == 1 else np.ascontiguousarray(block.T)


def _read(stream: BinaryIO, count: int) -> bytes:
    """Exactly `count` bytes, fewer only at the end: a pipe gives what it has."""
    parts: list[bytes] = []
    while count > 0 and (part := stream.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def microphone_blocks(
    rate: int, seconds: float = 0.1, device: int | str | None = None, channels: int = 1
) -> Iterator[Samples]:
    """A microphone at `rate` Hz in blocks of `seconds`, until the caller stops.

    Blocks are `[samples]`, or `[channels, samples]` of a device that has several channels.
    `device` is a number or a part of a name, as `python -m sounddevice` lists them. Samples that
    are lost because the caller is too slow give a Python warning. Raises AsrcError E1001 where
    `sounddevice` is not installed or the device cannot be opened.
    """
    check_rate("microphone", rate)
    sounddevice = library("sounddevice", "sounddevice")
    size = max(1, round(rate * seconds))
    return _microphone_blocks(sounddevice, rate, size, device, channels)


def _microphone_blocks(
    sounddevice: Any, rate: int, size: int, device: int | str | None, channels: int
) -> Iterator[Samples]:
    try:
        with sounddevice.InputStream(
            samplerate=rate, blocksize=size, device=device, channels=channels, dtype="float32"
        ) as stream:
            while True:
                block, overflowed = stream.read(size)
                if overflowed:
                    warnings.warn("the microphone lost samples: too slow", stacklevel=2)
                yield _by_channel(np.array(block, np.float32))
    except (sounddevice.PortAudioError, ValueError) as error:
        help = "`python -m sounddevice` lists the devices and their rates"
        raise unusable("microphone", str(error), help) from None
