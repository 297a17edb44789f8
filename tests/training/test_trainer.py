"""Training: it learns, it goes on after a kill, and several processes train as one."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asrc.backends.torch.weights import read_tensors
from asrc.compiler.diagnostics import AsrcError, diagnostic
from asrc.runtime.recogniser import read_recogniser
from asrc.tests.models.helpers import load
from asrc.tests.training.tiny import corpus, job
from asrc.training.cache import AudioCache
from asrc.training.checkpoint import latest, listed
from asrc.training.job import Job, train, word_errors
from asrc.training.manifest import read_manifest, write_manifest
from asrc.training.processes import Processes
from asrc.training.recipe import recipe_of

HERE = Path(__file__).parent
ONE = Processes()


def run(task: Job) -> list[str]:
    said: list[str] = []
    train(task, ONE, said.append, lambda update, numbers: said.append(f"{update} {numbers}"))
    return said


def weights(out: Path) -> dict[str, torch.Tensor]:
    found = latest(out / "checkpoints")
    assert found is not None
    return {f"{g}.{n}": x for g, tensors in found.tensors.items() for n, x in tensors.items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_it_learns_what_it_hears(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    plain = {"speeds": [1.0], "bands": 0, "stretches": 0}
    run(job(manifest, tmp_path / "out", updates=250, augmentation=plain))
    best = read_recogniser(tmp_path / "out/best")
    utterances = tuple(read_manifest(manifest))
    errors = word_errors(best.lowered, best.vocabulary, utterances, AudioCache(best.rate))
    assert errors["wer"] < 30
    assert best.card["dev_wer"] == pytest.approx(errors["wer"])


def test_what_is_skipped_is_written_down(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    (tmp_path / "data/3.wav").write_bytes(b"no audio")
    (tmp_path / "data/4.wav").unlink()
    said = run(job(manifest, tmp_path / "out"))
    lines = (tmp_path / "out/skipped.jsonl").read_text("utf-8").splitlines()
    found = {line["id"]: line["reason"] for line in map(json.loads, lines)}
    assert found == {"u3": "audio cannot be used", "u4": "audio missing"}
    assert said[-1].endswith("skipped.jsonl")


def test_the_journal_has_every_number_once(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    run(job(manifest, tmp_path / "out"))
    rows = list(csv.DictReader((tmp_path / "out/log.csv").read_text().splitlines()))
    keys = [(row["update"], row["name"]) for row in rows]
    assert len(keys) == len(set(keys))
    assert {"loss", "dev.wer"} <= {row["name"] for row in rows}


def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    run(job(manifest, tmp_path / "whole", updates=40))
    process = started(manifest, tmp_path / "cut", 40)
    wait_for(lambda: bool(listed(tmp_path / "cut/checkpoints")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    said = run(job(manifest, tmp_path / "cut", updates=40))
    assert said[0].startswith("resumed at update")
    same_numbers(tmp_path / "whole", tmp_path / "cut")


def test_a_run_killed_at_any_moment_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    """Three times in a row, from its journal's first line to wherever it is by then."""
    manifest = corpus(tmp_path / "data")
    began = time.monotonic()
    run(job(manifest, tmp_path / "whole", updates=80))
    took, chance = time.monotonic() - began, random.Random(20)
    for _ in range(3):
        process = started(manifest, tmp_path / "cut", 80)
        journal = (tmp_path / "cut/log.csv", time.time_ns())
        wait_for(lambda at=journal: changed_since(*at), process)
        time.sleep(chance.uniform(0.0, 0.4 * took))
        process.kill()
        assert process.wait() in (0, -signal.SIGKILL)
    run(job(manifest, tmp_path / "cut", updates=80))
    same_numbers(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("stopped", [3, 6, 9])
def test_the_journal_goes_on_where_saving_and_logging_do_not_meet(
    tmp_path: Path, stopped: int
) -> None:
    manifest, pace = corpus(tmp_path / "data"), {"save": 3, "log": 5, "validate": 100, "keep": 100}
    run(job(manifest, tmp_path / "whole", updates=10, pace=pace))
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for path in listed(tmp_path / "cut/checkpoints"):
        if int(path.name.split("-")[1]) > stopped:
            shutil.rmtree(path)
    said = run(job(manifest, tmp_path / "cut", updates=10, pace=pace))
    assert said[0] == f"resumed at update {stopped}"
    same_numbers(tmp_path / "whole", tmp_path / "cut")


def fail(*_: object) -> dict[str, float]:
    raise AsrcError(diagnostic("E1005", "nothing can be scored"))


@pytest.mark.parametrize("broken", ["job.word_errors", "job._write_best", "checkpoint.settle"])
@pytest.mark.parametrize("save", [5, 7])
def test_a_validation_that_fails_loses_no_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, save: int
) -> None:
    """Before it, within it and behind it, where saving is due as well and where it is not."""
    manifest, pace = corpus(tmp_path / "data"), {"validate": 10, "save": save}
    run(job(manifest, tmp_path / "whole", pace=pace))
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(f"asrc.training.{broken}", fail)
            with pytest.raises(AsrcError, match="E1005"):
                run(job(manifest, tmp_path / "cut", pace=pace))
    said = run(job(manifest, tmp_path / "cut", pace=pace))
    assert said[0] == "resumed at update 10"
    same_numbers(tmp_path / "whole", tmp_path / "cut")
    scores = [json.loads(newest_state(tmp_path / name))["best"] for name in ("whole", "cut")]
    assert scores[0] == scores[1] is not None


def newest_state(out: Path) -> str:
    return (listed(out / "checkpoints")[-1] / "state.json").read_text()


def test_a_development_set_that_cannot_be_heard(tmp_path: Path) -> None:
    """What was trained stays, and goes on once the set can be heard."""
    manifest, heard = corpus(tmp_path / "data"), corpus(tmp_path / "dev")
    for path in (tmp_path / "dev").glob("*.wav"):
        path.write_bytes(b"no audio")
    task = replace(job(manifest, tmp_path / "out"), dev=heard)
    with pytest.raises(AsrcError, match=r"E1005.*none with usable audio"):
        run(task)
    corpus(tmp_path / "dev")
    assert run(task)[0] == "resumed at update 10"
    run(replace(task, out=tmp_path / "whole"))
    same_numbers(tmp_path / "whole", tmp_path / "out")


def started(manifest: Path, out: Path, updates: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "run_tiny.py"), str(manifest), str(out), str(updates)]
    # The order of sums, and with it the last bit, is that of a number of threads.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)


def changed_since(path: Path, moment: int) -> bool:
    return path.exists() and path.stat().st_mtime_ns > moment


def same_numbers(whole: Path, cut: Path) -> None:
    """Weights and journal, but for the time that it took."""
    assert equal(weights(whole), weights(cut))
    journals = [(out / "log.csv").read_text().splitlines() for out in (whole, cut)]
    timeless = [[line for line in j if ",speed," not in line] for j in journals]
    assert timeless[0] == timeless[1]


def called_easy(manifest: Path) -> Path:
    """The same manifest, every other utterance easy."""
    utterances = read_manifest(manifest)
    changed = [replace(u, extra={"easy": n % 2 == 0}) for n, u in enumerate(utterances)]
    write_manifest(manifest, changed)
    return manifest


BEGINNING = {"beginning": {"easy": 7, "ctc": 9}, "losses": {"ctc": 0.5}}


def test_a_training_begins_with_easy_utterances_and_ctc_alone(tmp_path: Path) -> None:
    manifest = called_easy(corpus(tmp_path / "data"))
    task = job(manifest, tmp_path / "out", updates=12, pace={"log": 1, "save": 9}, **BEGINNING)
    said = run(task)
    losses = [float(line.split("'loss': ")[1].split(",")[0]) for line in said if "'loss'" in line]
    assert losses[:9] == [0.0] * 9
    assert min(losses[9:]) > 0


def test_a_run_goes_on_across_the_beginning(tmp_path: Path) -> None:
    """Stopped before, at and behind the end of either stage."""
    manifest = called_easy(corpus(tmp_path / "data"))
    pace = {"save": 1, "validate": 100, "keep": 100}
    run(job(manifest, tmp_path / "whole", updates=12, pace=pace, **BEGINNING))
    for stopped in (5, 7, 8, 9, 11):
        out = tmp_path / f"from-{stopped}"
        shutil.copytree(tmp_path / "whole", out)
        for path in listed(out / "checkpoints"):
            if int(path.name.split("-")[1]) > stopped:
                shutil.rmtree(path)
        run(job(manifest, out, updates=12, pace=pace, **BEGINNING))
        assert equal(weights(tmp_path / "whole"), weights(out)), stopped


def test_nothing_is_easy(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    with pytest.raises(AsrcError, match=r"E1005.*calls none easy"):
        run(job(manifest, tmp_path / "out", beginning={"easy": 5}))


def test_a_model_that_cannot_be_trained_leaves_nothing_behind(tmp_path: Path) -> None:
    facts = load("small/bifocal").facts
    task = job(corpus(tmp_path / "data", 3), tmp_path / "out")
    with pytest.raises(AsrcError, match=r"E1008.*reads `keyword` as well"):
        run(replace(task, build=lambda size, given: (facts, given)))
    assert not (tmp_path / "out").exists()


def test_ctc_alone_needs_a_ctc_loss() -> None:
    with pytest.raises(AsrcError, match=r"E1008.*needs `losses.ctc`"):
        recipe_of({"beginning": {"ctc": 5}, "losses": {"ctc": 0.0}}, "a test")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"optimiser": {"betas": [0.9]}}, r"`optimiser.betas`.*cannot be \[0.9\]"),
        ({"optimiser": {"betas": 0.9}}, r"`optimiser.betas`.*cannot be 0.9"),
        ({"optimiser": {"betas": [2, 3]}}, r"`optimiser.betas`.*not all in \[0, 1\)"),
        ({"optimiser": {"betas": ["a", "b"]}}, r"`optimiser.betas`.*cannot be \['a', 'b'\]"),
        ({"optimiser": {"betas": [0.9, True]}}, r"`optimiser.betas`.*cannot be"),
        ({"augmentation": {"gain": [1]}}, r"`augmentation.gain`.*cannot be \[1\]"),
        ({"augmentation": {"gain": [6, -6]}}, r"`augmentation.gain`.*cannot be \[6.0, -6.0\]"),
        ({"augmentation": {"speeds": [1, "fast"]}}, r"`augmentation.speeds`.*cannot be"),
        ({"optimiser": 3}, r"`optimiser`.*cannot be 3"),
        ({"pace": [1]}, r"`pace`.*cannot be \[1\]"),
        ({"settings": 3}, r"`settings`.*cannot be 3"),
        ({"seed": 10**30}, r"`seed`.*cannot be 10{30}"),
        ({"seed": -1}, r"`seed`.*must be 0 or more"),
        ({"optimiser": {"rate": 10**400}}, r"`optimiser.rate`.*cannot be"),
        ({"optimiser": {"warm_up": -1}}, r"`optimiser.warm_up`.*must be 0 or more"),
        ({"optimiser": {"decay": -0.1}}, r"`optimiser.decay`.*must be 0 or more"),
    ],
)
def test_recipes_that_cannot_be(table: dict[str, object], says: str) -> None:
    with pytest.raises(AsrcError, match=rf"E1008.*{says}"):
        recipe_of(table, "a test")


def test_what_a_recipe_may_be() -> None:
    table = {"augmentation": {"gain": [0, 0]}, "data": {"size": 3}, "seed": 2**63 - 1}
    recipe = recipe_of({**table, "optimiser": {"betas": (0, 0.9), "warm_up": 0}}, "a test")
    assert recipe.augmentation.gain == (0.0, 0.0)
    assert recipe.optimiser.betas == (0.0, 0.9)


def wait_for(met: object, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not met():  # type: ignore[operator]
        assert time.monotonic() < end, "no checkpoint came"
        assert process.poll() in (None, 0), "the training failed"
        time.sleep(0.01)


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"),
        *("--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"),
        *(str(HERE / "run_tiny.py"), str(manifest), str(tmp_path / "two"), "12"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    run(job(manifest, tmp_path / "one", updates=12))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    worst = max(float((one[n] - two[n]).abs().max()) for n in one if n.startswith("weights"))
    assert worst < 2e-4  # updates of 0.01 in directions that agree but for rounding


def test_another_recipe_does_not_go_on(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    run(job(manifest, tmp_path / "out", updates=5))
    with pytest.raises(AsrcError, match="E1006"):
        run(job(manifest, tmp_path / "out", updates=5, losses={"ctc": 0.5}))


LESS = {"cache": 1, "workers": 3}


def test_what_changes_no_number_may_be_another(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    run(job(manifest, tmp_path / "out", updates=5))
    assert run(job(manifest, tmp_path / "out", updates=5, data=LESS))[0] == "resumed at update 5"


@pytest.mark.parametrize("data", [{}, LESS])
def test_an_older_checkpoint_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: dict[str, int]
) -> None:
    """Its digest has the cache and the workers of its recipe, here the usual ones."""
    manifest = corpus(tmp_path / "data")
    with monkeypatch.context() as patch:
        patch.setattr("asrc.training.job._NO_NUMBER", ())
        run(job(manifest, tmp_path / "out", updates=5))
    said = run(job(manifest, tmp_path / "out", updates=5, data=data))
    assert said[0] == "resumed at update 5"


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    run(job(manifest, tmp_path / "out", updates=10))
    newest = listed(tmp_path / "out/checkpoints")[-1]
    data = (newest / "weights.safetensors").read_bytes()
    (newest / "weights.safetensors").write_bytes(data[: len(data) // 2])
    said = run(job(manifest, tmp_path / "out", updates=10))
    assert newest.name in said[0]
    assert said[1] == "resumed at update 5"


def test_divergence(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    wild = {"rate": 1e30, "warm_up": 0}
    with pytest.raises(AsrcError, match="E1009"):
        run(job(manifest, tmp_path / "out", updates=60, optimiser=wild, pace={"validate": 1000}))


def test_broken_audio_is_left_out_and_told(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    (tmp_path / "data/3.wav").write_bytes(b"not audio")
    said = run(job(manifest, tmp_path / "out", updates=5))
    assert said[-2] == "skipped: 1 audio cannot be used"


def test_weights_to_start_from(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    run(job(manifest, tmp_path / "first", updates=5))
    tensors, _ = read_tensors(tmp_path / "first/best/weights.safetensors")
    second = job(manifest, tmp_path / "second", updates=5)
    from dataclasses import replace

    run(replace(second, start=tmp_path / "first/best/weights.safetensors"))
    assert tensors.keys() == read_tensors(tmp_path / "second/best/weights.safetensors")[0].keys()


@pytest.mark.parametrize("states", [2, 64])
def test_the_pruned_loss_learns_too(tmp_path: Path, states: int) -> None:
    manifest = corpus(tmp_path / "data")
    said = run(job(manifest, tmp_path / "out", updates=60, losses={"pruned": states}))
    losses = [float(row["value"]) for row in rows(tmp_path / "out") if row["name"] == "loss"]
    assert losses[-1] < 0.5 * losses[0], said


def rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "log.csv").read_text().splitlines()))
