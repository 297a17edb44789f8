"""The journal of a training on a disk that is full."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.tests.training.tiny import corpus, job
from asrc.training.job import train
from asrc.training.journal import CsvJournal, TensorBoardJournal, open_journals
from asrc.training.processes import Processes


def on_a_full_disk(journal: CsvJournal) -> CsvJournal:
    """What it has open leads to a device that takes nothing; no file is another."""
    full = os.open("/dev/full", os.O_WRONLY | os.O_APPEND)
    os.dup2(full, journal.file.fileno())
    os.close(full)
    return journal


@pytest.mark.parametrize(("due", "kept"), [(False, 4), (True, 3)])
def test_scores_that_are_due_again_are_dropped(tmp_path: Path, due: bool, kept: int) -> None:
    journal = CsvJournal(tmp_path / "log.csv", 0)
    for update in (5, 10, 15):
        journal.note(update, {"loss": 1.0})
        journal.note(update, {"dev.wer": 50.0})
    journal.close()
    lines = (tmp_path / "log.csv").read_text().splitlines()
    CsvJournal(tmp_path / "log.csv", 10, due).close()
    assert (tmp_path / "log.csv").read_text().splitlines() == lines[: 1 + kept]


@pytest.mark.parametrize("due", [False, True])
def test_tensorboard_shows_each_number_once(tmp_path: Path, due: bool) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for resumed_at in (0, 10):
        journals = open_journals(tmp_path, resumed_at, True, due and resumed_at > 0)
        for update in (5, 10, 15):
            for journal in journals:
                journal.note(update, {"loss": update} if update > resumed_at else {})
                if update > resumed_at or (due and update == resumed_at):
                    journal.note(update, {"dev.wer": 50.0})
        for journal in journals:
            journal.close()
    shown = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    for name in ("loss", "dev.wer"):
        assert [x.step for x in shown.Scalars(name)] == [5, 10, 15]
    assert [x.value for x in shown.Scalars("loss")] == [5.0, 10.0, 15.0]


def test_a_full_disk(tmp_path: Path) -> None:
    journal = on_a_full_disk(CsvJournal(tmp_path / "log.csv", 0))
    with pytest.raises(AsrcError, match=r"E0008.*log\.csv.*No space left") as caught:
        journal.note(5, {"loss": 1.0})
    assert "make room" in caught.value.diagnostics[0].help[0]
    journal.close()
    assert journal.file.closed


def test_a_journal_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr("asrc.training.journal.write_text", lambda path, text: None)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AsrcError, match=r"E0008.*log\.csv.*quota"):
        CsvJournal(tmp_path / "log.csv", 0)


def test_tensorboard_on_a_full_disk(tmp_path: Path) -> None:
    """Its writer fails at the line that comes after the one that had no room."""
    pytest.importorskip("tensorboard")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    journal = TensorBoardJournal(tmp_path / "events", 0)
    journal.writer.add_scalar = refuse
    with pytest.raises(AsrcError, match=r"E0008.*events.*No space left"):
        journal.note(5, {"loss": 1.0})
    journal.close()


def test_a_training_on_a_full_disk_has_a_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = CsvJournal.__init__

    def full(self: CsvJournal, *given: Any) -> None:
        made(self, *given)
        on_a_full_disk(self)

    monkeypatch.setattr(CsvJournal, "__init__", full)
    task = job(corpus(tmp_path / "data", 3), tmp_path / "out", updates=5)
    with pytest.raises(AsrcError, match=r"E0008.*log\.csv"):
        train(task, Processes(), lambda line: None, lambda update, numbers: None)
