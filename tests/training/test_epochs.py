"""An epoch with nothing usable ends a run, but not the rest of one behind a checkpoint."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asrc.compiler.diagnostics import AsrcError
from asrc.tests.training.tiny import corpus, job
from asrc.training.batches import Batching, Position, epoch_batches
from asrc.training.checkpoint import latest, listed
from asrc.training.epochs import EpochCount
from asrc.training.job import train
from asrc.training.manifest import Utterance, read_manifest, write_manifest
from asrc.training.processes import Processes

Seen = list[tuple[int, int, int]]
"""Epoch, batch, and how many utterances of it were of use."""


def ends_in_vain(seen: Seen) -> list[bool]:
    count, found = EpochCount(), []
    for epoch, batch, usable in seen:
        found.append(count.enter(Position(epoch, batch)))
        count.usable += usable
    return found


@pytest.mark.parametrize(
    ("seen", "last"),
    [
        ([(0, 0, 0), (0, 1, 0), (1, 0, 0)], True),
        ([(0, 0, 1), (0, 1, 0), (1, 0, 0)], False),
        ([(0, 1, 0), (1, 0, 0)], False),  # the rest of an epoch
        ([(0, 1, 0), (1, 0, 0), (2, 0, 0)], True),
        ([(0, 0, 1), (1, 0, 0), (2, 0, 0)], True),
        ([(0, 0, 0), (0, 0, 0)], False),  # the easy utterances were over before their epoch
        ([(3, 0, 0), (0, 0, 0)], False),
    ],
)
def test_only_whole_epochs_count(seen: Seen, last: bool) -> None:
    assert ends_in_vain(seen) == [False] * (len(seen) - 1) + [last]


def test_an_epoch_of_broken_files_ends_the_run(tmp_path: Path) -> None:
    """The easy ones are all broken, and there are more updates with them than an epoch has."""
    manifest = corpus(tmp_path / "data")
    utterances = read_manifest(manifest)
    for one in utterances[:3]:
        one.audio.write_bytes(b"no audio")
    easy = [replace(u, extra={"easy": n < 3}) for n, u in enumerate(utterances)]
    write_manifest(manifest, easy)
    task = job(manifest, tmp_path / "out", beginning={"easy": 9})
    with pytest.raises(AsrcError, match=r"E1005.*3 audio cannot be used") as caught:
        train(task, Processes(), lambda line: None, lambda update, numbers: None)
    assert "cannot be decoded" in caught.value.diagnostics[0].help[0]


def last_alone(utterances: list[Utterance], one: Utterance) -> tuple[int, int]:
    """A seed with which `one` is the last batch of epoch 0, and the number of batches."""
    for seed in range(1000):
        batches = epoch_batches([*utterances, one], Batching(6.0, seed=seed), 0)
        if batches[-1] == (one,):
            return seed, len(batches)
    raise AssertionError("no such seed")


def test_a_run_goes_on_where_the_rest_of_an_epoch_is_broken(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    utterances = read_manifest(manifest)
    broken = Utterance("broken", tmp_path / "data/broken.wav", "low", 5.5)
    broken.audio.write_bytes(b"no audio")
    write_manifest(manifest, [*utterances, broken])
    seed, count = last_alone(utterances, broken)

    def run(out: Path) -> dict[str, torch.Tensor]:
        pace = {"save": 1, "validate": 100, "keep": 100}
        plain = {"speeds": [1.0]}
        task = job(manifest, out, updates=count + 2, seed=seed, pace=pace, augmentation=plain)
        train(task, Processes(), lambda line: None, lambda update, numbers: None)
        found = latest(out / "checkpoints")
        assert found is not None
        return dict(found.tensors["weights"])

    whole = run(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for path in listed(tmp_path / "cut/checkpoints")[count - 1 :]:
        shutil.rmtree(path)
    again = run(tmp_path / "cut")
    assert all(torch.equal(x, again[name]) for name, x in whole.items())
