"""A compiled recogniser: the same words however audio comes, and nothing else is taken for one."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.golden import Mismatch
from asrc.backends.nna.litert import LiteRt
from asrc.backends.nna.program import real
from asrc.backends.torch.lowered import Lowered
from asrc.backends.triton.exact_stream import ExactStream
from asrc.cli.main import cli
from asrc.compiler.artefact import pack, read_artefact, unpack, write_artefact
from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.calibration import graph_inputs
from asrc.runtime.compiled import Compiled, compiled, read_compiled
from asrc.runtime.contents import NAMES
from asrc.runtime.integer import IntegerSteps, IntegerTransducer
from asrc.runtime.listener import Listener
from asrc.runtime.models import read_model
from asrc.runtime.places import at
from asrc.runtime.recogniser import Recogniser, write_recogniser
from asrc.runtime.running import Running
from asrc.runtime.verified import verified
from asrc.runtime.vocabulary import build_vocabulary
from asrc.tests.backends.nna.models import ENCODERS, facts, utterance, weights
from asrc.tests.runtime.test_listener import in_blocks, noise
from asrc.tests.runtime.test_recogniser import made


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recogniser = made()
    with torch.no_grad():
        recogniser.lowered.tensors()["joint.out.dense.bias"][-1] = 0.4
    heard = [(noise(0.8, seed), "low high") for seed in range(3)]
    path = tmp_path_factory.mktemp("compiled") / "tiny.asrc"
    write_artefact(
        path, compiled(recogniser, graph_inputs(recogniser.lowered, recogniser.vocabulary, heard))
    )
    return path


@pytest.fixture(scope="module")
def tiny(artefact: Path) -> Compiled:
    return read_compiled(artefact)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=6), st.integers(0, 5))
def test_blocks_do_not_matter(tiny: Compiled, sizes: list[int], seed: int) -> None:
    """Nor does what was heard before."""
    samples, listener = noise(0.9, seed), Listener(tiny)
    wanted = in_blocks(Listener(tiny), samples, [])
    in_blocks(listener, noise(0.3, 77), [100])
    assert in_blocks(listener, samples, sizes) == wanted
    assert wanted


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("predictor", ["LstmPredictor(12, 16, width=8)", "Embed(8) |> Lstm(12)"])
def test_every_encoder_as_a_stream(encoder: str, predictor: str, tmp_path: Path) -> None:
    """As many frames as in float, near them, the same however audio comes; vectors hold."""
    found = Lowered(facts(encoder, predictor))
    with torch.no_grad():
        for name, tensor in found.tensors().items():
            tensor.copy_(torch.from_numpy(weights(encoder, predictor)[name]))
    recogniser = Recogniser(found.eval(), build_vocabulary("abcdefghijk", "characters"), {})
    heard = [(utterance(seed)["audio"][:, 0], "abc") for seed in range(3)]
    write_artefact(
        tmp_path / "a.asrc",
        compiled(recogniser, graph_inputs(recogniser.lowered, recogniser.vocabulary, heard)),
    )
    assert all(one.mismatch is None for one in verified(tmp_path / "a.asrc"))
    integers, floats = read_compiled(tmp_path / "a.asrc").run(), recogniser.run()
    audio = torch.from_numpy(utterance(9)["audio"])[None]
    whole, pieces = (codes(integers, audio, size) for size in (1 << 30, 333))
    assert torch.equal(whole, pieces)
    wanted = codes(floats, audio, 1 << 30)
    assert whole.shape == wanted.shape
    assert isinstance(integers.steps, IntegerSteps)
    tensor = integers.steps.encoder.program.tensors[integers.steps.codes]
    got = torch.from_numpy(real(whole.numpy(), tensor))
    assert (got - wanted).square().sum() < 0.03 * wanted.square().sum()


def codes(running: Running, audio: torch.Tensor, size: int) -> torch.Tensor:
    """All encoder frames that are there, `[frames, D]`."""
    running.steps.restart()
    with torch.no_grad():
        blocks = [running.steps.push({running.audio: part}) for part in audio.split(size, 1)]
        blocks.append(running.steps.finish())
    return torch.cat(
        [block[running.frames[0]].data[0][block[running.frames[0]].there[0]] for block in blocks]
    )


def test_a_beam_hears_it_too(tiny: Compiled) -> None:
    listener = Listener(tiny, beam=3)
    found = in_blocks(listener, noise(0.9, 1), [500])
    assert found
    assert len(listener.heard(2).best) == 2


def test_nothing_was_said(tiny: Compiled) -> None:
    assert Listener(tiny).finish().text == ""


def test_what_is_read_is_what_was_compiled(artefact: Path, tiny: Compiled) -> None:
    """Constants to the byte: the executor and LiteRT's own file agree on what was read."""
    parts = unpack(artefact.read_bytes(), "tiny")
    assert parts["encoder.tflite"][4:8] == b"TFL3"
    chance = np.random.default_rng(0)
    for lowered in tiny.programs.values():
        program = lowered.program
        given = {
            n: chance.integers(-128, 128, program.tensors[n].shape).astype(np.int8)
            for n in program.inputs
            if n not in program.states
        }
        ours, theirs = Executor(program).step(given), LiteRt(program).step(given)
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_golden_vectors(artefact: Path) -> None:
    verdicts = list(verified(artefact))
    assert [(one.program, one.runtime) for one in verdicts] == [
        (name, runtime) for name in NAMES for runtime in ("asrc", "LiteRT")
    ]
    assert all(one.mismatch is None and one.codes > 50 for one in verdicts)


def test_golden_vectors_name_what_differs(artefact: Path, tmp_path: Path) -> None:
    """The first tensor of the order in which operators run."""
    parts = unpack(artefact.read_bytes(), "tiny")
    golden = load(parts["encoder.golden.safetensors"])
    for tensor in ("encoder.Lstm.h", "encoder.Lstm.c"):
        golden[f"last/{tensor}"][..., 3] ^= 1
    parts["encoder.golden.safetensors"] = save(golden)
    (tmp_path / "a.asrc").write_bytes(pack(parts))
    found = [one.mismatch for one in verified(tmp_path / "a.asrc") if one.program == "encoder"]
    assert found == [Mismatch(7, "encoder.Lstm.c", 1)] * 2
    done = CliRunner().invoke(cli, ["verify", str(tmp_path / "a.asrc"), "--plain"])
    assert done.exit_code == 1
    assert "E1204" in done.stderr
    assert "`encoder.Lstm.c` of step 7" in done.stderr
    assert CliRunner().invoke(cli, ["verify", str(artefact)]).exit_code == 0


@pytest.mark.parametrize("more", [("--passes", "dce()"), ("--seed", "0"), ("--set", "a=1")])
def test_options_of_models(artefact: Path, more: tuple[str, str]) -> None:
    """An artefact cannot have them; without a word they would seem to have been heeded."""
    done = CliRunner().invoke(cli, ["verify", str(artefact), *more])
    assert done.exit_code == 2
    assert f"{more[0]} is for models" in done.stderr


def test_a_model_is_a_folder_or_a_file(artefact: Path, tmp_path: Path) -> None:
    write_recogniser(tmp_path / "r", made())
    assert isinstance(read_model(artefact), Compiled)
    assert not isinstance(read_model(tmp_path / "r"), Compiled)


@pytest.mark.parametrize(
    "part", ["manifest.json", "encoder.json", "joint.safetensors", "vocabulary"]
)
def test_a_part_is_missing(artefact: Path, tmp_path: Path, part: str) -> None:
    parts = unpack(artefact.read_bytes(), "tiny")
    del parts[part]
    (tmp_path / "a.asrc").write_bytes(pack(parts))
    with pytest.raises(AsrcError, match="E1201"):
        read_compiled(tmp_path / "a.asrc")


def test_another_kind_of_artefact(tmp_path: Path) -> None:
    (tmp_path / "a.asrc").write_bytes(pack({"manifest.json": b'{"kind": "something else"}'}))
    with pytest.raises(AsrcError, match="something else"):
        read_compiled(tmp_path / "a.asrc")


def test_without_the_extra(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "asrc.runtime.compiled")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.delitem(sys.modules, "asrc.backends.nna.tflite")
    with pytest.raises(AsrcError, match=r"E1203.*ai_edge_litert"):
        read_model(artefact)


@pytest.mark.parametrize("place", ["asrc", "triton"])
def test_rows_of_a_beam_are_decoded_at_once(
    tiny: Compiled, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of labels and states in one step, each as it is by itself."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    alone = tiny.run().model
    assert isinstance(alone, IntegerTransducer)
    predictor, joint = tiny.programs["predictor"], tiny.programs["joint"]
    width = joint.program.tensors[joint.program.inputs[0]].shape[-1]
    model = IntegerTransducer(predictor, joint, alone.row, alone.table, partial(at, place))
    chance = np.random.default_rng(3)
    frames = torch.from_numpy(chance.integers(-128, 128, (5, width)).astype(np.int8))
    tokens = torch.tensor([1, 2, 1, 3, 2])
    _, state = model.predictor_start(5)
    for _ in range(2):
        made, after = model.predictor_step(tokens, state)
        heads = model.joint({"e": frames}, made)
        for at_row in range(5):
            row = slice(at_row, at_row + 1)
            one, one_after = alone.predictor_step(
                tokens[row], {n: x[row] for n, x in state.items()}
            )
            assert torch.equal(one, made[row])
            assert all(torch.equal(one_after[n], x[row]) for n, x in after.items())
            assert torch.equal(alone.joint({"e": frames[row]}, one), heads[row])
        state, tokens = after, tokens.flip(0)


def test_the_same_integers_on_kernels(artefact: Path, tiny: Compiled, tmp_path: Path) -> None:
    """`--exact`: whole recordings, heard on Triton's kernels, code for code."""
    parts = read_artefact(artefact)
    manifest = json.loads(parts["manifest.json"]) | {"on": "triton"}
    path = tmp_path / "exact.asrc"
    write_artefact(path, parts | {"manifest.json": json.dumps(manifest).encode()})
    samples = noise(0.3, 5)
    kernels, ours = Listener(read_compiled(path)), Listener(tiny)
    assert in_blocks(kernels, samples, [700]) == in_blocks(ours, samples, [])
    model = read_compiled(path).run().model
    assert isinstance(model, IntegerTransducer)
    assert isinstance(model.predictor, ExactStream)
    assert {(v.runtime, v.mismatch) for v in verified(path)} == {
        ("asrc", None), ("LiteRT", None), ("Triton", None),
    }  # fmt: skip
