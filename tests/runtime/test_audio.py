"""Audio files: any format and rate becomes float samples, and what cannot be heard is explained."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.audio import AudioInfo, audio_info, read_audio, stream_audio
from asrc.tests.runtime.sounds import RATE, tone, write


def complaint(path: Path, rate: int = RATE, **options: float) -> str:
    """The message of E1001 and its help."""
    with pytest.raises(AsrcError) as caught:
        read_audio(path, rate, **options)
    (found,) = caught.value.diagnostics
    assert found.code == "E1001"
    assert str(path) in found.message
    assert found.help
    return found.message


# --- what can be read ------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_formats_and_rates(tmp_path: Path, suffix: str, rate: int) -> None:
    path = write(tmp_path / f"a.{suffix}", tone(rate=rate), rate)
    samples = read_audio(path, RATE)
    assert samples.dtype == np.float32
    assert samples.shape == (RATE // 2,)
    inside = slice(2_000, -2_000)  # away from the edges of coders and filters
    assert np.abs(samples - tone())[inside].max() < 0.05
    assert audio_info(path) == AudioInfo(rate, 1, 0.5)


def test_sixteen_bits_are_read_exactly(tmp_path: Path) -> None:
    numbers = np.arange(-(2**15), 2**15, 7, dtype=np.int16)
    path = write(tmp_path / "a.wav", numbers)
    assert np.array_equal(read_audio(path, RATE), numbers / np.float32(2**15))


def test_a_part(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", tone(1.0))
    whole = read_audio(path, RATE)
    assert np.array_equal(read_audio(path, RATE, start=0.25, seconds=0.5), whole[4_000:12_000])
    assert np.array_equal(read_audio(path, RATE, start=0.75, seconds=9.0), whole[12_000:])


def test_channels_are_averaged_or_kept(tmp_path: Path) -> None:
    left, right = tone(), tone(pitch=300)
    path = write(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    assert np.allclose(read_audio(path, RATE), (left + right) / 2, atol=1e-7)
    assert np.array_equal(read_audio(path, RATE, channels=2), [left, right])
    assert "it has 2 channels, 3 are wanted" in complaint(path, channels=3)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xe9.wav")
    write(tmp_path / "a.wav", tone()).rename(path)
    assert np.array_equal(
        read_audio(path, RATE), read_audio(write(tmp_path / "b.wav", tone()), RATE)
    )
    path.write_bytes(b"no audio")
    with pytest.raises(AsrcError) as caught:
        audio_info(path)
    (found,) = caught.value.diagnostics
    assert r"\udce9.wav`: it cannot be decoded" in found.message


def test_overshoot_is_clipped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(level=1.3), subtype="FLOAT")
    assert np.abs(read_audio(path, RATE)).max() == 1.0


@given(
    seconds=st.integers(1, 4_000).map(lambda n: n / RATE * 10),
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 48_000]),
    block=st.sampled_from([0.0001, 0.01, 0.1, 5.0]),
    channels=st.sampled_from([1, 2]),
)
def test_blocks_join_to_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    seconds: float,
    rate: int,
    block: float,
    channels: int,
) -> None:
    noise = np.random.default_rng(1).uniform(-0.9, 0.9, (max(8, round(seconds * rate)), 2))
    path = write(tmp_path_factory.mktemp("audio") / "a.wav", noise.astype(np.float32), rate)
    whole = read_audio(path, RATE, channels=channels)
    blocks = list(stream_audio(path, RATE, block, channels=channels))
    sizes = [part.shape[-1] for part in blocks]
    size = max(1, round(block * RATE))
    assert sizes[:-1] == [size] * (len(sizes) - 1)
    assert 0 < sizes[-1] <= size
    assert np.abs(np.concatenate(blocks, axis=-1) - whole).max() <= 1e-6
    assert whole.shape[-1] == round(len(noise) * RATE / rate)


def test_long_files_are_streamed_in_little_memory(tmp_path: Path) -> None:
    """Only the header of a sparse file says that it is 10 hours long; blocks come at once."""
    path = write(tmp_path / "a.wav", tone(0.01))
    size = RATE * 2 * 36_000
    with path.open("r+b") as file:
        file.seek(4)
        file.write(struct.pack("<I", size + 36))
        file.seek(40)
        file.write(struct.pack("<I", size))
        file.truncate(size + 44)
    assert audio_info(path).seconds == 36_000
    blocks = stream_audio(path, 8_000, 0.5)
    assert next(blocks).shape == (4_000,)
    blocks.close()


# --- what cannot -----------------------------------------------------------------------------


def broken(path: Path, edit: dict[int, bytes] | None = None, cut: int | None = None) -> Path:
    """A wav file with other bytes at some places, or only its first ones."""
    content = bytearray(write(path, tone()).read_bytes())
    for at, new in (edit or {}).items():
        content[at : at + len(new)] = new
    path.write_bytes(content[:cut])
    return path


def test_a_file_that_is_cut_gives_what_it_has(tmp_path: Path) -> None:
    path = broken(tmp_path / "a.wav", cut=44 + 2 * 1_000)
    says = r"a.wav` is cut off: its header says 0.500s, and it holds 0.062s"
    with pytest.warns(UserWarning, match=says):
        samples = read_audio(path, RATE)
    assert np.array_equal(read_audio(path, RATE, seconds=0.5), samples)
    assert np.array_equal(read_audio(write(path, tone()), RATE)[:1_000], samples)


def test_an_mp3_file_that_is_cut_says_so(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = write(tmp_path / "a.mp3", np.tile(tone(), 8), format="MP3")
    whole = read_audio(path, RATE)
    assert not recwarn.list
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"a.mp3` is cut off: its header says 4.000s, and it h"):
        samples = read_audio(path, RATE)
    assert len(samples) < 0.6 * len(whole)


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\x00\x00\xff\x7f"])
def test_a_file_that_was_written_to_a_pipe_is_whole(tmp_path: Path, size: bytes) -> None:
    path = broken(tmp_path / "a.wav", edit={4: size, 40: size})
    assert np.array_equal(read_audio(path, RATE), read_audio(write(path, tone()), RATE))


def test_samples_that_are_not_the_first_chunk(tmp_path: Path) -> None:
    """A chunk of an odd size is padded by a byte."""
    path = write(tmp_path / "a.wav", tone())
    content = path.read_bytes()
    path.write_bytes(content[:36] + b"note\3\0\0\0abc\0" + content[36:-2_000])
    with pytest.warns(UserWarning, match=r"says 0.500s, and it holds 0.438s"):
        read_audio(path, RATE)


@pytest.mark.parametrize(("cut", "reason"), [(30, "cannot be decoded"), (44, "no samples")])
def test_files_without_samples(tmp_path: Path, cut: int, reason: str) -> None:
    assert reason in complaint(broken(tmp_path / "a.wav", cut=cut))


def test_half_a_flac_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 40_000))
    path.write_bytes(path.read_bytes()[:40_000])
    assert "cannot be decoded" in complaint(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"good morning\n" * 99, "cannot be decoded")],
)
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.raw"])
def test_files_that_are_no_audio(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert reason in complaint(path)


@pytest.mark.parametrize("rate", [0, 1, 2_000_000, 2**32 - 1])
def test_rates_that_cannot_be(tmp_path: Path, rate: int) -> None:
    path = broken(tmp_path / "a.wav", edit={24: struct.pack("<I", rate)})
    assert complaint(path)
    assert "it is wanted at 0 Hz" in complaint(write(path, tone()), rate=0)


def test_a_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    """A terabyte by the header of a FLAC file must not be allocated."""
    path = write(tmp_path / "a.flac", tone())
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # the highest bits of the 36-bit count of samples
    path.write_bytes(content)
    assert audio_info(path).seconds > 1e6
    assert "cannot be decoded" in complaint(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    samples = tone()
    samples[4_000] = value
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert f"a sample is {value:g} at 0.250s" in complaint(path)
    assert len(read_audio(path, RATE, seconds=0.2)) == 3_200


def test_samples_on_another_scale(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(level=20_000.0), subtype="FLOAT")
    assert "where 1 is full scale" in complaint(path)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no such file" in complaint(tmp_path / "a.wav")
    assert "not a regular file" in complaint(tmp_path)
    assert "not a regular file" in complaint(tmp_path / "pipe")
    assert "null byte" in complaint(Path("a\0b"))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_files_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone())
    path.chmod(0)
    assert "permission denied" in complaint(path)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"start": -1.0}, "should start at -1s"),
        ({"start": np.nan}, "should start at nan"),
        ({"seconds": 0.0}, "0s of it are wanted"),
        ({"start": 7.0}, "it ends at 0.500s"),
    ],
)
def test_parts_that_are_not_there(tmp_path: Path, part: dict[str, float], reason: str) -> None:
    assert reason in complaint(write(tmp_path / "a.wav", tone()), **part)


def test_less_than_a_sample(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(1 / 48_000, 48_000), 48_000)
    assert "less than one sample" in complaint(path, rate=8_000)
