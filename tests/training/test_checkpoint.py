"""Checkpoints are whole or not there; a full disk costs nothing that was saved."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch

from asrc.compiler.diagnostics import AsrcError
from asrc.training.batches import Position
from asrc.training.checkpoint import Checkpoint, latest, listed, load, save


def made(update: int) -> Checkpoint:
    tensors = {"weights": {"a.weight": torch.full((3,), float(update))}}
    return Checkpoint(update, Position(1, update), None, "digest", tensors)


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


@pytest.mark.parametrize("harm", ["{", "{}", json.dumps({"update": 1, "groups": ["weights"]})])
def test_damage_is_named(tmp_path: Path, harm: str) -> None:
    place = save(tmp_path, made(1), keep=2)
    (place / "state.json").write_text(harm)
    with pytest.raises(AsrcError, match="E1006"):
        load(place)
