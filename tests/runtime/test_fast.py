"""A recogniser on Triton kernels, as one file: the words of the folder, and what is refused."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from safetensors.torch import load

from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.cli.main import cli
from asrc.compiler.artefact import pack, unpack, write_artefact
from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.compiler.facts.numbers import bits_of
from asrc.passes.quantize import Quantize
from asrc.runtime.decode import GreedyDecoder
from asrc.runtime.decode.on_kernels import KernelDecoder
from asrc.runtime.fast import compiled_fast, narrow, narrowed, placed, read_fast, rounds
from asrc.runtime.listener import Listener
from asrc.runtime.models import read_model
from asrc.runtime.places import kernel_device
from asrc.runtime.recogniser import Recogniser, write_recogniser
from asrc.tests.backends.torch.zoo import SMALL, cases, facts
from asrc.tests.runtime.test_listener import noise
from asrc.tests.runtime.test_recogniser import made
from asrc.training.cache import AudioCache
from asrc.training.manifest import Utterance
from asrc.training.recognise import recognise

pytest.importorskip("triton")
pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="it would run there"),
    pytest.mark.filterwarnings("ignore:overflow encountered in exp"),
]


def talkative() -> Recogniser:
    recogniser = made()
    with torch.no_grad():
        recogniser.lowered.tensors()["joint.out.dense.bias"][-1] = 0.4
    return recogniser


def said(recogniser: Recogniser, samples: np.ndarray) -> str:
    listener = Listener(recogniser)
    listener.push(samples)
    return listener.finish().text


@pytest.mark.parametrize("bits", [None, 3])
def test_it_says_what_the_folder_says(tmp_path: Path, bits: int | None) -> None:
    recogniser, samples = talkative(), noise(0.5, 1)
    write_artefact(tmp_path / "a.asrc", compiled_fast(recogniser, bits))
    found = read_model(tmp_path / "a.asrc")
    assert isinstance(found, Recogniser)
    plain = recogniser if bits is None else narrowed(recogniser, bits)
    assert said(found, samples) == said(plain, samples) != ""
    assert found.rate == recogniser.rate


@pytest.mark.parametrize("bits", [None, 4])
def test_products_in_a_half_type(tmp_path: Path, bits: int | None) -> None:
    """The same words; weights of products in half as many bytes, all else as it was."""
    recogniser, samples = talkative(), noise(0.5, 1)
    whole = compiled_fast(recogniser, bits)
    parts = compiled_fast(recogniser, bits, "float16")
    write_artefact(tmp_path / "a.asrc", parts)
    found = read_model(tmp_path / "a.asrc")
    assert isinstance(found, Recogniser)
    plain = recogniser if bits is None else narrowed(recogniser, bits)
    assert said(found, samples) == said(plain, samples) != ""
    before, after = (load(x["weights.safetensors"]) for x in (whole, parts))
    halved = {name for name in after if after[name].dtype == torch.float16}
    assert {name: x.dtype for name, x in after.items() if name not in halved} == {
        name: x.dtype for name, x in before.items() if name not in halved
    }
    assert (halved == set()) == (bits is not None)
    if bits is None:
        assert {"joint.out.dense.weight"} < halved
        assert not any("bias" in name or "norm" in name or "embed" in name for name in halved)


def test_a_precision_that_is_none(tmp_path: Path) -> None:
    parts = compiled_fast(made())
    manifest = json.loads(parts["manifest.json"])
    for wrong in ("float8", 16, None):
        parts["manifest.json"] = json.dumps({**manifest, "precision": wrong}).encode()
        (tmp_path / "a.asrc").write_bytes(pack(parts))
        with pytest.raises(AsrcError, match="precision") as error:
            read_fast(tmp_path / "a.asrc")
        assert error.value.diagnostics[0].code == "E1201"
    del manifest["precision"]  # files from before there was one
    parts["manifest.json"] = json.dumps(manifest).encode()
    (tmp_path / "a.asrc").write_bytes(pack(parts))
    assert read_fast(tmp_path / "a.asrc").lowered.precision is None  # type: ignore[attr-defined]


def test_the_command_says_who_makes_what(tmp_path: Path) -> None:
    write_recogniser(tmp_path / "run", made())
    out = tmp_path / "a.asrc"
    command = ["compile", str(tmp_path / "run"), "--target", "triton", "--out", str(out)]
    shown = CliRunner().invoke(cli, [*command, "--weights", "4"], catch_exceptions=False)
    assert shown.exit_code == 0
    refused = ["compile", str(tmp_path / "run"), "--target", "nna", "--out", str(out)]
    wrong = CliRunner().invoke(cli, [*refused, "--precision", "float16"])
    assert wrong.exit_code == 2
    assert "--precision is for --target triton" in wrong.output
    assert "linear" in shown.output
    assert "lstm" in shown.output
    assert "PyTorch" not in shown.output
    plain = CliRunner().invoke(cli, [*command, "--json"], catch_exceptions=False)
    kernels = json.loads(plain.output)["kernels"]
    assert kernels["frames"].keys() >= {"encoder.x.logmel"} or kernels["frames"]
    assert json.loads(unpack(out.read_bytes(), "a")["manifest.json"])["kernels"] == kernels


def test_exact_integers(tmp_path: Path) -> None:
    """The programs of the accelerator, for kernels: the same parts but for where they run."""
    write_recogniser(tmp_path / "run", made())
    soundfile.write(tmp_path / "a.wav", noise(0.4, 3), made().rate)
    line = json.dumps({"audio_filepath": str(tmp_path / "a.wav"), "text": "low", "duration": 0.4})
    (tmp_path / "heard.jsonl").write_text(line + "\n")
    found = {}
    for name, target in (("nna", ["nna"]), ("fast", ["triton", "--exact"])):
        out = str(tmp_path / f"{name}.asrc")
        command = ["compile", str(tmp_path / "run"), "--calibrate", str(tmp_path / "heard.jsonl")]
        done = CliRunner().invoke(cli, [*command, "--target", *target, "--out", out])
        assert done.exit_code == 0, done.output
        found[name] = unpack(Path(out).read_bytes(), out)
    differing = {name for name in found["nna"] if found["nna"][name] != found["fast"][name]}
    assert differing == {"manifest.json"}
    assert json.loads(found["fast"]["manifest.json"])["on"] == "triton"
    refused = CliRunner().invoke(cli, [*command, "--target", "nna", "--exact", "--out", out])
    assert refused.exit_code == 2


def test_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_artefact(tmp_path / "a.asrc", compiled_fast(made()))
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(AsrcError, match="no GPU") as error:
        read_model(tmp_path / "a.asrc")
    assert error.value.diagnostics[0].code == "E1206"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asrc.backends.triton.lowering", None)
    with pytest.raises(AsrcError, match="is missing") as error:
        compiled_fast(made())
    assert error.value.diagnostics[0].code == "E1206"


def test_parts_that_are_not_there(tmp_path: Path) -> None:
    parts = compiled_fast(made())
    del parts["weights.safetensors"]
    (tmp_path / "a.asrc").write_bytes(pack(parts))
    with pytest.raises(AsrcError, match="holds no recogniser") as error:
        read_fast(tmp_path / "a.asrc")
    assert error.value.diagnostics[0].code == "E1201"


def test_labels_are_found_on_kernels(tmp_path: Path) -> None:
    """In a stream and in batches of whole utterances, as on the host."""
    recogniser = talkative()
    write_artefact(tmp_path / "a.asrc", compiled_fast(recogniser))
    found = read_model(tmp_path / "a.asrc")
    assert isinstance(found, Recogniser)
    assert isinstance(Listener(found).greedy, KernelDecoder)
    assert isinstance(Listener(recogniser).greedy, GreedyDecoder)
    for seed in range(2):
        soundfile.write(tmp_path / f"{seed}.wav", noise(0.3 + 0.2 * seed, seed), found.rate)
    heard = [Utterance(f"u{seed}", tmp_path / f"{seed}.wav", "low", 0.5) for seed in range(2)]
    texts = [
        [one.text for one in recognise(each.lowered, each.vocabulary, heard, AudioCache(each.rate))]
        for each in (found, recogniser)
    ]
    assert texts[0] == texts[1]
    assert all(texts[0])


# --- every model -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "pipeline"), cases(SMALL))
def test_weights_of_few_bits_in_every_model(name: str, pipeline: str | None) -> None:
    """Learned constants, too, of which no ranges are taken where values stay in float; a graph that
    has bits of its own keeps these."""
    lowered = Lowered(facts(name, pipeline)).eval()
    initialise(lowered, seed=1)
    found = narrow(lowered, 4)
    assert placed(found)
    wanted = {n.path for n in found.facts.graph if bits_of(n) == 4 and n.owner is None}
    books = {n for n in found.tensors() if n.endswith(".codebook")}
    assert books == {f"{path}.codebook" for path in wanted}
    assert bool(books) == (pipeline != "nna")


# --- models that were trained in bits --------------------------------------------------------


def rounded() -> Recogniser:
    """After `quantize`: values have formats."""
    graph, _ = Quantize(weights=5).run(made().facts.graph, None)
    recogniser = narrowed(made(), 5)
    return replace(recogniser, lowered=Lowered(Facts(graph)).eval())


def test_steps_that_ask_the_host_are_not_recorded() -> None:
    assert rounds(rounded().facts.graph)
    assert not rounds(made().facts.graph)
    assert not rounds(narrowed(made(), 5).facts.graph)


def test_other_bits_than_those_of_its_training(tmp_path: Path) -> None:
    write_recogniser(tmp_path / "run", narrowed(made(), 5))
    out = tmp_path / "a.asrc"
    command = ["compile", str(tmp_path / "run"), "--target", "triton", "--out", str(out)]
    done = CliRunner().invoke(cli, [*command, "--weights", "3"])
    assert done.exit_code == 2
    assert "was trained with weights of 5 bits" in " ".join(done.stderr.split())
    assert not out.exists()
    assert CliRunner().invoke(cli, [*command, "--weights", "5"]).exit_code == 0


@pytest.mark.parametrize("option", ["--calibrate", "--machine"])
def test_what_is_for_integers(tmp_path: Path, option: str) -> None:
    write_recogniser(tmp_path / "run", made())
    command = ["compile", str(tmp_path / "run"), "--target", "triton", "--out", "a.asrc"]
    done = CliRunner().invoke(cli, [*command, option, "none"])
    assert done.exit_code == 2
    assert f"{option} is for integer programs" in " ".join(done.stderr.split())


# --- damaged files ---------------------------------------------------------------------------


def test_parts_of_another_model(tmp_path: Path) -> None:
    parts = compiled_fast(made())
    fewer = json.loads(parts["vocabulary"])
    fewer["labels"].pop()
    graph = parts["model.asrir"].decode()
    damages = {
        "vocabulary": json.dumps(fewer).encode(),
        "manifest.json": b"[" * 100_000,
        "model.asrir": re.sub(r"token\[\d+\]", "token[99999999999]", graph).encode(),
    }
    assert damages["model.asrir"].decode() != graph
    for name, data in damages.items():
        (tmp_path / "a.asrc").write_bytes(pack(parts | {name: data}))
        with pytest.raises(AsrcError, match=f"E1201.*{name}"):
            read_model(tmp_path / "a.asrc")


def test_the_interpreter_is_taken_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert kernel_device().type == "cpu"
    monkeypatch.delenv("TRITON_INTERPRET")
    assert kernel_device().type == "cuda"
