"""`skipped.jsonl` keeps what every part of a run left out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from asrc.compiler.diagnostics import AsrcError, diagnostic
from asrc.tests.training.tiny import corpus, job
from asrc.training.checkpoint import listed
from asrc.training.job import Job, train
from asrc.training.processes import Processes
from asrc.training.selection import Skipped
from asrc.training.skips import SkipFile

LONG, BROKEN = Skipped("a", "too long", "30s"), Skipped("b", "audio cannot be used", "näh")


def run(task: Job) -> list[str]:
    said: list[str] = []
    train(task, Processes(), said.append, lambda update, numbers: None)
    return said


def damaged(folder: Path) -> Path:
    """A manifest with one file that is missing and three that are broken."""
    manifest = corpus(folder)
    (folder / "0.wav").unlink()
    for number in (2, 3, 5):
        (folder / f"{number}.wav").write_bytes(b"no audio")
    return manifest


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_each_utterance_and_reason_once(tmp_path: Path) -> None:
    path = tmp_path / "skipped.jsonl"
    first = SkipFile(path, (LONG, LONG))
    assert first.write([BROKEN])
    second = SkipFile(path, (LONG,))
    second.resume()
    assert second.earlier == (LONG, BROKEN)
    before = lines(path)
    assert second.write([])
    assert lines(path) == before
    assert second.write([Skipped("b", "no text"), BROKEN])
    assert len(lines(path)) == 3


def test_nothing_skipped_makes_no_file(tmp_path: Path) -> None:
    skips = SkipFile(tmp_path / "skipped.jsonl")
    skips.resume()
    assert not skips.write([])
    assert not skips.path.exists()


@pytest.mark.parametrize("harm", ["{", "[]", "7", '{"id": "c"}', ""])
def test_lines_that_are_none_are_passed_over(tmp_path: Path, harm: str) -> None:
    skips = SkipFile(tmp_path / "skipped.jsonl", (LONG, BROKEN))
    skips.write([])
    skips.path.write_text(f"{harm}\n" + skips.path.read_text("utf-8"), "utf-8")
    skips.resume()
    assert skips.earlier == (LONG, BROKEN)


# --- in a training -------------------------------------------------------------------------------


def test_the_same_command_again_loses_nothing(tmp_path: Path) -> None:
    task = job(damaged(tmp_path / "data"), tmp_path / "out")
    run(task)
    before = lines(tmp_path / "out/skipped.jsonl")
    assert len(before) == 4
    said = run(task)
    assert said[0] == "resumed at update 20"
    assert said[-1].endswith("skipped.jsonl")
    assert lines(tmp_path / "out/skipped.jsonl") == before


def test_another_part_adds_what_it_finds(tmp_path: Path) -> None:
    manifest = damaged(tmp_path / "data")
    run(job(manifest, tmp_path / "out", pace={"keep": 100}))
    before = lines(tmp_path / "out/skipped.jsonl")
    for path in listed(tmp_path / "out/checkpoints")[1:]:
        shutil.rmtree(path)
    (tmp_path / "data/7.wav").write_bytes(b"no audio")
    run(job(manifest, tmp_path / "out"))
    after = lines(tmp_path / "out/skipped.jsonl")
    assert after[:-1] == before
    assert '"u7"' in after[-1]


def test_a_part_that_fails_has_told_what_its_checkpoint_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict[str, float]:
        raise AsrcError(diagnostic("E1005", "nothing can be scored"))

    monkeypatch.setattr("asrc.training.job.word_errors", fail)
    with pytest.raises(AsrcError, match="E1005"):
        run(job(damaged(tmp_path / "data"), tmp_path / "out"))
    assert len(lines(tmp_path / "out/skipped.jsonl")) == 4
