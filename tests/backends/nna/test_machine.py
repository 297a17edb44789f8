"""Machines: their descriptions, and programs that Vela puts on the accelerator as a whole."""

from __future__ import annotations

import pytest

from asrc.backends.nna.machine import machine, machines, vela
from asrc.backends.nna.tflite import tflite
from asrc.compiler.diagnostics import AsrcError
from asrc.tests.backends.nna.models import ENCODERS, programs


def test_descriptions() -> None:
    assert {"ethos-u55-128", "ethos-u55-256", "ethos-u65-512", "ethos-u85-512"} <= machines().keys()
    assert all(one.name == name and one.summary for name, one in machines().items())


def test_an_unknown_machine() -> None:
    with pytest.raises(AsrcError, match=r"E0702.*ethos-u56") as error:
        machine("ethos-u56-256")
    assert "ethos-u55-256" in error.value.diagnostics[0].help[0]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("on", ["ethos-u55-256", "ethos-u85-512"])
def test_everything_is_on_the_accelerator(encoder: str, on: str) -> None:
    for part in ("encoder", "predictor", "joint"):
        lowered = getattr(programs(encoder), part)
        made, estimate = vela(tflite(lowered.program), machine(on))
        assert made[4:8] == b"TFL3"
        assert estimate.elsewhere == 0
        assert estimate.operators > 0
        assert estimate.seconds > 0


def test_what_vela_does_not_take() -> None:
    with pytest.raises(AsrcError, match="E0704"):
        vela(b"no program", machine("ethos-u55-256"))
