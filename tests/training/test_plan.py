"""What is held out of a manifest where there is none to validate with."""

from __future__ import annotations

from pathlib import Path

import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.tests.training.speech import utterance
from asrc.training.manifest import write_manifest
from asrc.training.plan import manifests
from asrc.training.randomness import uniform


def held_out(folder: Path, ids: list[str]) -> list[str]:
    path = folder / "all.jsonl"
    write_manifest(path, [utterance(id) for id in ids])
    train, dev = manifests(path, None)
    assert sorted(u.id for u in [*train, *dev]) == sorted(ids)
    assert train
    return [u.id for u in dev]


def draw(id: str) -> float:
    return uniform(0, 0, id, "dev")


def test_every_fiftieth(tmp_path: Path) -> None:
    ids = [f"u{number}" for number in range(500)]
    held = held_out(tmp_path, ids)
    assert held == [id for id in ids if draw(id) < 0.02]
    assert 3 <= len(held) <= 20


@pytest.mark.parametrize("count", [2, 12])
def test_at_least_one(tmp_path: Path, count: int) -> None:
    """The one that the draw comes nearest to, in whatever order they are."""
    ids = [f"u{number}" for number in range(500) if draw(f"u{number}") >= 0.02][:count]
    assert held_out(tmp_path, ids) == [min(ids, key=draw)]
    assert held_out(tmp_path, ids[::-1]) == [min(ids, key=draw)]


def test_one_is_left_to_train_on(tmp_path: Path) -> None:
    ids = [f"u{number}" for number in range(500) if draw(f"u{number}") < 0.02][:2]
    assert held_out(tmp_path, ids) == [min(ids, key=draw)]


def test_a_single_utterance(tmp_path: Path) -> None:
    with pytest.raises(AsrcError, match=r"E1005.*has one utterance") as caught:
        held_out(tmp_path, ["a"])
    assert "--dev" in caught.value.diagnostics[0].help[0]
