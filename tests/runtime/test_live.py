"""Samples that arrive on a pipe or from a microphone."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.live import microphone_blocks, pcm_blocks
from asrc.tests.runtime.sounds import RATE


class Dribble(io.RawIOBase):
    """A pipe that gives three bytes at a time."""

    def __init__(self, content: bytes) -> None:
        self.content = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self.content.read(min(3, size))


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
def test_raw_samples(dtype: str) -> None:
    wanted = np.linspace(-1, 0.5, 1_000, dtype=np.float32)
    scale = {"int16": 2**15, "int32": 2**31, "float32": 1}[dtype]
    raw = (wanted.astype(np.float64) * scale).astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    blocks = list(pcm_blocks(Dribble(raw), RATE, dtype, seconds=0.02))
    assert [len(block) for block in blocks] == [320, 320, 320, 40]
    assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
    assert np.allclose(np.concatenate(blocks), wanted, atol=2**-15)


def test_raw_samples_of_several_channels() -> None:
    """One sample of each in turn; what is cut within these goes."""
    wanted = np.linspace(-1, 0.5, 2_000, dtype=np.float32).reshape(2, 1_000)
    raw = (wanted.T * 2**15).astype("<i2").tobytes()
    with pytest.warns(UserWarning, match="2 bytes are dropped"):
        blocks = list(pcm_blocks(Dribble(raw + b"ab"), RATE, seconds=0.02, channels=2))
    assert [block.shape for block in blocks] == [(2, 320), (2, 320), (2, 320), (2, 40)]
    assert np.allclose(np.concatenate(blocks, axis=1), wanted, atol=2**-15)


def test_a_stream_that_ends_within_a_sample() -> None:
    with pytest.warns(UserWarning, match="1 bytes are dropped"):
        blocks = list(pcm_blocks(io.BytesIO(b"\x00\x40" * 3 + b"\x01"), RATE))
    assert [block.tolist() for block in blocks] == [[0.5, 0.5, 0.5]]
    assert list(pcm_blocks(io.BytesIO(b""), RATE)) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_raw_samples_that_cannot_be(value: float) -> None:
    raw = np.array([0, 0, value], "<f4").tobytes()
    with pytest.raises(AsrcError, match="E1001"):
        list(pcm_blocks(io.BytesIO(raw), RATE, "float32"))


def test_formats_and_rates_are_checked_at_once() -> None:
    with pytest.raises(AsrcError, match="the format `int24`"):
        pcm_blocks(io.BytesIO(), RATE, "int24")
    with pytest.raises(AsrcError, match="sample rate is 0 Hz"):
        pcm_blocks(io.BytesIO(), 0)


# --- microphones -----------------------------------------------------------------------------


class PortAudioError(Exception):
    pass


class FakeStream:
    """What `sounddevice.InputStream` does, with one block that came too late."""

    def __init__(self, device: object = None, **options: Any) -> None:
        if device == "none":
            raise PortAudioError("no such device")
        self.options = options
        self.count = 0

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, *problem: object) -> None:
        pass

    def read(self, size: int) -> tuple[np.ndarray, bool]:
        self.count += 1
        block = np.full((size, self.options["channels"]), self.count / 10, np.float32)
        return block * np.arange(1, 1 + block.shape[1], dtype=np.float32), self.count == 2


@pytest.fixture
def sounddevice(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(InputStream=FakeStream, PortAudioError=PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)


@pytest.mark.usefixtures("sounddevice")
def test_a_microphone() -> None:
    blocks = microphone_blocks(RATE, seconds=0.1)
    first = next(blocks)
    assert first.shape == (1_600,)
    assert first[0] == np.float32(0.1)
    with pytest.warns(UserWarning, match="lost samples"):
        assert next(blocks)[0] == np.float32(0.2)
    blocks.close()


@pytest.mark.usefixtures("sounddevice")
def test_several_microphones() -> None:
    block = next(microphone_blocks(RATE, seconds=0.1, channels=2))
    assert block.shape == (2, 1_600)
    assert block[:, 7].tolist() == pytest.approx([0.1, 0.2])


@pytest.mark.usefixtures("sounddevice")
def test_a_microphone_that_is_not_there() -> None:
    with pytest.raises(AsrcError, match="no such device"):
        next(microphone_blocks(RATE, device="none"))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AsrcError) as caught:
        microphone_blocks(RATE)
    assert caught.value.diagnostics[0].help == ("pip install sounddevice",)
