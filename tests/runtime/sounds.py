"""Small sounds, and files of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000


def tone(
    seconds: float = 0.5, rate: int = RATE, pitch: float = 440.0, level: float = 0.5
) -> NDArray[np.float32]:
    """A sine, which no resampling below its Nyquist frequency changes."""
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


def write(path: Path, samples: NDArray[np.floating], rate: int = RATE, **options: str) -> Path:
    """`samples` as `[frames]` or `[frames, channels]`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path
