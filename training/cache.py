"""Decoded audio kept in memory, so that later epochs do not decode it again."""

from __future__ import annotations

from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ..compiler.diagnostics import AsrcError, diagnostic
from ..runtime.audio import read_audio
from ..runtime.samples import Samples, unusable
from .manifest import Utterance

_FULL_SCALE = 2.0**15

_TOLERATED = 0.25
"""Seconds by which a file may be shorter than its manifest says: encoders pad and round."""


class AudioCache:
    """Audio of utterances at one rate, up to `limit` bytes of it; what comes later is not kept.

    Audio is rounded to 16 bits whether it is kept or not, so that a limit, or a resumed run that
    starts with an empty cache, changes no sample. An hour at 16 kHz takes 110 MiB. May be used by
    several threads.
    """

    def __init__(self, rate: int, limit: int = 0, channels: int = 1) -> None:
        self.rate = rate
        self.channels = channels
        self._left = limit
        self._kept: dict[str, NDArray[np.int16]] = {}
        self._lock = Lock()

    def read(self, utterance: Utterance) -> Samples:
        """`[samples]` or `[channels, samples]` of an utterance.

        Raises AsrcError E1001 where the file is broken or ends well before the utterance does, and
        E1002 where the utterance takes no time.
        """
        kept = self._kept.get(utterance.id)
        if kept is None:
            kept = _rounded(self._decode(utterance))
            self._keep(utterance.id, kept)
        return kept.astype(np.float32) / np.float32(_FULL_SCALE)

    def _decode(self, utterance: Utterance) -> Samples:
        start, seconds = utterance.offset, utterance.duration
        if seconds <= 0:
            raise _no_duration(utterance)
        samples = read_audio(
            utterance.audio, self.rate, start=start, seconds=seconds, channels=self.channels
        )
        there = samples.shape[-1] / self.rate
        if there < seconds - _TOLERATED:
            reason = f"it has {there:.2f}s from {start:g}s on, the manifest says {seconds:.2f}s"
            raise unusable(utterance.audio, reason, "is the file whole? else correct the manifest")
        return samples

    def _keep(self, id: str, samples: NDArray[np.int16]) -> None:
        with self._lock:
            if id not in self._kept and samples.nbytes <= self._left:
                self._kept[id] = samples
                self._left -= samples.nbytes


def _no_duration(utterance: Utterance) -> AsrcError:
    message = f"the manifest's `duration` of `{utterance.id}` is {utterance.duration:g}s"
    help = "more than 0s; without `duration` it is measured: then `offset` is behind the end"
    return AsrcError(diagnostic("E1002", message, help=help))


def _rounded(samples: Samples) -> NDArray[np.int16]:
    scaled = np.rint(samples * np.float32(_FULL_SCALE))
    rounded: NDArray[np.int16] = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    return rounded
