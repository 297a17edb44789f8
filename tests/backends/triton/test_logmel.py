"""Log energies from one kernel against the fast transform of `Logmel`."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from asrc.backends.torch.audio import Logmel
from asrc.backends.triton.kernels.logmel import Tables, cost, logmel, reference, tables
from asrc.compiler.reference.audio import FLOOR
from asrc.tests.backends.triton.guard import Guards, random

Edges = tuple[float, float, float]
WIDE: Edges = (16000.0, 0.0, 0.0)
NARROW: Edges = (16000.0, 100.0, 7000.0)


def exact(
    audio: Tensor, dims: tuple[int, ...], window: int, hop: int, edges: Edges = WIDE
) -> Tensor:
    """In float64."""
    return Logmel(dims, window, hop, *edges).double()(audio.double())


def near(found: Tensor, wanted: Tensor, by: float = 1e-4) -> None:
    assert found.shape == wanted.shape
    assert float((found.double() - wanted.double()).abs().max()) <= by


def voice(samples: int, floor: float) -> Tensor:
    """`[1, samples, 1]`: harmonics of a moving pitch, in syllables, above a floor of noise."""
    time = torch.arange(samples) / 16000
    phase = 2 * math.pi * torch.cumsum(130 + 20 * torch.sin(20 * time), 0) / 16000
    voiced = sum((torch.sin(k * phase) / k**1.5 for k in range(1, 30)), torch.zeros(samples))
    syllables = (1 + torch.sin(25 * time)) / 2
    return (0.1 * voiced * syllables + floor * random(samples))[None, :, None]


@pytest.mark.parametrize("edges", [WIDE, NARROW])
@pytest.mark.parametrize(("window", "hop", "bins"), [(400, 160, 80), (256, 100, 23), (77, 31, 7)])
def test_noise(window: int, hop: int, bins: int, edges: Edges) -> None:
    audio = random(2, window + 3 * hop + 5, 1)
    found = logmel(audio, tables((bins,), window, *edges), hop)
    near(found, Logmel((bins,), window, hop, *edges)(audio))
    near(found, exact(audio, (bins,), window, hop, edges))


@pytest.mark.parametrize("samples", [0, 1, 99, 100, 101, 139, 140, 141, 1500])
def test_any_number_of_samples(samples: int) -> None:
    """Fewer than a window make one frame, and none a frame of the floor."""
    audio = random(2, samples, 1)
    found = logmel(audio, tables((9,), 100, *WIDE), 40)
    assert found.shape[1] == 1 + max(0, samples - 100) // 40
    near(found, Logmel((9,), 100, 40, *WIDE)(audio))


def test_a_hop_beyond_the_window() -> None:
    audio = random(1, 200, 1)
    near(logmel(audio, tables((5,), 30, *WIDE), 50), exact(audio, (5,), 30, 50))


@pytest.mark.parametrize("dims", [(9,), (1, 9), (3, 9)])
def test_channels(dims: tuple[int, ...]) -> None:
    audio = random(2, 300, dims[0] if len(dims) > 1 else 1)
    found = logmel(audio, tables(dims, 100, *WIDE), 40)
    assert found.shape == (2, 6, *dims)
    near(found, Logmel(dims, 100, 40, *WIDE)(audio))


def test_samples_are_read_where_they_lie() -> None:
    """Of a slice, of channels that are planes, and of a half type."""
    wide, table = random(3, 500, 2), tables((2, 9), 100, *WIDE)
    planes = wide.transpose(1, 2).contiguous().transpose(1, 2)
    for audio in (wide[1:, 7:440], planes[:, ::2], wide.half()):
        near(logmel(audio, table, 40), reference(audio, table, 40), 1e-5)


# --- what float32 can tell ---


def test_speech() -> None:
    audio = voice(4000, 1e-3)
    found = logmel(audio, tables((40,), 400, *WIDE), 160)
    near(found, exact(audio, (40,), 400, 160))
    near(found, Logmel((40,), 400, 160, *WIDE)(audio))


@pytest.mark.parametrize("level", [1e-2, 1e-4, 1e-5, 1e-8])
def test_quiet_signals_are_as_exact(level: float) -> None:
    """The last is under the floor."""
    audio = level * random(1, 1000, 1)
    near(logmel(audio, tables((40,), 400, *WIDE), 160), exact(audio, (40,), 400, 160), 5e-5)


def test_silence_is_the_floor() -> None:
    found = logmel(torch.zeros(1, 500, 1), tables((9,), 100, *WIDE), 40)
    near(found, torch.full_like(found, math.log(FLOOR)), 1e-5)


@pytest.mark.parametrize(("decibels", "error"), [(40, 5e-5), (60, 5e-4), (80, 4e-3)])
def test_quiet_bands_beside_a_tone(decibels: int, error: float) -> None:
    """Rounding is in proportion to the frame; a fast transform in float32 does no better."""
    tone = math.sqrt(2) * torch.sin(2 * math.pi * 300 / 16000 * torch.arange(3000))
    audio = (tone + 10 ** (-decibels / 20) * random(3000))[None, :, None]
    wanted = exact(audio, (40,), 400, 160)
    gaps = [
        (y - wanted)[..., 20:].abs().max()
        for y in (
            logmel(audio, tables((40,), 400, *WIDE), 160),
            Logmel((40,), 400, 160, *WIDE)(audio),
        )
    ]
    assert gaps[0] <= min(error, 2 * gaps[1])


# --- what comes behind ---


@pytest.mark.parametrize("wide", [True, False])
def test_normalised(wide: bool) -> None:
    """With statistics of each channel, or shared by them."""
    audio, dims = random(2, 300, 2), (2, 9)
    mean, deviation = random(*(dims if wide else (9,)), seed=1), 0.5 + random(9, seed=2).abs()
    found = logmel(audio, tables(dims, 100, *WIDE), 40, mean, deviation)
    near(found, (Logmel(dims, 100, 40, *WIDE)(audio) - mean) / deviation)
    near(found, reference(audio, tables(dims, 100, *WIDE), 40, mean, deviation), 1e-5)


def test_half_of_the_statistics_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a deviation"):
        logmel(random(1, 300, 1), tables((9,), 100, *WIDE), 40, random(9))


# --- memory and work ---


@pytest.mark.parametrize("samples", [0, 63, 1000])
def test_nothing_is_read_or_written_out_of_bounds(samples: int) -> None:
    """NaN lies around everything; a maximum would hide it if it did not pass it on."""
    guards, dims = Guards(), (2, 17)
    made = tables(dims, 77, *NARROW)
    table = Tables(*(guards.put(x) for x in (made.cosine, made.sine, made.bank)), dims=dims)
    audio = guards.put(random(2, samples, 2))
    mean, deviation = guards.put(random(*dims)), guards.put(0.5 + random(*dims).abs())
    y = guards.room(2, 1 + max(0, samples - 77) // 31, *dims)
    logmel(audio, table, 31, mean, deviation, out=y)
    near(y, (Logmel(dims, 77, 31, *NARROW)(audio) - mean) / deviation)
    guards.check()


def test_nan_is_passed_on() -> None:
    audio = random(1, 300, 1)
    audio[0, 150] = torch.nan
    found = logmel(audio, tables((9,), 100, *WIDE), 40).isnan().all(-1)
    assert found.tolist() == [[False, False, True, True, False, False]]


def test_nothing_of_nothing() -> None:
    assert logmel(random(0, 300, 1), tables((9,), 100, *WIDE), 40).shape == (0, 6, 9)


def test_bands_without_a_line_are_the_floor() -> None:
    """So narrow that no line of the transform falls into them."""
    audio, edges = random(1, 300, 1), (16000.0, 130.0, 180.0)
    found = logmel(audio, tables((3,), 100, *edges), 40)
    near(found, Logmel((3,), 100, 40, *edges)(audio))
    near(found, torch.full_like(found, math.log(FLOOR)), 1e-5)


def test_lines_outside_of_the_bands_are_not_computed() -> None:
    assert tables((40,), 400, *WIDE).bank.shape == (255, 40)
    made = tables((40,), 400, *NARROW)
    assert made.bank.shape == (220, 40)
    assert made.window == 400
    found = cost(random(1, 16000, 1), made, 160)
    assert found.flops == 2 * 98 * 220 * (2 * 400 + 1 + 40)
    assert found.bytes == 4 * (16000 + 2 * 400 * 220 + 220 * 40 + 98 * 40)
