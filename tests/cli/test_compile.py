"""`asrc compile`: what it refuses, and what it says of machines that lack operators."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from click import UsageError
from safetensors.numpy import load

from asrc.backends.nna.calibrate import calibrated
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.weights import load_weights
from asrc.cli.compile import _check_trained
from asrc.compiler.artefact import unpack
from asrc.compiler.manager import run_pipeline
from asrc.dsl.pipelines import parse_pass_text
from asrc.runtime.calibration import graph_inputs
from asrc.runtime.compiled import compiled
from asrc.runtime.recogniser import Recogniser, read_recogniser, write_recogniser
from asrc.tests.runtime.test_listener import noise
from asrc.tests.runtime.test_recogniser import made
from asrc.tests.training.tiny import corpus
from asrc.training.cache import AudioCache

from .helpers import ROOT, Run

GENERIC = (ROOT / "backends/nna/machines/generic-8bit.toml").read_text()
TO = ("--target", "nna", "--out", "a.asrc")


@pytest.fixture
def model(tmp_path: Path) -> str:
    write_recogniser(tmp_path / "model", made())
    return str(tmp_path / "model")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return corpus(tmp_path / "data", 3)


# --- machines --------------------------------------------------------------------------------


def test_operators_that_a_machine_lacks(run: Run, model: str, manifest: Path) -> None:
    """They are named with their count, here and in the file, and estimates say so."""
    Path("mine.toml").write_text(GENERIC.replace('"conv", ', "", 1))
    on = ("--calibrate", str(manifest), "--machine", "mine.toml")
    done = run("compile", model, *TO, *on, "--plain")
    assert done.exit_code == 0, done.output
    left = "mine joint: conv on int8\t1\tthe machine's description has none"
    for shown in (done.stdout, run("size", "a.asrc", "--plain").stdout):
        assert "not on the accelerator\toperators\tbecause" in shown
        assert left in shown.splitlines()
        assert "estimates leave these out: their time on the host, and their weights" in shown
    estimates = json.loads(run("compile", model, *TO, *on, "--json").stdout)["estimates"]["mine"]
    assert estimates["joint"]["lacking"] == {"conv on int8": 1}
    assert all(sum(e["lacking"].values()) == e["elsewhere"] for e in estimates.values())


def test_nothing_is_left_out(run: Run, model: str, manifest: Path) -> None:
    on = ("--calibrate", str(manifest), "--machine", "generic-8bit")
    done = run("compile", model, *TO, *on, "--plain")
    assert "from rates alone" in done.stdout
    assert "not on the accelerator" not in done.stdout


# --- calibration -----------------------------------------------------------------------------


def test_calibration_without_any_text(run: Run, model: str, manifest: Path) -> None:
    lines = [json.loads(line) | {"text": ""} for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    done = run("compile", model, *TO, "--calibrate", str(manifest))
    assert done.exit_code == 1
    said = " ".join(done.stderr.split())
    assert f"error[E1005]: none of 3 utterances of `{manifest}` has text" in said
    assert "predictor and joint" in said
    assert not Path("a.asrc").exists()


def test_a_recording_that_is_not_there(run: Run, model: str, manifest: Path) -> None:
    """Its utterance and the manifest are named: a path alone may be in many."""
    first, *others = manifest.read_text().splitlines(keepends=True)
    lost = json.dumps(json.loads(first) | {"id": "lost", "audio_filepath": "none.wav"})
    manifest.write_text("".join((*others, f"{lost}\n")))
    done = run("compile", model, *TO, "--calibrate", str(manifest))
    said = " ".join(done.stderr.split())
    assert done.exit_code == 1
    assert f"it is of the utterance `lost` of `{manifest}`" in said
    assert not Path("a.asrc").exists()


def test_utterances_lie_at_equal_distances(
    run: Run, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where their number does not divide that of the lines."""
    heard: list[str] = []
    read = AudioCache.read
    monkeypatch.setattr(AudioCache, "read", lambda c, u: heard.append(u.id) or read(c, u))
    many = corpus(tmp_path / "many", 7)
    every = [json.loads(line) for line in many.read_text().splitlines()]
    run("compile", model, *TO, "--calibrate", str(many), "--utterances", "4")
    places = [next(n for n, one in enumerate(every) if id in str(one)) for id in heard]
    assert places == [0, 1, 3, 5]
    heard.clear()
    run("compile", model, *TO, "--calibrate", str(many), "--utterances", "9")
    assert len(heard) == 7


@pytest.mark.parametrize("out", ["", ".", "data", "file/a.asrc"])
def test_a_file_that_cannot_be_written(
    run: Run, model: str, manifest: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    """It is told before the work."""
    Path("file").write_text("")
    monkeypatch.setattr("asrc.runtime.compiled.compiled", None)
    done = run("compile", model, "--target", "nna", "--calibrate", str(manifest), "--out", out)
    assert done.exit_code == 3
    assert "error[E0008]: cannot write" in done.stderr


# --- weights that were trained in bits -------------------------------------------------------


def quantised(passes: str) -> Recogniser:
    """A model as one that was trained after these passes."""
    model, calls = made(), parse_pass_text(f"fold_norm(batchnorm), {passes}", "a test")
    heard = [(noise(0.8, seed), "low high") for seed in range(3)]
    inputs = graph_inputs(model.lowered, model.vocabulary, heard)
    weights = {name: x.detach().numpy() for name, x in model.lowered.tensors().items()}
    found = run_pipeline(model.facts.graph, calls, weights=weights)
    assert found.weights is not None
    numbers = calibrated(found.facts, found.weights, inputs)
    lowered = Lowered(found.facts)
    load_weights(lowered, {name: torch.from_numpy(x) for name, x in numbers.items()}, "a test")
    return replace(model, lowered=lowered.eval())


MIXED = "quantize(weights=5), quantize(joint, weights=8)"


@pytest.mark.parametrize(
    ("passes", "asked", "has"),
    [
        ("substitute(), quantize(weights=5)", ["4"], "weights of 5 bits"),
        ("quantize(weights=5, coded=4)", ["5", "--coded", "3"], "weights of 5 bits coded in 4"),
        (MIXED, ["5"], "weights of 5 bits and 8 bits"),
    ],
)
def test_other_bits_than_those_of_the_training(
    run: Run, passes: str, asked: Sequence[str], has: str
) -> None:
    write_recogniser(Path("run"), quantised(passes))
    done = run("compile", "run", *TO, "--weights", *asked)
    assert done.exit_code == 2
    said = " ".join(done.stderr.split())
    assert f"`run` was trained with {has}" in said
    assert f'--passes "quantize(weights={asked[0]}' in said
    assert not Path("a.asrc").exists()


@pytest.mark.parametrize("asked", [[], ["--weights", "5"]])
def test_an_artefact_has_the_bits_of_the_training(run: Run, asked: Sequence[str]) -> None:
    write_recogniser(Path("run"), quantised("substitute(), quantize(weights=5)"))
    done = run("compile", "run", *TO, *asked)
    assert done.exit_code == 0, done.output
    parts = unpack(Path("a.asrc").read_bytes(), "a")
    wanted = compiled(read_recogniser(Path("run")), [])
    assert {name for name in wanted if parts[name] != wanted[name]} == {"manifest.json"}
    manifest = json.loads(parts["manifest.json"])
    assert (manifest["bits"], manifest["options"]["weights"]) == (5, 5)


@pytest.mark.parametrize("asked", [[], ["--weights", "1"], ["--weights", "2", "--coded", "1"]])
def test_weights_of_less_than_a_bit_that_were_trained(run: Run, asked: Sequence[str]) -> None:
    write_recogniser(Path("run"), quantised("substitute(), quantize(weights=1)"))
    done = run("compile", "run", *TO, *asked)
    assert done.exit_code == 0, done.output
    parts = unpack(Path("a.asrc").read_bytes(), "a")
    wanted = compiled(read_recogniser(Path("run")), [])
    assert {name for name in wanted if parts[name] != wanted[name]} <= {"manifest.json"}
    shapes = {n: x.shape for n, x in load(parts["numbers.safetensors"]).items()}
    assert {x for n, x in shapes.items() if n.endswith(".codebook")} == {(2, 4)}
    assert run("compile", "run", *TO, "--weights", "1", "--coded", "1").exit_code == 2


@pytest.mark.parametrize("asked", [[], ["--weights", "1"]])
@pytest.mark.parametrize("passes", ["quantize(weights=2, coded=1)", "quantize(weights=1, coded=1)"])
def test_weights_of_a_bit_on_kernels(run: Run, passes: str, asked: Sequence[str]) -> None:
    """As they were trained: three values in two bits, or two in one."""
    write_recogniser(Path("run"), quantised(f"substitute(), {passes}"))
    done = run("compile", "run", "--target", "triton", "--out", "a.asrc", *asked)
    assert done.exit_code == 0, done.output
    weights = load(unpack(Path("a.asrc").read_bytes(), "a")["weights.safetensors"])
    before = read_recogniser(Path("run")).lowered.tensors()
    books = [name for name in weights if name.endswith(".codebook")]
    assert books
    assert all(np.array_equal(weights[name], before[name].numpy()) for name in books)


def test_bits_that_an_earlier_training_gave() -> None:
    """One bit was two values whatever the stream."""
    for has in ((1, None), (1, Fraction(1)), (2, Fraction(1))):
        _check_trained(Path("run"), [has], (1, None))
    with pytest.raises(UsageError, match="weights of 2 bits, which"):
        _check_trained(Path("run"), [(2, None)], (1, None))


def test_bits_of_what_no_training_quantised(run: Run, manifest: Path) -> None:
    """Asked for are bits of the rest alone."""
    write_recogniser(Path("run"), quantised("quantize(joint, weights=3)"))
    done = run("compile", "run", *TO, "--weights", "4", "--calibrate", str(manifest))
    assert done.exit_code == 0, done.output
    numbers = load(unpack(Path("a.asrc").read_bytes(), "a")["numbers.safetensors"])
    assert len(numbers["joint.out.dense.codebook"]) == 8
    assert len(numbers["encoder.Lstm.dense.codebook"]) == 16
