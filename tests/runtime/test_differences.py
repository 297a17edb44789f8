"""Where bytes of a compiled recogniser are, and where it leaves what it was compiled from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from safetensors.numpy import load, save

from asrc.backends.nna.program import Array
from asrc.backends.nna.saved import restored
from asrc.cli.main import cli
from asrc.compiler.artefact import read_artefact, write_artefact
from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.calibration import graph_inputs
from asrc.runtime.compiled import compiled
from asrc.runtime.differences import differences
from asrc.runtime.recogniser import Recogniser, write_recogniser
from asrc.runtime.sizes import sizes
from asrc.tests.runtime.test_listener import noise
from asrc.tests.runtime.test_recogniser import made

DENSE = "encoder.Lstm.dense"


@pytest.fixture(scope="module")
def model() -> Recogniser:
    return made()


@pytest.fixture(scope="module")
def artefact(model: Recogniser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    heard = [(noise(0.8, seed), "low high") for seed in range(3)]
    path = tmp_path_factory.mktemp("compiled") / "tiny.asrc"
    inputs = graph_inputs(model.lowered, model.vocabulary, heard)
    write_artefact(path, compiled(model, inputs, 5))
    return path


def changed(artefact: Path, path: Path, name: str, by: int) -> Path:
    """A copy in which the first code of a weight is another, and the LiteRT file is as it was."""
    parts = dict(read_artefact(artefact))
    constants = {n: x.copy() for n, x in load(parts["encoder.safetensors"]).items()}
    constants[name].flat[0] += by
    parts["encoder.safetensors"] = save(constants)
    write_artefact(path, parts)
    return path


def entropy(codes: Array) -> float:
    shares = np.unique(codes, return_counts=True)[1] / codes.size
    return float(-(shares * np.log2(shares)).sum())


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def test_bytes_are_those_of_the_types(artefact: Path) -> None:
    found = sizes(artefact)
    parts = read_artefact(artefact)
    for size in found.programs:
        constants = load(parts[f"{size.program}.safetensors"])
        assert size.stored == sum(x.nbytes for x in constants.values())
        weights = {n: x for n, x in constants.items() if n.endswith(".weight") and x.ndim == 4}
        assert size.weights == sum(x.size for x in weights.values())
        assert size.typed == sum(-(-x.size * 5 // 8) for x in weights.values())
        assert size.coded <= size.typed
        assert size.coded >= sum(x.size * entropy(x) / 8 for x in weights.values())
        assert size.values == max(len(np.unique(x)) for x in weights.values()) <= size.limit == 32
        assert size.file == len(parts[f"{size.program}.tflite"])
        assert size.beside >= 4 * sum(len(x) for n, x in constants.items() if n.endswith(".bias"))
    assert found.file == artefact.stat().st_size
    named = {
        f"{size.program}{end}" for size in found.programs for end in (".tflite", ".safetensors")
    }
    assert found.others.keys() | named == parts.keys()


def test_more_values_than_the_type_has(artefact: Path, tmp_path: Path) -> None:
    parts = dict(read_artefact(artefact))
    constants = {n: x.copy() for n, x in load(parts["encoder.safetensors"]).items()}
    many = constants[f"{DENSE}.weight"]
    many.flat[: 3 * 33] = np.arange(-49, 50)
    parts["encoder.safetensors"] = save(constants)
    write_artefact(tmp_path / "a.asrc", parts)
    with pytest.raises(AsrcError, match="its type allows 32"):
        sizes(tmp_path / "a.asrc")


def test_no_code_differs(artefact: Path, model: Recogniser) -> None:
    found = differences(artefact, noise(0.9, 7), model, model)
    assert found.litert is None
    assert found.training is None
    assert min(found.compared.values()) > 1000
    assert found.steps > 10
    assert found.snr.keys() >= {DENSE, "encoder.Lstm.h"}
    assert found.snr["encoder.Lstm.h"] > 5
    assert differences(artefact, noise(0.9, 7), None, None).compared.keys() == {"LiteRT"}


def test_the_first_that_differs_is_named(artefact: Path, model: Recogniser, tmp_path: Path) -> None:
    """One weight of the LSTM's map; what comes before it is as it was."""
    path = changed(artefact, tmp_path / "a.asrc", f"{DENSE}.weight", 60)
    found = differences(path, noise(0.9, 7), model, model)
    assert found.litert is not None
    assert found.litert.value == DENSE
    assert found.training is not None
    assert found.training.value == DENSE
    assert (found.litert.unit, found.training.unit) == ("step", "frame")
    assert found.training.at == found.litert.at - 1  # step 0 is before the first frame


def test_the_commands(artefact: Path, model: Recogniser, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(0.5, 3), model.rate)
    write_recogniser(tmp_path / "run", model)
    done = run("diff", artefact, tmp_path / "a.wav", "--run", tmp_path / "run", "--op", "--plain")
    assert done.exit_code == 0, done.output
    assert DENSE in done.output
    assert done.output.count("none") == 2
    other = changed(artefact, tmp_path / "b.asrc", f"{DENSE}.weight", 60)
    done = run("diff", other, tmp_path / "a.wav", "--json")
    assert done.exit_code == 1
    assert json.loads(done.output)["litert"]["value"] == DENSE
    done = run("size", artefact, "--json")
    assert done.exit_code == 0
    encoder = json.loads(done.output)["programs"]["encoder"]
    assert encoder["limit"] == 32
    assert encoder["alive"] > 0
    program = restored(read_artefact(artefact), "encoder").program
    assert sum(encoder["operators"].values()) == len(program.ops)
    assert run("size", artefact, "--plain").output.count("encoder") >= 1
    assert run("size", tmp_path / "a.wav").exit_code != 0
    done = run("diff", artefact, tmp_path / "a.wav", "--run", tmp_path / "none")
    assert done.exit_code == 3


def test_a_program_on_codes_from_a_file(artefact: Path, tmp_path: Path) -> None:
    """Golden inputs give golden outputs, here and on LiteRT; other inputs must fit."""
    golden = load(read_artefact(artefact)["encoder.golden.safetensors"])
    for extra in ([], ["--on", "litert"], ["--on", "triton"]):
        done = run("run", artefact, "encoder", "--out", tmp_path / "out", *extra)
        assert done.exit_code == 0, done.output
        made = load((tmp_path / "out").read_bytes())
        assert any(".state" in name for name in made)
        for key, codes in golden.items():
            step, _, name = key.partition("/out/")
            if name:
                assert np.array_equal(made[name][int(step)], codes)
    inputs = {
        key.removeprefix("0/in/"): codes[None]
        for key, codes in golden.items()
        if key.startswith("0/in/")
    }
    (tmp_path / "in").write_bytes(save(inputs))
    done = run("run", artefact, "encoder", "--inputs", tmp_path / "in", "--out", tmp_path / "out")
    assert "1 steps" in done.output
    first = next(iter(inputs))
    wrong = [
        {**inputs, first: inputs[first][0]},
        {**inputs, "more": inputs[first]},
        {name: codes for name, codes in inputs.items() if name != first},
    ]
    for given in wrong:
        (tmp_path / "in").write_bytes(save(given))
        arguments = ("--inputs", tmp_path / "in", "--out", tmp_path / "none", "--plain")
        done = run("run", artefact, "encoder", *arguments)
        assert "E1205" in done.output + done.stderr
    (tmp_path / "in").write_bytes(b"no file of tensors")
    done = run("run", artefact, "encoder", *arguments)
    assert "E1205" in done.output + done.stderr
    done = run("run", artefact, "encode", "--out", tmp_path / "none", "--plain")
    assert "did you mean `encoder`" in done.output + done.stderr
    assert not (tmp_path / "none").exists()
