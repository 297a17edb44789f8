"""A training from its parts: model text, manifests, recipe, a folder for what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import jiwer
import torch

from ..backends.torch.initialise import initialise
from ..backends.torch.lowered import Lowered
from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.facts import Facts
from ..compiler.irtext import print_graph
from ..compiler.protocol import Weights
from ..runtime.recogniser import Recogniser, sample_rate, write_recogniser
from ..runtime.vocabulary import Vocabulary
from .cache import AudioCache
from .journal import open_journals
from .labels import Labels, find_labels
from .manifest import Utterance
from .model import TrainedModel
from .plan import TrainingData, manifests, masks, prepare, set_statistics
from .processes import Processes
from .quantised import begin, first_weights, refuse_quantised
from .recipe import Data, Recipe
from .recognise import Recognised, recognise
from .selection import Skipped
from .skips import SkipFile
from .trainer import Trainer

Build = Callable[[int, Weights | None], tuple[Facts, Weights | None]]
"""The model for a vocabulary of so many labels, its passes run on weights as well."""


@dataclass(frozen=True)
class Job:
    """What to train: `build` makes the graph, `out` is the folder of checkpoints and results.

    `note` is recorded beside the weights: model file, settings, pipeline.
    """

    build: Build
    recipe: Recipe
    train: Path
    dev: Path | None
    out: Path
    note: Mapping[str, Any]
    start: Path | None = None
    tensorboard: bool = False


def train(
    job: Job,
    processes: Processes,
    say: Callable[[str], None],
    show: Callable[[int, dict[str, float]], None],
) -> None:
    """Train to the end, from the newest checkpoint where there is one.

    The folder then has `log.csv`, `checkpoints/`, and `best/`, a recogniser. Raises AsrcError for
    manifests, recipes or models that do not fit, a disk that is full, a training that diverges.
    """
    train_set, dev_set = manifests(job.train, job.dev)
    texts = [utterance.text for utterance in train_set]
    labels = find_labels(job.out, texts, job.recipe.data, processes, say)
    vocabulary = labels.vocabulary
    facts, _ = job.build(vocabulary.size, None)
    torch.manual_seed(job.recipe.seed)
    model = TrainedModel(facts, job.recipe.losses, masks(job.recipe), job.recipe.beginning)
    model.to(processes.device)
    rate = sample_rate(facts, model.roles.audio)
    channels = facts.types[model.roles.audio].size
    period = model.period if job.recipe.losses.ctc > 0 else None
    with labels.named():
        data = prepare(train_set, dev_set, vocabulary, job.recipe, rate, channels, period)
    skips = SkipFile(job.out / "skipped.jsonl", data.skipped)
    trainer = _trainer(job, processes, facts, model, vocabulary, data, show, skips)
    digests = _digests(job, facts, labels, data)
    if trainer.resume(digests, say):
        say(f"resumed at update {trainer.update}")
        skips.resume()
    else:
        _first_values(job, model, vocabulary, data, say)
        trainer = _trainer(job, processes, facts, model, vocabulary, data, show, skips)
    for line in data.reports:
        say(line)
    journals = trainer.journals
    if processes.first:
        journals += open_journals(job.out, trainer.update, job.tensorboard, trainer.due)
    try:
        labels.keep(processes)  # what could fail before the first update has not
        trainer.run(digests[0])
        found = trainer.skipped()
    finally:
        for journal in journals:
            journal.close()
        if data.loader.report:
            say(data.loader.report)
    if processes.first and skips.write(found):
        say(f"what was skipped, and why: {skips.path}")


def _first_values(
    job: Job,
    model: TrainedModel,
    vocabulary: Vocabulary,
    data: TrainingData,
    say: Callable[[str], None],
) -> None:
    initialise(model.lowered, job.recipe.seed)
    if job.start is not None:
        given = first_weights(job.start, model.lowered, partial(job.build, vocabulary.size))
        begin(model.lowered, given, vocabulary, data, str(job.start), say)
        return
    refuse_quantised(model.lowered)
    set_statistics(model.lowered, data.train, data.rate, say)


_NO_NUMBER = ("cache", "workers")
"""Fields of `Data` that change how fast a training is, but not what comes out."""


def _digests(job: Job, facts: Facts, labels: Labels, data: TrainingData) -> tuple[str, ...]:
    """What a checkpoint must have in common with the run that goes on from it.

    The first is written; the others are those of older checkpoints, which had `_NO_NUMBER` as well:
    as the recipe has them now, and as they are where no recipe sets them.
    """
    record = {**job.recipe.record(), "pace": None}
    numbers = {n: v for n, v in record["data"].items() if n not in _NO_NUMBER}
    usual = {n: getattr(Data(), n) for n in _NO_NUMBER}
    tables = (numbers, record["data"], {**numbers, **usual})
    return tuple(_digest({**record, "data": table}, facts, labels, data) for table in tables)


def _digest(record: Mapping[str, Any], facts: Facts, labels: Labels, data: TrainingData) -> str:
    found = blake2b(digest_size=16)
    found.update(json.dumps(record, sort_keys=True).encode())
    found.update(print_graph(facts.graph, facts.types).encode())
    found.update(labels.data)
    for utterance in data.train:
        found.update(f"{utterance.id}\t{utterance.text}\t{utterance.duration}\n".encode())
    return found.hexdigest()


def _trainer(
    job: Job,
    processes: Processes,
    facts: Facts,
    model: TrainedModel,
    vocabulary: Vocabulary,
    data: TrainingData,
    show: Callable[[int, dict[str, float]], None],
    skips: SkipFile,
) -> Trainer:
    cache = AudioCache(data.rate, 512 * 2**20, data.loader.dataset.audio.channels)

    def validate() -> dict[str, float]:
        return word_errors(model.lowered, vocabulary, data.dev, cache, processes.device)

    def best() -> None:
        if trainer.best_score is not None:
            _write_best(job, facts, model, vocabulary, trainer)

    trainer = Trainer(
        model,
        job.recipe,
        data,
        processes,
        job.out / "checkpoints",
        validate,
        best,
        [],
        show,
        skips.write,
    )
    return trainer


def word_errors(
    lowered: Lowered,
    vocabulary: Vocabulary,
    utterances: tuple[Utterance, ...],
    cache: AudioCache,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """The word error rate in percent. Raises AsrcError E1005 where nothing can be scored."""
    found = list(recognise(lowered, vocabulary, utterances, cache, device=device))
    heard = [r for r in found if isinstance(r, Recognised)]
    if not heard:
        message = f"nothing can be scored: {len(utterances)} utterances, none with usable audio"
        raise AsrcError(diagnostic("E1005", message, help="is it the right manifest?"))
    scored = jiwer.process_words([r.utterance.text for r in heard], [r.text for r in heard])
    skipped = sum(isinstance(r, Skipped) for r in found)
    return {"score": 100 * scored.wer, "wer": 100 * scored.wer, "skipped": skipped}


def _write_best(
    job: Job, facts: Facts, model: TrainedModel, vocabulary: Vocabulary, trainer: Trainer
) -> None:
    """The recogniser with the present weights, for `asrc eval` and `asrc transcribe`."""
    whole = Lowered(facts)
    tensors = model.lowered.tensors()
    with torch.no_grad():
        for name, x in whole.tensors().items():
            x.copy_(tensors[name])
    card = {
        **job.note,
        "recipe": job.recipe.record(),
        "update": trainer.update,
        "dev_wer": trainer.best_score,
    }
    write_recogniser(job.out / "best", Recogniser(whole, vocabulary, card))
