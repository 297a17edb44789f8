"""What can happen to sound: another speed, a room, noise, another level.

Samples are `[samples]` or `[channels, samples]`, float32; what is one channel wide acts on each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.samples import Samples, library


def change_speed(samples: Samples, factor: float) -> Samples:
    """Faster and higher by `factor`: round(n / factor) samples (Ko et al. 2015)."""
    if factor == 1.0:
        return samples
    changed: Samples = library("soxr", "soxr").resample(samples.T, factor, 1.0)
    return np.ascontiguousarray(changed.T)


def reverberate(samples: Samples, response: Samples) -> Samples:
    """In the room of an impulse response `[taps]`, as long, as loud and not later than before.

    Not later: the strongest tap is the direct sound and is put at delay 0, so that labels keep
    their frames.
    """
    count = samples.shape[-1]
    size = 1 << (count + len(response) - 2).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    direct = int(np.abs(response).argmax())
    heard = np.fft.irfft(spectrum, size)[..., direct : direct + count]
    level = _ratio(power(samples), power(heard))
    return np.asarray(heard * level, np.float32)


def add_noise(samples: Samples, noise: Samples, snr: float) -> Samples:
    """With `noise`, `[samples]`, at `snr` dB below the mean power of the whole utterance."""
    wanted = power(samples) / 10 ** (snr / 10)
    return samples + noise * np.float32(_ratio(wanted, power(noise)))


def change_gain(samples: Samples, decibels: float) -> Samples:
    """Louder by so many dB."""
    return samples * np.float32(10 ** (decibels / 20))


def within_full_scale(samples: Samples) -> Samples:
    """Softer as a whole where a sample is beyond 1: clipping would add distortion."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples / np.float32(peak) if peak > 1.0 else samples


def power(samples: NDArray[np.floating[Any]]) -> float:
    """The mean square."""
    return float(np.mean(np.square(samples, dtype=np.float64)))


def _ratio(wanted: float, present: float) -> float:
    """The factor for amplitudes that turns one power into the other; 0 for silence."""
    return float(np.sqrt(wanted / present)) if present > 0 else 0.0
