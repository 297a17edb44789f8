"""Recognition of whole utterances in batches, to score a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..backends.torch.lowered import Lowered
from ..compiler.diagnostics import AsrcError
from ..runtime.decode import Scorer, Token
from ..runtime.decode.chosen import greedy_decoder
from ..runtime.listener import Listener
from ..runtime.running import Recognises
from ..runtime.transducer import LoweredTransducer, clock_of
from ..runtime.vocabulary import Vocabulary
from .batches import Batching, epoch_batches
from .cache import AudioCache
from .dataset import Dataset, collate
from .manifest import Utterance
from .selection import Skipped


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was said, what was heard, and when (see `Token`)."""

    utterance: Utterance
    text: str
    tokens: tuple[Token, ...]


@torch.no_grad()
def recognise(
    lowered: Lowered,
    vocabulary: Vocabulary,
    utterances: Sequence[Utterance],
    cache: AudioCache,
    *,
    seconds: float = 120.0,
    max_symbols: int = 10,
    device: torch.device | str | None = None,
) -> Iterator[Recognised | Skipped]:
    """Greedy decoding of each utterance as a whole; broken audio is handed on as `Skipped`.

    `lowered` ends in log-probabilities or in logits: the most probable label is the same. Audio
    goes to `device`, without one to the model's.
    """
    model = LoweredTransducer(lowered)
    roles = model.roles
    path = next(p.path for p in lowered.parts["frames"].outputs if p.name == roles.frames[0])
    clock = clock_of(lowered.facts, path)
    dataset = Dataset(_Silent(vocabulary), cache)
    for group in epoch_batches(utterances, Batching(seconds=seconds, jitter=0.0), 0):
        found = [dataset.example(u, 0) for u in group]
        yield from (x for x in found if isinstance(x, Skipped))
        pairs = [(u, x) for u, x in zip(group, found, strict=True) if not isinstance(x, Skipped)]
        if not pairs:
            continue
        batch = collate([x for _, x in pairs]).to(device or lowered.like.device)
        audio = batch.audio.unsqueeze(-1) if batch.audio.ndim == 2 else batch.audio.transpose(1, 2)
        given = {roles.audio: audio, f"{roles.audio}_length": batch.samples}
        values = lowered.parts["frames"](given)
        decoder = greedy_decoder(model, batch=len(pairs), clock=clock, max_symbols=max_symbols)
        lengths = values[f"{roles.frames[0]}_length"]
        decoder.feed({name: values[name] for name in roles.frames}, lengths)
        for (utterance, _), one in zip(pairs, decoder.hypotheses(), strict=True):
            yield Recognised(utterance, vocabulary.decode(one.ids), one.tokens)


class _Silent:
    """A vocabulary that is not asked: recognition needs no labels."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @property
    def size(self) -> int:
        return self.vocabulary.size

    def encode(self, text: str) -> list[int]:
        return []

    def decode(self, ids: Iterable[int]) -> str:
        return self.vocabulary.decode(ids)

    def data(self) -> bytes:
        return self.vocabulary.data()

    def save(self, path: Path | str) -> None:
        self.vocabulary.save(path)


def recognise_as_stream(
    recogniser: Recognises,
    utterances: Sequence[Utterance],
    cache: AudioCache,
    *,
    beam: int = 1,
    scorer: Scorer[Any] | None = None,
) -> Iterator[Recognised | Skipped]:
    """The same as a user hears it: 100 ms at a time, one utterance after the other."""
    listener = Listener(recogniser, beam=beam, scorer=scorer)
    for utterance in utterances:
        try:
            samples = cache.read(utterance)
        except AsrcError as error:
            yield Skipped(utterance.id, "audio cannot be used", error.diagnostics[0].message)
            continue
        listener.restart()
        for start in range(0, samples.shape[-1], recogniser.rate // 10):
            listener.push(samples[..., start : start + recogniser.rate // 10])
        heard = listener.finish()
        yield Recognised(utterance, heard.text, heard.best[0].tokens)
