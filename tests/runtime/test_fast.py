"""A recogniser on Triton kernels, as one file: the words of the folder, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from asrc.cli.main import cli
from asrc.compiler.artefact import pack, unpack, write_artefact
from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.decode import GreedyDecoder
from asrc.runtime.decode.on_kernels import KernelDecoder
from asrc.runtime.fast import compiled_fast, narrowed, read_fast
from asrc.runtime.listener import Listener
from asrc.runtime.models import read_model
from asrc.runtime.recogniser import Recogniser, write_recogniser
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


def test_the_command_says_who_makes_what(tmp_path: Path) -> None:
    write_recogniser(tmp_path / "run", made())
    out = tmp_path / "a.asrc"
    command = ["compile", str(tmp_path / "run"), "--target", "triton", "--out", str(out)]
    shown = CliRunner().invoke(cli, [*command, "--weights", "4"], catch_exceptions=False)
    assert shown.exit_code == 0
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
