"""From utterances to the tensors of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..compiler.diagnostics import AsrcError
from ..runtime.samples import Samples
from ..runtime.vocabulary import Vocabulary
from .cache import AudioCache
from .manifest import Utterance
from .perturb import Perturber
from .selection import NO_LABEL, Skipped


@dataclass(frozen=True, slots=True)
class Example:
    """An utterance that is ready for training: samples `[samples]` or `[channels, samples]`."""

    id: str
    samples: Samples
    labels: list[int]


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded examples; padding is 0 and not to be read.

    audio    float32 [batch, samples], or [batch, channels, samples]
    samples  int64 [batch], how many samples are valid
    targets  int64 [batch, labels]
    labels   int64 [batch], how many labels are valid
    ids      of the utterances

    A batch without examples has size 0 everywhere.
    """

    audio: torch.Tensor
    samples: torch.Tensor
    targets: torch.Tensor
    labels: torch.Tensor
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device; from pinned memory without waiting for the copy."""
        return Batch(
            self.audio.to(device, non_blocking=True),
            self.samples.to(device, non_blocking=True),
            self.targets.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            self.ids,
        )


class Dataset:
    """Makes examples: audio from the cache, perturbed, text as labels."""

    def __init__(
        self, vocabulary: Vocabulary, audio: AudioCache, perturber: Perturber | None = None
    ) -> None:
        if perturber is not None and perturber.rate != audio.rate:
            raise ValueError(f"perturbation at {perturber.rate} Hz of audio at {audio.rate} Hz")
        self.vocabulary = vocabulary
        self.audio = audio
        self.perturber = perturber

    def example(self, utterance: Utterance, epoch: int) -> Example | Skipped:
        """One example, the same for the same utterance and epoch.

        Skipped where the audio is broken or the text has no labels. Raises AsrcError E1001 where
        a file of noise or of a room cannot be used: that is no fault of the utterance.
        """
        try:
            labels = self.vocabulary.encode(utterance.text)
            samples = self.audio.read(utterance)
        except AsrcError as error:
            found = error.diagnostics[0]
            return Skipped(utterance.id, _REASONS[found.code], found.message)
        if self.perturber is not None:
            samples = self.perturber(samples, utterance.id, epoch)
        return Example(utterance.id, samples, labels)


_REASONS = {"E1001": "audio cannot be used", "E1002": "too short", "E1004": NO_LABEL}


def collate(examples: Sequence[Example]) -> Batch:
    """A padded batch in the order of the examples."""
    samples = torch.tensor([example.samples.shape[-1] for example in examples], dtype=torch.int64)
    labels = torch.tensor([len(example.labels) for example in examples], dtype=torch.int64)
    return Batch(
        audio=_padded([example.samples for example in examples], torch.float32),
        samples=samples,
        targets=_padded([np.array(example.labels, np.int64) for example in examples], torch.int64),
        labels=labels,
        ids=tuple(example.id for example in examples),
    )


def _padded(arrays: Sequence[NDArray[Any]], dtype: torch.dtype) -> torch.Tensor:
    """`[batch, ..., longest]`: arrays side by side, 0 behind the shorter ones."""
    longest = max((array.shape[-1] for array in arrays), default=0)
    leading = arrays[0].shape[:-1] if arrays else ()
    padded = torch.zeros((len(arrays), *leading, longest), dtype=dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[..., : array.shape[-1]] = torch.from_numpy(array)
    return padded
