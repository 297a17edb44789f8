"""Training in float16: the loss is scaled, and the scale goes on as the weights do."""

from __future__ import annotations

import shutil
from math import isfinite
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from asrc.tests.training.tiny import corpus, job
from asrc.training.checkpoint import latest, listed
from asrc.training.job import train
from asrc.training.optimise import Updater
from asrc.training.processes import Processes
from asrc.training.scaling import Scaling

CPU = torch.device("cpu")


def kept(out: Path) -> dict[str, Tensor]:
    found = latest(out / "checkpoints")
    assert found is not None
    return {f"{g}.{n}": x for g, tensors in found.tensors.items() for n, x in tensors.items()}


def run(manifest: Path, out: Path, precision: str) -> None:
    task = job(manifest, out, 20, precision=precision)
    train(task, Processes(), lambda line: None, lambda update, numbers: None)


def test_a_resumed_run_has_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With gradients that overflow at first and a scale that grows again every four updates."""
    made = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *a, **k: made(*a, growth_interval=4, **k))
    manifest, out = corpus(tmp_path / "data"), tmp_path / "out"
    run(manifest, out, "float16")
    whole = kept(out)
    assert whole["scaling.scale"] != 2.0**16
    for place in listed(out / "checkpoints"):
        if int(place.name.removeprefix("update-")) > 10:
            shutil.rmtree(place)
    run(manifest, out, "float16")
    again = kept(out)
    assert all(torch.equal(again[name], x) for name, x in whole.items())


def test_the_optimiser_sees_gradients_without_the_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of float32, nearly, in a training that makes no update."""
    manifest, norms = corpus(tmp_path / "data"), []

    def noted(self: Updater) -> bool:
        norms.append([float(x.grad.norm()) for x in self.clipped if x.grad is not None])
        return False

    monkeypatch.setattr(Updater, "gradients_are_finite", noted)
    for precision in ("float32", "float16"):
        task = job(manifest, tmp_path / precision, 8, precision=precision)
        train(task, Processes(), lambda line: None, lambda update, numbers: None)
    pairs = list(zip(norms[:8], norms[8:], strict=True))
    finite = [(one, other) for one, other in pairs if all(map(isfinite, other))]
    assert len(finite) >= 3
    for one, other in finite:
        assert other == pytest.approx(one, rel=0.02, abs=1e-3)


def test_a_scale_shrinks_with_what_overflows() -> None:
    x = nn.Parameter(torch.ones(1))
    optimiser, scaling = torch.optim.SGD([x]), Scaling(torch.float16, CPU)
    scaling.scaled((x * torch.inf).sum()).backward()  # type: ignore[no-untyped-call]
    scaling.undo(optimiser)
    scaling.adapt()
    assert scaling.tensors()["scaling"]["scale"] == 2.0**15
    other = Scaling(torch.float16, CPU)
    other.restore(scaling.tensors())
    assert other.tensors() == scaling.tensors()
    assert float(other.scaled(torch.ones(()))) == 2.0**15


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_others_have_no_scale(precision: torch.dtype) -> None:
    scaling = Scaling(precision, CPU)
    assert float(scaling.scaled(torch.ones(()))) == 1.0
    assert scaling.tensors() == {}
