"""Where bytes of a compiled recogniser are, and where it leaves what it was compiled from."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result
from safetensors.numpy import load, save
from safetensors.torch import save as save_torch

from asrc.backends.nna.machine import machine
from asrc.backends.nna.program import Array, Op, Program, Tensor
from asrc.backends.nna.saved import restored
from asrc.backends.nna.tflite import tflite
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.weights import load_weights
from asrc.cli.main import cli
from asrc.compiler.artefact import read_artefact, write_artefact
from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.irread import parse_graph
from asrc.compiler.source import Source
from asrc.dsl.check import read_model, setting
from asrc.runtime.beside import Beside, Saturated
from asrc.runtime.calibration import graph_inputs
from asrc.runtime.compiled import compiled, for_machines, quantised_model, read_compiled
from asrc.runtime.decode import Token
from asrc.runtime.differences import differences, pairs_of, ratios
from asrc.runtime.listener import Listener
from asrc.runtime.opened import bounds
from asrc.runtime.recogniser import Recogniser, write_recogniser
from asrc.runtime.sizes import sizes
from asrc.runtime.vocabulary import build_vocabulary
from asrc.tests.runtime.test_listener import noise
from asrc.tests.runtime.test_recogniser import made
from asrc.tests.training.tiny import MODEL

DENSE = "encoder.Lstm.dense"
SAID, HEAD = "predictor.StatelessPredictor.dense", "joint.out.dense"
IN_BOTH = ("frame", 0)


@pytest.fixture(scope="module")
def model() -> Recogniser:
    return made()


@pytest.fixture(scope="module")
def artefact(model: Recogniser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_of(model, tmp_path_factory.mktemp("compiled") / "tiny.asrc", 5)


@pytest.fixture(scope="module")
def coarse(model: Recogniser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_of(model, tmp_path_factory.mktemp("compiled") / "coarse.asrc", 1)


def made_of(model: Recogniser, path: Path, bits: int) -> Path:
    heard = [(noise(0.8, seed), "low high") for seed in range(3)]
    inputs = graph_inputs(model.lowered, model.vocabulary, heard)
    write_artefact(path, compiled(model, inputs, bits))
    return path


def changed(artefact: Path, path: Path, name: str, by: int) -> Path:
    """A copy in which the first code of a weight is another, and the LiteRT file is as it was."""
    part, parts = f"{name.partition('.')[0]}.safetensors", dict(read_artefact(artefact))
    constants = {n: x.copy() for n, x in load(parts[part]).items()}
    constants[name].flat[0] += by
    parts[part] = save(constants)
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
    assert {name: part.own for name, part in found.parts.items()} == {
        name: len(data) for name, data in parts.items()
    }


def test_bytes_of_the_parts_are_the_file(artefact: Path) -> None:
    """Each at its place in the file; between them headers, behind them the digest."""
    found = sizes(artefact)
    packed = sum(part.packed for part in found.parts.values())
    assert packed + found.rest == found.file == artefact.stat().st_size
    trailer = 4 + 32 + len(b"asrc-artefact\n")
    headers = sum(30 + 46 + 2 * len(name) for name in found.parts) + 22
    assert found.rest == headers + trailer
    assert all(0 < part.packed for part in found.parts.values())
    assert found.parts["encoder.json"].packed < found.parts["encoder.json"].own


def test_an_artefact_tells_what_is_in_it(artefact: Path, tmp_path: Path) -> None:
    parts = for_machines(read_artefact(artefact), [machine("generic-8bit")])
    manifest = json.loads(parts["manifest.json"])
    manifest["host"]["decoding"] = "it is no value of the graph"
    parts["manifest.json"] = json.dumps(manifest).encode()
    write_artefact(tmp_path / "a.asrc", parts)
    told = json.loads(run("size", tmp_path / "a.asrc", "--json").output)
    assert told["host"]["encoder.mel.logmel"]["op"] == "logmel"
    assert told["host"]["decoding"] == {"op": None, "reason": "it is no value of the graph"}
    assert "no spectrum" in told["host"]["encoder.mel.logmel"]["reason"]
    assert told["estimates"] == json.loads(parts["estimates.json"])
    whole = sum(part["packed"] for part in told["parts"].values()) + told["rest"]
    assert whole == told["file"] == (tmp_path / "a.asrc").stat().st_size
    shown = run("size", tmp_path / "a.asrc", "--plain").output
    assert "encoder.mel.logmel\tlogmel\t" in shown
    assert "generic-8bit joint\tasrc\t" in shown
    assert f"sum: {whole:,} bytes" in shown
    assert "estimates" not in run("size", artefact, "--plain").output


def test_flash_and_dram_of_a_machine(artefact: Path, tmp_path: Path) -> None:
    """Whatever the artefact has; an older one has neither."""
    parts = for_machines(read_artefact(artefact), [machine("generic-8bit")])
    estimates = json.loads(parts["estimates.json"])
    flash = estimates["generic-8bit"]["encoder"]["flash"]
    old = dict(estimates["generic-8bit"]["joint"])
    del old["flash"], old["dram"], old["lacking"]
    estimates["generic-8bit"]["joint"] = old | {"elsewhere": 3}
    parts["estimates.json"] = json.dumps(estimates).encode()
    write_artefact(tmp_path / "a.asrc", parts)
    lines = run("size", tmp_path / "a.asrc", "--plain").output.splitlines()
    rows = {line.split("\t")[0]: line.split("\t") for line in lines}
    head = rows["estimates"]
    assert head[3:6] == ["KiB of SRAM", "of flash", "of DRAM"]
    assert rows["generic-8bit encoder"][4:6] == [f"{flash / 1024:.1f}", "0.0"]
    assert "generic-8bit joint\t3\tthe machine's description has none" in lines
    shown = next(line for line in lines if line.startswith("generic-8bit joint\tasrc"))
    assert shown.split("\t")[4:6] == ["-", "-"]


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
    compared = {name: one.compared for name, one in found.programs.items()}
    assert min(compared["encoder"].values()) > 1000
    codes = sum(op_sizes(artefact, "predictor")) * (len(found.labels) + 1)
    assert compared["predictor"] == {"LiteRT": codes, "training": codes}
    steps = found.programs["joint"].steps
    assert steps == 1 + found.programs["encoder"].steps - 2 + len(found.labels)
    codes = sum(op_sizes(artefact, "joint")) * steps
    assert compared["joint"] == {"LiteRT": codes, "training": codes}
    assert found.snr.keys() >= {DENSE, "encoder.Lstm.h", SAID, HEAD}
    assert found.snr["encoder.Lstm.h"] > 20
    assert found.snr["encoder.x.dense"] == found.snr["encoder.x.relu"] > 20
    alone = differences(artefact, noise(0.9, 7), None, None)
    assert {way for one in alone.programs.values() for way in one.compared} == {"LiteRT"}


def test_audio_of_which_nothing_is_made(artefact: Path, model: Recogniser) -> None:
    """Too short for a frame: there is nothing to meet in the joint, and nothing differs."""
    found = differences(artefact, noise(0.005, 0), model, model)
    assert (found.litert, found.training, found.labels) == (None, None, ())
    assert found.programs["joint"].steps == 0


def test_a_codebook_that_is_there_is_not_held_to_a_limit(model: Recogniser) -> None:
    """`--weights 5 --coded 4.5` of a model that was trained with four bits."""
    inputs = graph_inputs(model.lowered, model.vocabulary, [(noise(0.8, 0), "low high")])
    facts, weights = quantised_model(model, inputs, 4)
    trained = Lowered(facts)
    load_weights(trained, {n: torch.from_numpy(np.array(x)) for n, x in weights.items()}, "here")
    again, kept = quantised_model(replace(model, lowered=trained), (), 5, Fraction(9, 2))
    notes = [node.attrs for node in again.graph if "weights" in node.attrs]
    assert {(note["weights"], note.get("coded")) for note in notes} == {(4, None)}
    assert all(np.array_equal(kept[name], x) for name, x in weights.items())


def test_where_the_error_comes_in(artefact: Path, coarse: Path, model: Recogniser) -> None:
    """The first value of which a bit for each weight leaves less than 20 dB."""
    found = differences(coarse, noise(0.9, 7), model, model)
    low = [path for path, db in found.snr.items() if db < 20]
    assert found.noisy == low[0] == "encoder.x.dense"
    assert differences(artefact, noise(0.9, 7), model, model).noisy is None


def op_sizes(artefact: Path, name: str) -> list[int]:
    program = restored(read_artefact(artefact), name).program
    return [int(np.prod(program.tensors[op.output].shape)) for op in program.ops]


def test_values_of_which_few_frames_are_made(tmp_path: Path) -> None:
    """A stride behind them takes one in four; to show them all changes nothing of that."""
    text = MODEL.replace("stride(4) |> dense(24, bias=false) |> batchnorm", "dense(24)")
    source = Source("tiny.asr", text.replace("relu |> dropout(0.1)", "relu |> stride(4)"))
    vocabulary = build_vocabulary(["low middle high"], "words")
    facts = read_model(source, {"vocab": setting("vocab", str(vocabulary.size))}).facts
    assert facts is not None
    lowered = Lowered(facts)
    initialise(lowered, seed=3)
    model = Recogniser(lowered.eval(), vocabulary, {"model": "tiny"})
    inputs = graph_inputs(model.lowered, vocabulary, [(noise(0.8, 1), "low high")])
    write_artefact(tmp_path / "a.asrc", compiled(model, inputs, 5))
    found = differences(tmp_path / "a.asrc", noise(0.9, 7), model, None)
    assert found.training is None
    other = changed(tmp_path / "a.asrc", tmp_path / "b.asrc", "encoder.x.dense.weight", 60)
    found = differences(other, noise(0.9, 7), model, None)
    assert found.training is not None
    assert found.training.value == "encoder.x.dense"


def test_labels_are_those_that_the_programs_hear(artefact: Path) -> None:
    listener = Listener(read_compiled(artefact))
    listener.push(noise(0.9, 7))
    wanted = listener.finish().best[0]
    assert differences(artefact, noise(0.9, 7), None, None).labels == wanted.ids
    tokens = [Token(5, 1, 0, 0), Token(6, 1, 0, 0), Token(7, 2, 0, 0)]
    assert pairs_of(tokens, 4) == [(0, 0), (1, 0), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3)]


@pytest.mark.parametrize(("value", "by"), [("predictor", -60), ("joint", 60)])
def test_the_first_of_each_program(
    artefact: Path, model: Recogniser, tmp_path: Path, value: str, by: int
) -> None:
    """The joint on frames and labels of the programs: what comes before it is as it was."""
    path = {"predictor": SAID, "joint": HEAD}[value]
    other = changed(artefact, tmp_path / "a.asrc", f"{path}.weight", by)
    found = differences(other, noise(0.9, 7), model, None)
    for first in (found.litert, found.training):
        assert first is not None
        assert first.value == path
        assert (first.unit, first.label) == (("label", None) if value == "predictor" else IN_BOTH)
    others = [one for name, one in found.programs.items() if name != value]
    assert all(one.litert is one.training is None for one in others)


def test_ratios_of_what_is_clipped_on_purpose() -> None:
    ours = {"a": np.array([0.0, 2.0]), "b": np.array([8.0, 1.0]), "c": np.array([0.0])}
    floats = {"a": np.array([-5.0, 2.2]), "b": np.array([30.0, 1.1]), "c": np.array([0.0])}
    found = ratios(ours, floats, {"a": (0.0, np.inf), "b": (-8.0, 8.0)})
    assert found == pytest.approx({"a": 20.83, "b": 38.14}, abs=0.01)
    found = ratios(ours, floats, {})
    assert max(found.values()) < 8


def test_bounds_are_found_in_the_graph(artefact: Path) -> None:
    found = bounds(parse_graph(read_artefact(artefact)["model.asrir"].decode(), "model.asrir"))
    assert found["encoder.x.dense"] == found["encoder.x.relu"] == (0.0, np.inf)
    assert found[DENSE] == found["encoder.Lstm.i"] == (-8.0, 8.0)
    assert "encoder.dense" not in found


def test_saturated_codes_of_what_is_rectified() -> None:
    """Below zero nothing is lost."""
    x = Tensor("x", (1, 1, 1, 6), "int16", 1.0)
    y, z = (Tensor(name, (1, 1, 1, 6), "int8", 1.0, -128) for name in "yz")
    ops = (Op("requantise", ("x",), "y"), Op("reshape", ("y",), "z"))
    program = Program("p", {"x": x, "y": y, "z": z}, ops, ("x",), ("z",))
    codes = np.array([-9, -1, 0, 255, 256, 3000], np.int16).reshape(x.shape)
    for rectified, count in (({"y"}, 2), (set[str](), 4)):
        beside = Beside(program, tflite(program), rectified)
        for _ in range(2):
            beside.step({"x": codes})
        (one,) = beside.saturation().values()
        assert one == Saturated(2 * count, count / 6, ("reshape",))
        assert beside.first is None


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


def test_the_commands(artefact: Path, coarse: Path, model: Recogniser, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(0.5, 3), model.rate)
    write_recogniser(tmp_path / "run", model)
    done = run("diff", artefact, tmp_path / "a.wav", "--run", tmp_path / "run", "--op", "--plain")
    assert done.exit_code == 0, done.output
    assert DENSE in done.output
    assert done.output.count("none") == 6
    assert "below 20 dB" not in done.output
    noisy = run("diff", coarse, tmp_path / "a.wav", "--run", tmp_path / "run", "--plain")
    assert "the first below 20 dB: encoder." in noisy.output
    assert "saturated\tcodes\tshare\tread by" in done.output
    other = changed(artefact, tmp_path / "b.asrc", f"{DENSE}.weight", 60)
    done = run("diff", other, tmp_path / "a.wav", "--json")
    assert done.exit_code == 1
    told = json.loads(done.output)
    assert told["litert"]["value"] == DENSE
    assert told["training"] is None
    assert told["programs"]["encoder"]["litert"] == told["litert"]
    assert told["programs"]["encoder"]["saturated"].keys() >= {"encoder.Lstm.c.there.as_int8"}
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


def test_ratios_need_what_was_compiled(artefact: Path, model: Recogniser, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(0.5, 3), model.rate)
    for extra in (["--op"], ["--op", "--json"], ["--float", tmp_path / "run"]):
        done = run("diff", artefact, tmp_path / "a.wav", *extra)
        assert done.exit_code == 2
        said = " ".join(done.output.split())
        assert f"{extra[0]} is about the model in training" in said
        assert "give --run and the folder that was compiled" in said


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


def test_inputs_are_told_as_they_are_and_as_they_must_be(artefact: Path, tmp_path: Path) -> None:
    """Arrays without a step, of another shape or type, for different numbers of steps or none."""
    program = restored(read_artefact(artefact), "encoder").program
    fed = [program.tensors[name] for name in program.inputs if name not in program.states]
    fits = {t.name: np.zeros((2, *t.shape), t.dtype) for t in fed}
    first = fed[0]
    must = f"it must be int8 [steps, {', '.join(map(str, first.shape))}]"
    wrong: dict[str, Array] = {
        "is int8 [], ": np.array(1, np.int8),
        "is int8 [2], ": np.zeros(2, np.int8),
        "is float32 [2, ": np.zeros((2, *first.shape), np.float32),
        "is int8 [2, 1, ": np.zeros((2, *first.shape[:-1], 3), np.int8),
    }
    for said, codes in wrong.items():
        told = refused_inputs(artefact, tmp_path, {**fits, first.name: codes})
        assert f"`{first.name}` {said}" in told
        assert must in told
    scalars = dict.fromkeys(fits, np.array(1, np.int8))
    assert refused_inputs(artefact, tmp_path, scalars).count("is int8 []") == len(fits)
    more = {**fits, first.name: np.zeros((3, *first.shape), first.dtype)}
    assert f"`{first.name}` for 3" in refused_inputs(artefact, tmp_path, more)
    none = {name: codes[:0] for name, codes in fits.items()}
    assert "no step" in refused_inputs(artefact, tmp_path, none)
    assert f"`{first.name}` is missing" in refused_inputs(artefact, tmp_path, {})


def refused_inputs(artefact: Path, folder: Path, given: dict[str, Array]) -> str:
    (folder / "in").write_bytes(save(given))
    paths = ("--inputs", folder / "in", "--out", folder / "none")
    done = run("run", artefact, "encoder", *paths, "--plain")
    assert done.exit_code == 1, done.exception
    assert "error[E1205]" in done.stderr
    assert not (folder / "none").exists()
    return done.stderr


def test_inputs_in_a_type_that_numpy_has_not(artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(save_torch({"x": torch.zeros(2, dtype=torch.bfloat16)}))
    paths = ("--inputs", tmp_path / "in", "--out", tmp_path / "none")
    done = run("run", artefact, "encoder", *paths, "--plain")
    assert "error[E1205]" in done.stderr
    assert "help:" in done.stderr


def test_without_golden_vectors_inputs_are_asked_for(artefact: Path, tmp_path: Path) -> None:
    """The program is there; with inputs it runs."""
    parts = dict(read_artefact(artefact))
    golden = load(parts.pop("encoder.golden.safetensors"))
    path = tmp_path / "a.asrc"
    write_artefact(path, parts)
    done = run("run", path, "encoder", "--out", tmp_path / "out", "--plain")
    assert done.exit_code == 1
    assert "error[E1205]" in done.stderr
    assert "no golden vectors of `encoder`" in done.stderr
    program = restored(parts, "encoder").program
    for name in (name for name in program.inputs if name not in program.states):
        assert f"`{name}` int8 [steps, 1, " in done.stderr
    assert "no program" not in done.stderr
    inputs = {k.removeprefix("0/in/"): x[None] for k, x in golden.items() if k.startswith("0/in/")}
    (tmp_path / "in").write_bytes(save(inputs))
    done = run("run", path, "encoder", "--inputs", tmp_path / "in", "--out", tmp_path / "out")
    assert "1 steps" in done.output
    assert run("run", path, "joint", "--out", tmp_path / "out").exit_code == 0
