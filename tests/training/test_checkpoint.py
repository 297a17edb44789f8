"""Checkpoints are whole or not there; a full disk costs nothing that was saved."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asrc.compiler.diagnostics import AsrcError
from asrc.training.batches import Position
from asrc.training.checkpoint import Checkpoint, latest, listed, load, save, settle


def made(update: int, best: float | None = None, due: bool = False) -> Checkpoint:
    tensors = {"weights": {"a.weight": torch.full((3,), float(update))}}
    return Checkpoint(update, Position(1, update), best, "digest", tensors, due)


def test_a_round_trip(tmp_path: Path) -> None:
    save(tmp_path, made(7), keep=2)
    found = latest(tmp_path)
    assert found is not None
    assert (found.update, found.position, found.digest) == (7, Position(1, 7), "digest")
    assert torch.equal(found.tensors["weights"]["a.weight"], torch.full((3,), 7.0))


def test_old_ones_go(tmp_path: Path) -> None:
    for update in (1, 2, 3, 4):
        save(tmp_path, made(update), keep=2)
    assert [p.name for p in listed(tmp_path)] == ["update-00000003", "update-00000004"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, made(1), keep=2)

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(AsrcError, match="E1007"):
        save(tmp_path, made(2), keep=2)
    monkeypatch.undo()
    found = latest(tmp_path)
    assert found is not None
    assert found.update == 1
    assert [p.name for p in tmp_path.iterdir()] == ["update-00000001"]


def test_a_damaged_one_is_left_out_aloud(tmp_path: Path) -> None:
    save(tmp_path, made(1), keep=2)
    damaged = save(tmp_path, made(2), keep=2) / "weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:20])
    said: list[str] = []
    found = latest(tmp_path, said.append)
    assert found is not None
    assert found.update == 1
    assert len(said) == 1
    assert "update-00000002" in said[0]


def test_a_validation_settles_what_was_saved_before_it(tmp_path: Path) -> None:
    place = save(tmp_path, made(7, due=True), keep=2)
    tensors = (place / "weights.safetensors").stat()
    assert load(place).due
    settle(tmp_path, made(7, best=12.5))
    found = load(place)
    assert (found.update, found.best, found.due) == (7, 12.5, False)
    assert (place / "weights.safetensors").stat() == tensors


def test_a_full_disk_settles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = save(tmp_path, made(1, due=True), keep=2)

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(AsrcError, match=r"E1007.*No space left"):
        settle(tmp_path, made(1, best=12.5))
    monkeypatch.undo()
    assert (load(place).best, load(place).due) == (None, True)


def test_an_older_one_has_nothing_due(tmp_path: Path) -> None:
    """It was saved behind its validation, and did not say so."""
    place = save(tmp_path, made(1), keep=2)
    state = json.loads((place / "state.json").read_text())
    del state["due"]
    (place / "state.json").write_text(json.dumps(state))
    assert not load(place).due


def test_sums_of_the_journal(tmp_path: Path) -> None:
    """Every bit of them, and none in an older checkpoint."""
    sums = {"transducer": 0.1 + 0.2, "utterances": 3}
    place = save(tmp_path, replace(made(1), sums=sums), keep=2)
    assert load(place).sums == sums
    state = json.loads((place / "state.json").read_text())
    del state["sums"]
    (place / "state.json").write_text(json.dumps(state))
    assert load(place).sums == {}


@pytest.mark.parametrize("harm", ["{", "{}", json.dumps({"update": 1, "groups": ["weights"]})])
def test_damage_is_named(tmp_path: Path, harm: str) -> None:
    place = save(tmp_path, made(1), keep=2)
    (place / "state.json").write_text(harm)
    with pytest.raises(AsrcError, match="E1006"):
        load(place)
