"""`asrc verify`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from asrc.backends.torch import contract
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.trial import Finding, Trial
from asrc.backends.torch.weights import write_tensors
from asrc.tests.training.tiny import MODEL, build

from .helpers import Run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "tiny.asr").write_text(MODEL)
    return tmp_path / "tiny.asr"


def test_a_model_that_keeps_it(run: Run, model: Path) -> None:
    done = run("verify", "tiny.asr", "--json")
    found = json.loads(done.stdout)["checks"]
    assert done.exit_code == 0
    assert len(found) == len(contract.CHECKS)
    assert all(f["ok"] and f["difference"] <= 1e-4 for f in found)


def test_weights_of_a_users_own(run: Run, model: Path) -> None:
    lowered = Lowered(build(8))
    initialise(lowered, seed=5)
    write_tensors(model.with_name("w.safetensors"), lowered.tensors())
    assert run("verify", "tiny.asr", "--weights", "w.safetensors").exit_code == 0
    done = run("verify", "tiny.asr", "--set", "vocab=9", "--weights", "w.safetensors")
    assert done.exit_code == 1
    assert "error[E1006]" in done.stderr


def test_what_cannot_be_streamed(run: Run, model: Path) -> None:
    text = MODEL.replace("out x |> Lstm(24)", "y = attend(2)(x, x, x)\n  out y |> Lstm(24)")
    model.write_text(text)
    done = run("verify", "tiny.asr")
    assert done.exit_code == 1
    assert "error[E0303]" in done.stderr


def test_a_mean_over_the_whole_stream(run: Run, model: Path) -> None:
    text = MODEL.replace(
        "out x |> Lstm(24)", "out speaker = x |> mean\n  out words = x |> Lstm(24)"
    )
    model.write_text(text.replace("e=encoder", "e=encoder.words"))
    done = run("verify", "tiny.asr")
    assert done.exit_code == 1
    assert "error[E0303]: `encoder.speaker` cannot be streamed" in done.stderr
    assert "`RunningMean` in `std.conv`" in done.stderr


def test_values_of_parameters_alone_and_losses(run: Run, model: Path) -> None:
    """An output that no input reaches is made once; a loss is no part of the stream."""
    more = "out x |> Lstm(24) |> dense(16)\n  loss dense_ = x |> mean"
    text = MODEL.replace("out x |> Lstm(24) |> dense(16)", more.replace("out", "out words ="))
    text = text.replace("e=encoder", "e=encoder.words")
    model.write_text(text.replace("  loss", "  out codes = weight[8]\n  loss"))
    done = run("verify", "tiny.asr")
    assert done.exit_code == 0, done.stderr


def test_a_broken_contract(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(trial: Trial, exact: bool = True) -> list[Finding]:
        return [Finding("padding", 0.5, 1e-4, "`encoder` differs by 0.5 at frame 3")]

    monkeypatch.setattr(contract, "run_contract", broken)
    done = run("verify", "tiny.asr")
    assert done.exit_code == 1
    assert "error[E1101]" in done.stderr
    assert "at frame 3" in done.stderr


@pytest.mark.parametrize(
    ("passes", "mistake"),
    [
        ("dce()", True),
        ("quantize()", False),
        ("quantize(joint)", False),
        ("quantize(activations=false)", True),
        ("substitute(), quantize()", True),
    ],
)
def test_what_helps_against_rounding(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, passes: str, mistake: bool
) -> None:
    """Float sums that are rounded to codes may differ, and nobody need report it."""
    found = Finding("padding", 0.5, 1e-4, "`encoder` differs")
    monkeypatch.setattr(contract, "run_contract", lambda trial, exact=True: [found])
    done = run("verify", "tiny.asr", "--passes", passes)
    assert done.exit_code == 1
    said = " ".join(done.stderr.split())
    assert ("this is a mistake in asrc" in said) is mistake
    assert ("run `substitute()` first" in said) is not mistake


def test_without_pytorch(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    done = run("verify", "tiny.asr")
    assert done.exit_code == 1
    assert "error[E1102]" in done.stderr
    assert "pip install" in done.stderr
