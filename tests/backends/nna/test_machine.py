"""Machines: their descriptions, and programs that Vela puts on the accelerator as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from asrc.backends.nna.build import Builder
from asrc.backends.nna.filters import Filter
from asrc.backends.nna.formats import Code
from asrc.backends.nna.machine import Vela, machine, machines, smallest, vela
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


def test_two_values_take_a_bit_where_size_comes_first() -> None:
    """Ethos-U85 reads up to four values in two bits each otherwise, which is faster."""
    program = two_values()
    fast, small = machine("ethos-u85-512"), smallest(machine("ethos-u85-512"))
    assert vela(program, fast)[1].bits == pytest.approx(2.0, abs=0.05)
    assert vela(program, small)[1].bits == pytest.approx(1.0, abs=0.05)


def two_values() -> bytes:
    """One product with weights of 1 and -1 at random."""
    build, code = Builder("step"), Code("int8", 0.1)
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (256, 1, 1, 256))
    weights = Filter(signs, np.full(256, 0.1, np.float32))
    build.outputs.append(build.conv("y", build.input("x", (1, 1, 1, 256), code), weights, code))
    return tflite(build.program())


def test_what_a_machine_is_optimised_for() -> None:
    plain = machine("generic-8bit")
    assert smallest(plain) is plain
    with pytest.raises(ValueError, match="Size"):
        Vela("ethos-u55-256", "system", "memory", "size")


def test_what_vela_does_not_take() -> None:
    with pytest.raises(AsrcError, match="E0704"):
        vela(b"no program", machine("ethos-u55-256"))
