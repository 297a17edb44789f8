"""From utterances to batches in the background: padding, caching, skipping, errors."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asrc.compiler.diagnostics import AsrcError
from asrc.tests.runtime.sounds import RATE, tone, write
from asrc.tests.training.speech import dataset, recorded
from asrc.training.batches import Batching, Position, epoch_batches
from asrc.training.cache import AudioCache
from asrc.training.dataset import Batch, Example, collate
from asrc.training.loading import Loader
from asrc.training.manifest import Utterance
from asrc.training.perturb import Perturbation, Perturber
from asrc.training.selection import Skipped

Batches = list[tuple[Position, tuple[Utterance, ...]]]


def plan(utterances: list[Utterance], epochs: int = 1) -> Batches:
    return [
        (Position(epoch, number), batch)
        for epoch in range(epochs)
        for number, batch in enumerate(epoch_batches(utterances, Batching(1.0), epoch))
    ]


# --- examples and batches --------------------------------------------------------------------


def test_a_batch() -> None:
    batch = collate([Example("a", tone(0.1), [3, 1]), Example("b", tone(0.2), [2])])
    assert batch.ids == ("a", "b")
    assert (batch.audio.dtype, tuple(batch.audio.shape)) == (torch.float32, (2, 3_200))
    assert np.array_equal(batch.audio[0, :1_600], tone(0.1))
    assert batch.audio[0, 1_600:].eq(0).all()
    assert (batch.samples.dtype, batch.samples.tolist()) == (torch.int64, [1_600, 3_200])
    assert (batch.targets.dtype, batch.targets.tolist()) == (torch.int64, [[3, 1], [2, 0]])
    assert (batch.labels.dtype, batch.labels.tolist()) == (torch.int64, [2, 1])
    assert batch.to("cpu").ids == batch.ids


def test_several_channels_and_no_examples() -> None:
    batch = collate([Example("a", np.stack([tone(), -tone()]), [1])])
    assert batch.audio.shape == (1, 2, 8_000)
    empty = collate([])
    assert len(empty) == 0
    assert empty.audio.shape == empty.targets.shape == (0, 0)
    assert empty.samples.shape == empty.labels.shape == (0,)


def test_labels_and_samples_of_an_example(tmp_path: Path) -> None:
    (one,) = recorded(tmp_path, 1)
    part = replace(one, offset=0.05, duration=0.1, text="no yes")
    data = dataset()
    example = data.example(part, 0)
    assert isinstance(example, Example)
    assert data.vocabulary.decode(example.labels) == "no yes"
    whole = data.example(one, 0)
    assert isinstance(whole, Example)
    assert np.array_equal(example.samples, whole.samples[800:2_400])


def test_broken_utterances_are_skipped(tmp_path: Path) -> None:
    (one,) = recorded(tmp_path, 1)
    (tmp_path / "text.wav").write_text("this is text")
    for broken, reason, detail in [
        (replace(one, audio=tmp_path / "text.wav"), "audio cannot be used", "cannot be decoded"),
        (replace(one, audio=tmp_path / "gone.wav"), "audio cannot be used", "no such file"),
        (replace(one, duration=9.0), "audio cannot be used", "the manifest says 9.00s"),
        (replace(one, duration=0.0), "too short", f"manifest's `duration` of `{one.id}` is 0s"),
        (replace(one, text="oui"), "not in the vocabulary", "characters `u`, `i`"),
    ]:
        found = dataset().example(broken, 0)
        assert isinstance(found, Skipped)
        assert (found.id, found.reason) == (one.id, reason)
        assert detail in found.detail


# --- cache -----------------------------------------------------------------------------------


def test_the_cache_changes_no_sample(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.1), subtype="FLOAT")
    one = Utterance("a", path, "", 0.1)
    kept, plain = AudioCache(RATE, limit=10_000), AudioCache(RATE)
    first = kept.read(one)
    assert np.abs(first - tone(0.1)).max() <= 2**-16
    assert np.array_equal(first, plain.read(one))
    path.unlink()
    assert np.array_equal(first, kept.read(one))
    with pytest.raises(AsrcError, match="no such file"):
        plain.read(one)


def test_the_cache_has_a_limit(tmp_path: Path) -> None:
    utterances = recorded(tmp_path, 3)
    cache = AudioCache(RATE, limit=2 * 16 * 250)  # only the first, of 0.2 s, fits
    for one in utterances:
        cache.read(one)
        one.audio.unlink()
    cache.read(utterances[0])
    for one in utterances[1:]:
        with pytest.raises(AsrcError, match="no such file"):
            cache.read(one)


# --- loading ---------------------------------------------------------------------------------


def same(one: Batch, other: Batch) -> bool:
    return one.ids == other.ids and all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("audio", "samples", "targets", "labels")
    )


@pytest.mark.parametrize(("workers", "ahead"), [(1, 0), (3, 1), (4, 9)])
def test_workers_change_nothing(tmp_path: Path, workers: int, ahead: int) -> None:
    utterances = recorded(tmp_path)
    perturber = Perturber(Perturbation(speeds=(0.9, 1.1), gain=(-9, 0)), RATE)
    data = dataset(perturber, limit=30_000)
    wanted = [
        (position, collate([data.example(u, position.epoch) for u in batch]))
        for position, batch in plan(utterances, epochs=2)
    ]
    found = list(Loader(data, workers, ahead).load(plan(utterances, epochs=2)))
    assert [position for position, _ in found] == [position for position, _ in wanted]
    assert all(same(a, b) for (_, a), (_, b) in zip(found, wanted, strict=True))
    assert len({batch.audio.sum().item() for _, batch in found}) == len(found)


def test_broken_files_cost_no_more_than_themselves(tmp_path: Path) -> None:
    utterances = recorded(tmp_path)
    utterances[2].audio.write_bytes(b"RIFF")
    utterances[4] = replace(utterances[4], text="?")
    loader = Loader(dataset(), workers=2)
    found = [id for _, batch in loader.load(plan(utterances, epochs=3)) for id in batch.ids]
    assert sorted(found) == sorted(["u0", "u1", "u3", "u5"] * 3)
    assert {id: skip.reason for id, skip in loader.skipped.items()} == {
        "u2": "audio cannot be used",
        "u4": "not in the vocabulary",
    }
    assert loader.report == "skipped: 1 audio cannot be used, 1 not in the vocabulary"


class Careless:
    """A dataset with a mistake that is not the user's."""

    def example(self, utterance: Utterance, epoch: int) -> Example:
        raise KeyError("pitch")


def test_errors_arrive_with_the_utterance(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(AsrcError, match=r"the utterance `u.` cannot be .* KeyError") as caught:
        list(Loader(Careless(), workers=3).load(plan(recorded(tmp_path))))
    assert isinstance(caught.value.__cause__, KeyError)
    assert threading.active_count() == before


def test_noise_that_breaks_is_no_fault_of_the_utterance(tmp_path: Path) -> None:
    noise = write(tmp_path / "noise.wav", tone())
    perturber = Perturber(Perturbation(noises=(noise,), noise_odds=1), RATE)
    noise.write_bytes(b"RIFF")
    with pytest.raises(AsrcError, match=r"the utterance `u.` .*noise\.wav"):
        list(Loader(dataset(perturber)).load(plan(recorded(tmp_path))))


def test_stopping_early_leaves_no_threads(tmp_path: Path) -> None:
    before = threading.active_count()
    batches = Loader(dataset(), workers=3).load(plan(recorded(tmp_path), epochs=9))
    next(batches)
    batches.close()
    assert threading.active_count() == before
