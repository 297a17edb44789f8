"""Log energies of mel bands from samples, in one launch; `compiler/reference/audio.py` says what.

The Fourier transform is a product with tables of cosines and sines that have the window in them,
so a program goes from samples to logarithms in registers, and frames, which overlap, are never
written down. Lines that no band has a share of are left out of the tables.

Of float32: products and sums are rounded in proportion to the whole frame, about 1e-7 of its norm a
line, so bands far below the loudest ones are the less exact. The logarithm of white noise 50 dB
below a tone in the same frame is off by up to 4e-5, at 60 dB by 2e-4, at 80 dB by 1e-3, at 100 dB
by 5e-3; the fast transform of `Logmel` in float32 is about twice as far off. In a frame that is
quiet as a whole nothing is lost, down to the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from ....compiler.reference.audio import FLOOR, mel_bank
from ..tuning import TUNER, Config, about
from .cost import Cost, nbytes
from .overlap import early, follow


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """`cosine` and `sine` `[window, lines]`, `bank` `[lines, bins]`, all float32.

    A frame is `dims`, channels first and bins last.
    """

    cosine: Tensor
    sine: Tensor
    bank: Tensor
    dims: tuple[int, ...]

    @property
    def window(self) -> int:
        return len(self.cosine)


def tables(
    dims: tuple[int, ...],
    window: int,
    rate: float,
    low: float,
    high: float,
    device: torch.device | str = "cpu",
) -> Tables:
    """For windows of so many samples; `rate`, `low` and `high` are in Hz, as `mel_bank` has it."""
    size = 1 << (window - 1).bit_length()
    bank = mel_bank(dims[-1], size, rate, low, high).T
    used = np.flatnonzero((bank > 0).any(1))
    lines = np.arange(used[0], used[-1] + 1) if len(used) else np.arange(1)
    # The product of two integers, reduced before it is an angle, has no error.
    turn = np.arange(window)[:, None] * lines % size * (2 * np.pi / size)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)[:, None]
    parts = (hann * np.cos(turn), hann * np.sin(turn), bank[lines])
    cosine, sine, shares = (
        torch.from_numpy(part).to(device, torch.float32).contiguous() for part in parts
    )
    return Tables(cosine, sine, shares, dims)


def logmel(
    audio: Tensor,
    tables: Tables,
    hop: int,
    mean: Tensor | None = None,
    deviation: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`[B, samples, channels]` to `[B, frames, *dims]`, float32; `hop` is in samples.

    A frame needs a whole window, but the first, which is there even if it is void. With `mean` and
    `deviation`, which broadcast to `dims`, the frames are normalised. Any strides will do.
    """
    count = _frames(audio.shape[1], tables.window, hop)
    shape = len(audio), count, *tables.dims
    y = audio.new_empty(shape, dtype=torch.float32) if out is None else out
    if not y.numel():
        return y
    statistics = _statistics(tables.dims, mean, deviation)

    def run(config: Config) -> None:
        _launch(audio, tables, hop, statistics, y, config)

    sizes = (*tables.cosine.shape, tables.bank.shape[1], hop, about(count))
    run(TUNER.best("logmel", sizes, _TILES, run, audio.device))
    return y


def reference(
    audio: Tensor,
    tables: Tables,
    hop: int,
    mean: Tensor | None = None,
    deviation: Tensor | None = None,
) -> Tensor:
    """The same in PyTorch, float32, with the frames written down."""
    missing = max(0, tables.window - audio.shape[1])
    whole = functional.pad(audio.float().transpose(1, 2), (0, missing))
    frames = whole.unfold(-1, tables.window, hop)
    power = (frames @ tables.cosine).square() + (frames @ tables.sine).square()
    energy = (power @ tables.bank).clamp(min=FLOOR).log().transpose(1, 2)
    y = energy.reshape(*energy.shape[:2], *tables.dims)
    return y if mean is None or deviation is None else (y - mean) / deviation


def cost(audio: Tensor, tables: Tables, hop: int) -> Cost:
    """Of a call; the transform is taken as the product that it is."""
    rows = len(audio) * _frames(audio.shape[1], tables.window, hop) * audio.shape[2]
    lines, bins = tables.bank.shape
    moved = nbytes(audio, tables.cosine, tables.sine, tables.bank) + 4 * rows * bins
    return Cost(moved, 2.0 * rows * lines * (2 * tables.window + 1 + bins))


# --- launches ---

_TILES = tuple(
    Config({"FRAMES": frames, "LINES": lines, "TAPS": taps}, warps)
    for frames, lines, taps, warps in (
        *((16, 32, 32, 4), (16, 64, 32, 4), (16, 32, 16, 2)),
        *((32, 32, 32, 4), (32, 64, 32, 8), (64, 32, 32, 8)),
    )
)


def _frames(samples: int, window: int, hop: int) -> int:
    return max(0, samples - window) // hop + 1


def _statistics(
    dims: tuple[int, ...], mean: Tensor | None, deviation: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    if mean is None or deviation is None:
        if mean is not deviation:
            raise ValueError("a mean needs a deviation, and a deviation a mean")
        return None
    return mean.float().expand(dims).contiguous(), deviation.float().expand(dims).contiguous()


def _launch(
    audio: Tensor,
    tables: Tables,
    hop: int,
    statistics: tuple[Tensor, Tensor] | None,
    y: Tensor,
    config: Config,
) -> None:
    (batch, samples, channels), (lines, bins) = audio.shape, tables.bank.shape
    mean, deviation = (y, y) if statistics is None else statistics
    tiles = triton.cdiv(y.shape[1], config.sizes["FRAMES"])
    _logmel[tiles * batch * channels,](
        audio, tables.cosine, tables.sine, tables.bank, mean, deviation, y, tiles, samples,
        y.shape[1], channels, hop, tables.window, lines, bins, *audio.stride(), FLOOR,
        CMVN=statistics is not None, BINS=max(16, triton.next_power_of_2(bins)),
        **config.options(), **early(audio),
    )  # fmt: skip


# --- kernels ---


@triton.jit(do_not_specialize=("tiles", "samples", "frames", "of_batch"))
def _logmel(
    audio, cosine, sine, bank, mean, deviation, y, tiles, samples, frames, channels, hop, window,
    lines, bins, of_batch, of_sample, of_channel, floor,
    CMVN: tl.constexpr, BINS: tl.constexpr, FRAMES: tl.constexpr, LINES: tl.constexpr,
    TAPS: tl.constexpr,
):  # fmt: skip
    """A program makes all bands of `FRAMES` frames of a channel."""
    follow()
    row, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    b, channel = (row // channels).to(tl.int64), row % channels
    frame, m = tile * FRAMES + tl.arange(0, FRAMES), tl.arange(0, BINS)
    signal = audio + b * of_batch + channel * of_channel
    energy = tl.zeros((FRAMES, BINS), tl.float32)
    for first in range(0, lines, LINES):
        k = first + tl.arange(0, LINES)
        power = _power(
            signal, cosine, sine, frame, k, samples, frames, hop, window, lines, of_sample,
            FRAMES, LINES, TAPS,
        )  # fmt: skip
        known = (k < lines)[:, None] & (m < bins)[None, :]
        share = tl.load(bank + k[:, None] * bins + m[None, :], known, 0.0)
        energy = tl.dot(power, share, energy, input_precision="ieee")
    value = tl.log(tl.maximum(energy, floor, propagate_nan=tl.PropagateNan.ALL))
    if CMVN:
        at = channel * bins + m
        value -= tl.load(mean + at, m < bins, 0.0)[None, :]
        value /= tl.load(deviation + at, m < bins, 1.0)[None, :]
    place = ((b * frames + frame[:, None]) * channels + channel) * bins + m[None, :]
    tl.store(y + place, value, (frame < frames)[:, None] & (m < bins)[None, :])


@triton.jit
def _power(
    signal, cosine, sine, frame, k, samples, frames, hop, window, lines, of_sample,
    FRAMES: tl.constexpr, LINES: tl.constexpr, TAPS: tl.constexpr,
):  # fmt: skip
    """`[FRAMES, LINES]`: of the lines `k`; a sample is read where it lies, once a frame."""
    real = tl.zeros((FRAMES, LINES), tl.float32)
    imaginary = tl.zeros((FRAMES, LINES), tl.float32)
    for first in range(0, window, TAPS):
        n = first + tl.arange(0, TAPS)
        at = frame[:, None].to(tl.int64) * hop + n[None, :]
        heard = (frame < frames)[:, None] & (n < window)[None, :] & (at < samples)
        x = tl.load(signal + at * of_sample, heard, 0.0).to(tl.float32)
        known, place = (n < window)[:, None] & (k < lines)[None, :], n[:, None] * lines + k[None, :]
        real = tl.dot(x, tl.load(cosine + place, known, 0.0), real, input_precision="ieee")
        imaginary = tl.dot(x, tl.load(sine + place, known, 0.0), imaginary, input_precision="ieee")
    return real * real + imaginary * imaginary
