"""A recogniser in a folder: written, read again, and refused where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.weights import read_tensors, write_tensors
from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.recogniser import Recogniser, read_recogniser, write_recogniser
from asrc.runtime.vocabulary import build_vocabulary
from asrc.tests.training.tiny import build


def made() -> Recogniser:
    vocabulary = build_vocabulary(["low middle high"], "words")
    lowered = Lowered(build(vocabulary.size))
    initialise(lowered, seed=3)
    return Recogniser(lowered.eval(), vocabulary, {"model": "tiny"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_recogniser(tmp_path / "r", made())
    return tmp_path / "r"


def test_a_round_trip(folder: Path) -> None:
    one, other = made(), read_recogniser(folder)
    assert other.card["model"] == "tiny"
    assert (other.rate, other.channels) == (8000, 1)
    assert other.vocabulary.decode([1, 2]) == one.vocabulary.decode([1, 2])
    audio = torch.randn(1, 4000, 1, generator=torch.Generator().manual_seed(0))
    given = {"audio": audio, "prev": torch.zeros(1, 3, 1, dtype=torch.int64)}
    with torch.no_grad():
        assert torch.equal(one.lowered(given)["joint"], other.lowered(given)["joint"])


@pytest.mark.parametrize("name", ["weights.safetensors", "model.asrir", "vocabulary"])
def test_what_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(AsrcError, match=f"E0008.*{name}"):
        read_recogniser(folder)


def test_weights_of_another_model(folder: Path) -> None:
    tensors, _ = read_tensors(folder / "weights.safetensors")
    tensors["encoder.dense.weight"] = tensors["encoder.dense.weight"][:5]
    tensors["encoder.other.bias"] = tensors.pop("encoder.dense.bias")
    write_tensors(folder / "weights.safetensors", tensors)
    with pytest.raises(AsrcError, match="E1006") as caught:
        read_recogniser(folder)
    assert "`encoder.dense.bias` is missing; `encoder.other.bias` is not in the model" in str(
        caught.value
    )
    assert "`encoder.dense.weight` is [5, 24], the model has [16, 24]" in str(caught.value)


def test_a_vocabulary_of_another_training(folder: Path) -> None:
    build_vocabulary(["one two three four five"], "words").save(folder / "vocabulary")
    with pytest.raises(AsrcError, match="E1006"):
        read_recogniser(folder)


def test_half_a_file_of_weights(folder: Path) -> None:
    data = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(AsrcError, match="E1006"):
        read_recogniser(folder)


@pytest.mark.parametrize("card", ["{", "[]", json.dumps({"format": 99})])
def test_a_card_that_is_none(folder: Path, card: str) -> None:
    (folder / "recogniser.json").write_text(card)
    with pytest.raises(AsrcError, match="E1006"):
        read_recogniser(folder)
