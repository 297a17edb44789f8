"""What samples are, and the one error for audio that has none."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.files import printable

Samples = NDArray[np.float32]
"""Audio in [-1, 1]: `[samples]`, or `[channels, samples]` where there are several."""

RATES = (1_000, 768_000)
"""Hz; outside of these a header is damaged rather than unusual."""

LOUDEST = 2.0
"""Float samples up to this are overshoot and clipped; beyond it, the scale must be wrong."""


def unusable(place: object, reason: str, help: str) -> AsrcError:
    """E1001, which names the file or device, what is wrong with it and what to do."""
    message = f"cannot use the audio `{printable(str(place))}`: {reason}"
    return AsrcError(diagnostic("E1001", message, help=help))


def library(name: str, package: str) -> Any:
    """An optional module, or AsrcError E1001 with the line that installs it."""
    try:
        return import_module(name)
    except (ImportError, OSError) as error:
        reason = f"the Python package `{name}` does not load ({error})"
        raise unusable(name, reason, f"pip install {package}") from None


def check_rate(place: object, rate: int, what: str = "its sample rate is") -> None:
    """Raises AsrcError E1001 unless `rate` (Hz) is one that audio can have."""
    if not RATES[0] <= rate <= RATES[1]:
        bounds = f"rates go from {RATES[0]} to {RATES[1]} Hz"
        raise unusable(place, f"{what} {rate} Hz", bounds)


def check_samples(place: object, samples: Samples, start: int, rate: int) -> None:
    """Raises AsrcError E1001 for NaN, infinity and samples far beyond full scale.

    `samples` is `[frames]` or `[frames, channels]`; its first frame is number `start` of the audio.
    """
    if samples.size == 0 or np.abs(samples).max() <= LOUDEST:  # a NaN compares as false
        return
    wrong = ~(np.abs(samples) <= LOUDEST)
    first = np.unravel_index(int(wrong.argmax()), samples.shape)
    at, value = (start + int(first[0])) / rate, float(samples[first])
    if np.isfinite(value):
        reason = f"a sample of {value:g} at {at:.3f}s, where 1 is full scale"
        raise unusable(place, reason, "scale the samples to -1..1, or store them as integers")
    reason = f"a sample is {value:g} at {at:.3f}s"
    raise unusable(place, reason, "write the file again, as 16-bit integers for instance")
