"""Utterances that no loss can learn from are left out of it, counted, and written down."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asrc.backends.torch.initialise import initialise
from asrc.tests.training.tiny import build, corpus, job
from asrc.training.dataset import Batch
from asrc.training.job import Job, train
from asrc.training.manifest import read_manifest, write_manifest
from asrc.training.model import TrainedModel
from asrc.training.processes import Processes
from asrc.training.recipe import Losses

CROWDED = "more labels than frames"
PRUNED = "more labels than the pruned loss takes"


def batch(samples: list[int], labels: int = 5) -> Batch:
    """Of so many samples each; all but the first have `labels` labels, no two neighbours alike."""
    source = torch.Generator().manual_seed(0)
    audio = 0.1 * torch.randn(len(samples), 4000, generator=source)
    targets = torch.tensor([[1, 2, 3, 1, 2]] * len(samples))
    counts = torch.tensor([1] + [labels] * (len(samples) - 1))
    return Batch(audio, torch.tensor(samples), targets, counts, tuple("abc"[: len(samples)]))


def first(whole: Batch) -> Batch:
    tensors = (whole.audio, whole.samples, whole.targets, whole.labels)
    return Batch(*(x[:1] for x in tensors), whole.ids[:1])


@pytest.mark.parametrize(
    ("losses", "samples", "reason"),
    [
        (Losses(ctc=0.0), 100, "too short"),
        (Losses(ctc=0.5), 1000, CROWDED),
        (Losses(ctc=0.0, pruned=2), 1000, PRUNED),
        (Losses(ctc=0.5, pruned=2), 1000, CROWDED),
    ],
)
def test_the_others_of_a_batch_train_as_if_alone(losses: Losses, samples: int, reason: str) -> None:
    trained = TrainedModel(build(4), losses, None)
    initialise(trained.lowered, seed=1)
    trained.eval()
    found = []
    for given in (batch([4000, samples, samples]), first(batch([4000, samples, samples]))):
        trained.zero_grad(set_to_none=True)
        parts = trained(given)
        (parts.transducer + parts.ctc).backward()
        grads = {n: p.grad.clone() for n, p in trained.named_parameters() if p.grad is not None}
        found.append((parts, grads))
    (both, of_both), (alone, of_one) = found
    assert [(skip.id, skip.reason) for skip in both.skipped] == [("b", reason), ("c", reason)]
    assert not alone.skipped
    assert (both.utterances, both.labels) == (alone.utterances, alone.labels) == (1, 1)
    assert both.transducer.item() == pytest.approx(alone.transducer.item(), rel=1e-5)
    assert both.ctc.item() == pytest.approx(alone.ctc.item(), rel=1e-5)
    for name, gradient in of_one.items():
        torch.testing.assert_close(of_both[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_what_only_fills_a_batch_is_not_told() -> None:
    trained = TrainedModel(build(4), Losses(), None)
    parts = trained(batch([4000, 0]))
    assert (parts.utterances, parts.skipped) == (1, ())


# --- in a training -------------------------------------------------------------------------------


def run(task: Job) -> list[str]:
    said: list[str] = []
    train(task, Processes(), said.append, lambda update, numbers: None)
    return said


def skipped(out: Path) -> list[dict[str, str]]:
    lines = (out / "skipped.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def column(out: Path, name: str) -> list[float]:
    rows = csv.DictReader((out / "log.csv").read_text().splitlines())
    return [float(row["value"]) for row in rows if row["name"] == name]


def crowded(folder: Path, words: int) -> Path:
    """A manifest whose first utterance says more words than 0.35 s can hold."""
    manifest = corpus(folder)
    utterances = read_manifest(manifest)
    text = " ".join(["low", "high"] * (words // 2))
    write_manifest(manifest, [replace(utterances[0], text=text), *utterances[1:]])
    return manifest


def test_ctc_says_before_training_what_it_cannot_align(tmp_path: Path) -> None:
    manifest = crowded(tmp_path / "data", 60)
    said = run(job(manifest, tmp_path / "out", updates=5, losses={"ctc": 0.5}))
    assert any(f"train: 11 of 12 utterances, 0.00 h (skipped: 1 {CROWDED})" in s for s in said)
    assert any(s.startswith("dev: 12 of 12") for s in said)
    (found,) = skipped(tmp_path / "out")
    assert (found["id"], found["reason"]) == ("u0", CROWDED)
    assert "60 frames are needed" in found["detail"]


def test_a_transducer_alone_takes_any_number_of_labels(tmp_path: Path) -> None:
    manifest = crowded(tmp_path / "data", 60)
    run(job(manifest, tmp_path / "out", updates=5, losses={"ctc": 0.0}))
    assert not (tmp_path / "out/skipped.jsonl").exists()


def test_too_few_frames_at_one_speed_are_found_in_the_loss(tmp_path: Path) -> None:
    """As many labels as there are frames, of which a higher speed makes fewer."""
    manifest = corpus(tmp_path / "data")
    utterances = read_manifest(manifest)
    frames = int(utterances[0].duration / 0.04 + 1e-6)
    text = " ".join((["low", "high"] * frames)[:frames])
    write_manifest(manifest, [replace(utterances[0], text=text), *utterances[1:]])
    faster = {"speeds": [1.3]}
    task = job(manifest, tmp_path / "out", 5, augmentation=faster, losses={"ctc": 0.5})
    said = run(task)
    assert any(s.startswith("train: 12 of 12") for s in said)
    assert f"skipped: 1 {CROWDED}" in said
    assert [(s["id"], s["reason"]) for s in skipped(tmp_path / "out")] == [("u0", CROWDED)]
    assert column(tmp_path / "out", "skipped")[0] >= 1


def test_the_pruned_loss_stays_finite(tmp_path: Path) -> None:
    manifest = crowded(tmp_path / "data", 60)
    run(job(manifest, tmp_path / "out", updates=20, losses={"ctc": 0.0, "pruned": 3}))
    losses = column(tmp_path / "out", "loss")
    assert all(map(math.isfinite, losses))
    assert sum(column(tmp_path / "out", "skipped")) >= 1
    assert [(s["id"], s["reason"]) for s in skipped(tmp_path / "out")] == [("u0", PRUNED)]


# --- several processes ---------------------------------------------------------------------------


def test_two_processes_tell_what_one_tells(tmp_path: Path) -> None:
    """One whole file of five: in every epoch one of the two processes has nothing to train on."""
    manifest = corpus(tmp_path / "data", 5)
    for number in (0, 1, 3, 4):
        (tmp_path / f"data/{number}.wav").write_bytes(b"no audio")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"),
        *("--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"),
        *(str(Path(__file__).parent / "run_tiny.py"), str(manifest), str(tmp_path / "two"), "10"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    said = run(job(manifest, tmp_path / "one", updates=10))
    assert "skipped: 4 audio cannot be used" in said
    assert [line["id"] for line in skipped(tmp_path / "one")] == ["u0", "u1", "u3", "u4"]
    assert skipped(tmp_path / "two") == skipped(tmp_path / "one")
    for name in ("one", "two"):
        assert column(tmp_path / name, "skipped") == [0.0, 0.0]
