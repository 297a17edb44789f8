"""SpecAugment: bands of frequencies and stretches of time of the features are hidden.

Park et al. 2019, section 2, without time warping, which their section 5 finds no major factor; time
masks that grow with the utterance are the adaptive size of Park et al. 2020. Before it, features
can be warped along frequency, as by a vocal tract of another length (Jaitly and Hinton 2013), and
coloured as by another microphone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..compiler.diagnostics import AsrcError, diagnostic
from .randomness import generator


@dataclass(frozen=True, slots=True)
class SpecAugment:
    """How much is hidden of an utterance.

    `bands` masks of 0 to `widest` channels, and `stretches` masks of 0 to `longest` frames, each at
    most `portion` of the frames there are. Frequencies are stretched by at most `warp`, and a
    smooth curve over them is added whose slowest part has at most the height `colour`.
    """

    bands: int = 2
    widest: int = 27
    stretches: int = 2
    longest: int = 100
    portion: float = 0.2
    warp: float = 0.0
    colour: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (self.bands, self.widest, self.stretches, self.longest, self.seed)
        if (
            min(counts) < 0
            or self.colour < 0
            or not (0 <= self.portion <= 1 and 0 <= self.warp < 1)
        ):
            help = "counts and a colour of 0 or more, a portion from 0 to 1, a warp below 1"
            raise AsrcError(diagnostic("E1008", f"no masks with {self}", help=help))


def spec_augment(
    features: torch.Tensor,
    frames: torch.Tensor,
    ids: Sequence[str],
    epoch: int,
    options: SpecAugment,
    fill: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """Features `[batch, time, channels]` with masks; `frames` `[batch]` says how many are valid.

    `fill` takes the place of what is hidden: the mean, which is 0 after cmvn, or `[channels]`.
    Frames behind the last valid one stay as they are. The masks of an utterance follow from seed,
    epoch and id, whatever else is in the batch.
    """
    if not ids:
        return features
    time, channels = features.shape[1:]
    drawn = [
        _draw(id, count, channels, epoch, options)
        for id, count in zip(ids, frames.tolist(), strict=True)
    ]
    bands = _covered([band for band, _ in drawn], channels, features.device)
    stretches = _covered([stretch for _, stretch in drawn], time, features.device)
    valid = torch.arange(time, device=features.device) < frames.to(features.device)[:, None]
    hidden = (bands[:, None, :] | stretches[:, :, None]) & valid[:, :, None]
    if options.warp or options.colour:
        features = torch.where(valid[:, :, None], varied(features, ids, epoch, options), features)
    filler = torch.as_tensor(fill, dtype=features.dtype, device=features.device)
    return torch.where(hidden, filler, features)


def spec_augment_alike(
    features: torch.Tensor,
    frames: torch.Tensor,
    ids: Sequence[str],
    epoch: int,
    options: SpecAugment,
) -> torch.Tensor:
    """The same for several microphones, `[batch, time, microphones, channels]`: alike in each."""
    count = features.shape[2]
    rows = features.transpose(1, 2).flatten(0, 1)
    names = [id for id in ids for _ in range(count)]
    hidden = spec_augment(rows, frames.repeat_interleave(count), names, epoch, options)
    return hidden.reshape(len(features), count, *hidden.shape[1:]).transpose(1, 2)


def varied(
    features: torch.Tensor, ids: Sequence[str], epoch: int, options: SpecAugment
) -> torch.Tensor:
    """Features as of other speakers behind other microphones, each utterance as of one."""
    channels = features.shape[2]
    chances = [generator(options.seed, epoch, id, "voice") for id in ids]
    stretch = np.stack([1 + options.warp * c.uniform(-1, 1) for c in chances])
    places = np.minimum(np.arange(channels) * stretch[:, None], channels - 1.0)
    heights = np.stack([c.uniform(-1, 1, len(_WAVES)) / _WAVES for c in chances])
    waves = np.cos(np.pi * _WAVES[:, None] * (np.arange(channels) + 0.5) / channels)
    low = torch.from_numpy(places.astype(np.int64)).to(features.device)
    part = torch.from_numpy(places % 1).to(features)[:, None, :]
    curve = torch.from_numpy(options.colour * heights @ waves).to(features)[:, None, :]
    return torch.lerp(_at(features, low), _at(features, low + 1), part) + curve


_WAVES = np.arange(1.0, 4.0)
"""Half periods of the waves of a curve over all frequencies."""


def _at(features: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    """`[batch, time, channels]` at other channels, `[batch, channels]`."""
    within = channels.clamp(max=features.shape[2] - 1)[:, None, :]
    return features.gather(2, within.expand(features.shape))


def _draw(
    id: str, frames: int, channels: int, epoch: int, options: SpecAugment
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The masks of an utterance as [start, end): of channels `[bands, 2]`, of frames alike."""
    bands = generator(options.seed, epoch, id, "bands")
    stretches = generator(options.seed, epoch, id, "stretches")
    longest = min(options.longest, int(options.portion * frames))
    return (
        _ranges(bands, options.bands, min(options.widest, channels), channels),
        _ranges(stretches, options.stretches, longest, frames),
    )


def _ranges(chance: np.random.Generator, count: int, longest: int, size: int) -> NDArray[np.int64]:
    """`count` ranges within `size`, of lengths from 0 to `longest`, each length as likely."""
    lengths = chance.integers(0, longest, size=count, endpoint=True)
    starts = chance.integers(0, size - lengths, endpoint=True)
    return np.stack([starts, starts + lengths], axis=1)


def _covered(ranges: Sequence[NDArray[np.int64]], size: int, device: torch.device) -> torch.Tensor:
    """`[batch, size]`: which positions lie in a range."""
    bounds = torch.from_numpy(np.stack(ranges)).to(device)
    at = torch.arange(size, device=device)
    return ((at >= bounds[:, :, :1]) & (at < bounds[:, :, 1:])).any(dim=1)
