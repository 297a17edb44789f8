"""Training in the accelerator's integers: from a float model, to what ships."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asrc.backends.torch.weights import read_tensors
from asrc.compiler.artefact import write_artefact
from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.calibration import graph_inputs
from asrc.runtime.compiled import compiled, needs_audio, read_compiled
from asrc.runtime.listener import Listener
from asrc.runtime.models import Recognises
from asrc.runtime.recogniser import Recogniser, read_recogniser, write_recogniser
from asrc.tests.training.test_trainer import equal, run, weights
from asrc.tests.training.tiny import corpus, job
from asrc.training.cache import AudioCache
from asrc.training.checkpoint import listed
from asrc.training.manifest import read_manifest

PASSES = "fold_norm(batchnorm), substitute(), quantize(weights=5), quantize(predictor, weights=3)"
PLAIN = {"speeds": [1.0], "bands": 0, "stretches": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float model in `float/best`, and its manifest in `data`."""
    folder = tmp_path_factory.mktemp("float")
    run(job(corpus(folder / "data"), folder / "float", updates=250, augmentation=PLAIN))
    return folder


def tuned(trained: Path, out: Path, updates: int = 12, passes: str = PASSES) -> list[str]:
    task = job(trained / "data/all.jsonl", out, updates, passes, augmentation=PLAIN)
    return run(replace(task, start=trained / "float/best/weights.safetensors"))


def read(path: Path) -> Mapping[str, torch.Tensor]:
    return read_tensors(path / "best/weights.safetensors")[0]


def said(model: Recognises, samples: np.ndarray) -> list[str]:
    listener = Listener(model)
    listener.push(samples)
    return listener.finish().text.split()


def test_from_weights_that_were_stored_in_int8(trained: Path, tmp_path: Path) -> None:
    """As `asrc convert --weights int8` writes them, and `models/pretrained` has them."""
    narrow = tmp_path / "narrow"
    write_recogniser(narrow, read_recogniser(trained / "float/best"), torch.int8)
    before = read(trained / "float")
    for passes, name in ((PASSES, "integers"), ("", "float")):
        task = job(trained / "data/all.jsonl", tmp_path / name, 2, passes, augmentation=PLAIN)
        run(replace(task, start=narrow / "weights.safetensors"))
        after = read(tmp_path / name)
        same = [n for n, x in before.items() if x.ndim > 1 and n in after]
        assert len(same) > 3
        apart = {n: float((after[n] - before[n]).norm() / before[n].norm()) for n in same}
        assert max(apart.values()) < 0.5, apart  # weights drawn anew are farther than 1


def test_what_was_trained_is_what_ships(trained: Path, tmp_path: Path) -> None:
    """The compiled programs say what the trained model says, and need no audio for their ranges."""
    assert any("ranges" in line for line in tuned(trained, tmp_path / "out"))
    recogniser = read_recogniser(tmp_path / "out/best")
    assert not needs_audio(recogniser, 8)
    before, after = read(trained / "float"), read(tmp_path / "out")
    moved = [n for n in before if n in after and not torch.equal(before[n], after[n])]
    assert any(name.startswith("encoder") for name in moved)
    write_artefact(tmp_path / "a.asrc", compiled(recogniser, []))
    programs = read_compiled(tmp_path / "a.asrc")
    cache = AudioCache(recogniser.rate)
    heard = 0
    for utterance in read_manifest(trained / "data/all.jsonl"):
        samples = cache.read(utterance)
        assert said(programs, samples) == said(recogniser, samples)
        heard += said(programs, samples) == utterance.text.split()
    assert heard >= 6  # of 12: as good as the float model was, or nearly
    books = {n: x for n, x in after.items() if n.endswith(".codebook")}
    assert {len(x) for n, x in books.items() if n.startswith("predictor")} == {8}
    assert {len(x) for n, x in books.items() if n.startswith("encoder")} == {32}
    assert all(torch.equal(x, x.round()) for x in books.values())


LEARNED = "fold_norm(batchnorm), substitute(), quantize(weights=3, per=tensor, scales=learned)"


@pytest.mark.parametrize("passes", [PASSES, LEARNED])
def test_it_goes_on_to_the_same_numbers(trained: Path, tmp_path: Path, passes: str) -> None:
    tuned(trained, tmp_path / "whole", 10, passes)
    shutil.copytree(tmp_path / "whole", tmp_path / "halves")
    shutil.rmtree(listed(tmp_path / "halves/checkpoints")[-1])
    said = tuned(trained, tmp_path / "halves", 10, passes)
    assert any("resumed at update 5" in line for line in said)
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "halves"))


def test_scales_learn_and_ship(trained: Path, tmp_path: Path) -> None:
    tuned(trained, tmp_path / "first", 1, LEARNED)
    tuned(trained, tmp_path / "last", 12, LEARNED)
    first, last = read(tmp_path / "first"), read(tmp_path / "last")
    for kind, share in ((".scale", 0.9), (".range", 0.5)):
        names = [name for name in first if name.endswith(kind)]
        moved = [name for name in names if not torch.equal(first[name], last[name])]
        assert len(moved) > share * len(names)
    still = [n for n in first if n.endswith((".codebook", ".unit", ".variance", ".reach"))]
    assert still
    assert all(torch.equal(first[name], last[name]) for name in still)
    assert {len(last[n]) for n in last if n.endswith(".scale")} == {1}
    recogniser = read_recogniser(tmp_path / "last/best")
    write_artefact(tmp_path / "a.asrc", compiled(recogniser, []))
    programs = read_compiled(tmp_path / "a.asrc")
    samples = AudioCache(recogniser.rate).read(read_manifest(trained / "data/all.jsonl")[0])
    assert said(programs, samples) == said(recogniser, samples)


def test_weights_of_less_than_a_bit_ship_as_they_were_trained(
    trained: Path, tmp_path: Path
) -> None:
    """Codebooks with the ends of their cells, and scales that learn by them."""
    passes = "fold_norm(batchnorm), substitute(), quantize(), quantize(encoder, weights=1"
    for name, updates in (("first", 1), ("last", 6)):
        tuned(trained, tmp_path / name, updates, f"{passes}, scales=learned)")
    first, last = read(tmp_path / "first"), read(tmp_path / "last")
    books = [name for name in first if name.endswith(".codebook")]
    assert {tuple(last[name].shape) for name in books} == {(2, 4)}
    assert all(torch.equal(first[name], last[name]) for name in books)
    scales = [name.replace("codebook", "scale") for name in books]
    assert not any(torch.equal(first[name], last[name]) for name in scales)
    recogniser = read_recogniser(tmp_path / "last/best")
    write_artefact(tmp_path / "a.asrc", compiled(recogniser, []))
    programs = read_compiled(tmp_path / "a.asrc")
    cache = AudioCache(recogniser.rate)
    for utterance in read_manifest(trained / "data/all.jsonl")[:4]:
        assert said(programs, cache.read(utterance)) == said(recogniser, cache.read(utterance))
    codes = programs.programs["encoder"].program.tensors["encoder.Lstm.dense.weight"].data
    assert codes is not None
    values, counts = np.unique(codes, return_counts=True)
    assert len(values) == 3
    assert values[counts.argmax()] == 0


def test_ranges_of_random_weights_mean_nothing(tmp_path: Path) -> None:
    task = job(corpus(tmp_path / "data"), tmp_path / "out", 1, PASSES)
    with pytest.raises(AsrcError, match="trained from a float one"):
        run(task)


def test_a_quantised_model_goes_on_with_its_own_ranges(trained: Path, tmp_path: Path) -> None:
    tuned(trained, tmp_path / "one", 2)
    task = job(trained / "data/all.jsonl", tmp_path / "two", 2, PASSES, augmentation=PLAIN)
    start = tmp_path / "one/best/weights.safetensors"
    assert not any("ranges" in line for line in run(replace(task, start=start)))
    one, two = read(tmp_path / "one"), read(tmp_path / "two")
    ranges = [name for name in one if name.endswith((".range", ".scale", ".codebook"))]
    assert ranges
    assert all(torch.equal(one[name], two[name]) for name in ranges)


def test_float_operators_may_be_deployed_too(trained: Path, tmp_path: Path) -> None:
    """Trained with rounded weights alone; ranges are taken from audio then."""
    passes = "fold_norm(batchnorm), quantize(weights=4, activations=false)"
    tuned(trained, tmp_path / "out", 4, passes)
    recogniser = read_recogniser(tmp_path / "out/best")
    assert needs_audio(recogniser, 8)
    with pytest.raises(AsrcError, match="to take ranges of"):
        compiled(recogniser, [])
    write_artefact(tmp_path / "a.asrc", compiled(recogniser, heard(recogniser, trained)))
    conv = read_compiled(tmp_path / "a.asrc").programs["encoder"].program.tensors
    codes = conv["encoder.Lstm.dense.weight"].data
    assert codes is not None
    assert len(np.unique(codes)) <= 16  # as in training, though the default is 8 bits


def heard(recogniser: Recogniser, trained: Path) -> list[dict[str, np.ndarray]]:
    cache = AudioCache(recogniser.rate)
    utterances = read_manifest(trained / "data/all.jsonl")[:4]
    pairs = [(cache.read(u), u.text) for u in utterances]
    return list(graph_inputs(recogniser.lowered, recogniser.vocabulary, pairs))
