"""Changes to training audio, drawn by utterance and epoch: speed, room, noise and level."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..compiler.diagnostics import AsrcError, diagnostic
from ..runtime.audio import audio_info, read_audio
from ..runtime.samples import Samples
from .acoustics import add_noise, change_gain, change_speed, reverberate, within_full_scale
from .manifest import Utterance
from .randomness import generator, uniform


@dataclass(frozen=True, slots=True)
class Perturbation:
    """What may happen to an utterance, in this order; nothing by default.

    speeds       factors, each as likely; Ko et al. 2015 use 0.9, 1.0 and 1.1
    rooms        files of room impulse responses; one is applied with odds `room_odds`
    noises       files of noise; a stretch of one is added with odds `noise_odds`, at a ratio of
                 speech to noise within `snr` (dB)
    gain         the level changes within these bounds (dB)
    """

    speeds: tuple[float, ...] = (1.0,)
    rooms: tuple[Path, ...] = ()
    room_odds: float = 0.5
    noises: tuple[Path, ...] = ()
    noise_odds: float = 0.5
    snr: tuple[float, float] = (5.0, 20.0)
    gain: tuple[float, float] = (0.0, 0.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.speeds or not all(0.5 <= speed <= 2 for speed in self.speeds):
            raise _impossible(f"speeds of {self.speeds}", "factors from 0.5 to 2, such as 0.9")
        if not (0 <= self.room_odds <= 1 and 0 <= self.noise_odds <= 1):
            raise _impossible("odds outside of 0 to 1", "0 is never, 1 always")
        for name, bounds in (("snr", self.snr), ("gain", self.gain)):
            if not -100 <= bounds[0] <= bounds[1] <= 100:
                raise _impossible(f"`{name}` of {bounds}", "lowest and highest, in dB")
        if self.seed < 0:
            raise _impossible(f"a seed of {self.seed}", "0 or more")


class Perturber:
    """Applies a `Perturbation` at a sample rate; the same for the same seed, epoch and id.

    Raises AsrcError E1001 at once where a file of noise or of a room has no readable header.
    """

    def __init__(self, options: Perturbation, rate: int) -> None:
        self.options = options
        self.rate = rate
        self._noises = [(path, audio_info(path).seconds) for path in options.noises]
        for path in options.rooms:
            audio_info(path)

    def seconds(self, utterance: Utterance, epoch: int) -> float:
        """How long an utterance is after the change of speed; a `Length` for batching."""
        return utterance.duration / self.speed(utterance.id, epoch)

    def speed(self, utterance: str, epoch: int) -> float:
        speeds = self.options.speeds
        return speeds[int(uniform(self.options.seed, epoch, utterance, "speed") * len(speeds))]

    def __call__(self, samples: Samples, utterance: str, epoch: int) -> Samples:
        """The samples of an utterance, `[samples]` or `[channels, samples]`, changed."""
        chance = partial(generator, self.options.seed, epoch, utterance)
        samples = change_speed(samples, self.speed(utterance, epoch))
        samples = self._in_a_room(samples, chance("room"))
        samples = self._with_noise(samples, chance("noise"))
        level = float(chance("gain").uniform(*self.options.gain))
        return within_full_scale(change_gain(samples, level) if level else samples)

    def _in_a_room(self, samples: Samples, chance: np.random.Generator) -> Samples:
        rooms = self.options.rooms
        if not rooms or chance.random() >= self.options.room_odds:
            return samples
        return reverberate(samples, read_audio(rooms[chance.integers(len(rooms))], self.rate))

    def _with_noise(self, samples: Samples, chance: np.random.Generator) -> Samples:
        if not self._noises or chance.random() >= self.options.noise_odds:
            return samples
        path, length = self._noises[chance.integers(len(self._noises))]
        count = samples.shape[-1]
        start = chance.random() * max(0.0, length - count / self.rate)
        noise = read_audio(path, self.rate, start=start, seconds=count / self.rate)
        # A stretch of noise that is too short is repeated.
        return add_noise(samples, np.resize(noise, count), float(chance.uniform(*self.options.snr)))


def _impossible(what: str, help: str) -> AsrcError:
    return AsrcError(diagnostic("E1008", f"perturbation with {what}", help=help))
