"""The log-mel front end.

Frame `i` is the samples `[i * hop, i * hop + window)`, times a periodic Hann window, zero-padded
to a power of two; the power spectrum goes through triangles of peak one, evenly spaced on the mel
scale of HTK (2595 log10(1 + f / 700)) and linear in mel; the natural logarithm has a floor.
"""

from __future__ import annotations

from typing import Final, cast

import numpy as np

from ..types import Stream
from ..units import Quantity
from .call import Call, Rule
from .value import Array, Value

FLOOR: Final = 1e-10
"""The least energy of a band, before the logarithm."""


def _mel(hertz: Array | float) -> Array:
    return np.asarray(2595 * np.log10(1 + np.asarray(hertz) / 700))


def mel_bank(bins: int, size: int, rate: float, low: float, high: float) -> Array:
    """Triangles `[bins, size // 2 + 1]` over the lines of a Fourier transform of `size` samples.

    `low` and `high` are in Hz; a `high` of zero is half the sampling rate.
    """
    lines = _mel(np.arange(size // 2 + 1) * rate / size)
    corners = np.linspace(_mel(low), _mel(high or rate / 2), bins + 2)
    left, centre, right = (corners[k : k + bins, None] for k in range(3))
    rising, falling = (lines - left) / (centre - left), (right - lines) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling))


def _logmel(call: Call) -> Value:
    """`[samples, *channels]` to `[frames, *channels, bins]`; a frame needs all its samples."""
    period = cast(Stream, call.kind.clock).period
    hop, window = (
        int(cast(Quantity, call.node.attrs[n]).value / period) for n in ("hop", "window")
    )
    frames = max(0, (len(call.x.present) - window) // hop + 1)
    samples = hop * np.arange(frames)[:, None] + np.arange(window)
    audio = np.moveaxis(call.x.data[samples], 1, -1)
    energy = _power(audio, window) @ _bank(call, window, float(1 / period)).T
    data = np.log(np.maximum(energy, FLOOR))
    return Value(data.reshape(frames, *call.out.dims), call.x.present[samples].all(-1))


def _power(audio: Array, window: int) -> Array:
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    return np.asarray(np.abs(np.fft.rfft(audio * hann, _transform_size(window))) ** 2)


def _bank(call: Call, window: int, rate: float) -> Array:
    low = float(cast(Quantity, call.node.attrs["low"]).value)
    top = call.node.attrs["high"]
    high = float(top.value) if isinstance(top, Quantity) else 0.0
    return mel_bank(call.count("bins"), _transform_size(window), rate, low, high)


def _transform_size(window: int) -> int:
    return 1 << (window - 1).bit_length()


RULES: dict[str, Rule] = {"logmel": _logmel}
