"""Programs as TOSA: every operator that it has, and on its reference model where that is there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.golden import random_inputs
from asrc.backends.nna.lower import Lowered
from asrc.backends.nna.recipes import RECIPES
from asrc.backends.nna.tosa import ROWS, tosa
from asrc.backends.nna.tosamodel import TosaModel
from asrc.tests.backends.nna import test_kernels
from asrc.tests.backends.nna.models import programs

TOOL = shutil.which("tosa_reference_model")
REFERENCE = pytest.mark.skipif(TOOL is None, reason="tosa-tools are not installed beside asrc")


def test_all_but_the_softmax() -> None:
    assert RECIPES.keys() - ROWS.keys() == {"softmax"}
    with pytest.raises(ValueError, match="TOSA has no `softmax`"):
        tosa(next(test_kernels.programs("softmax", 1))[0])


@pytest.mark.parametrize("encoder", ["planes", "ahead", "turns", "convolutions"])
def test_the_text_is_the_program(encoder: str) -> None:
    """Each value is defined once and before it is read; rounding is written; names are kept."""
    program = programs(encoder).encoder.program
    text = tosa(program)
    known = set(re.findall(r"(%arg\d+):", text))
    for line in text.splitlines()[2:-3]:
        made, _, rest = line.strip().partition(" = ")
        read = set(re.findall(r"%\w+", rest)) if rest else set(re.findall(r"%\w+", made))
        assert read <= known, line
        assert made not in known
        known.add(made)
    rescaled = text.count("tosa.rescale")
    assert rescaled == text.count("DOUBLE_ROUND") > len(program.ops) / 3
    assert text.count("tosa.tensor_name") == len(program.inputs) + len(program.outputs)
    convolutions = sum(op.kind in ("conv", "depthwise") for op in program.ops)
    assert text.count("conv2d %") == convolutions


@REFERENCE
@pytest.mark.parametrize("kind", sorted(ROWS))
def test_operators_on_the_reference_model(kind: str, tmp_path: Path) -> None:
    assert TOOL is not None
    for n, (program, inputs) in enumerate(test_kernels.programs(kind, 3)):
        (tmp_path / str(n)).mkdir()
        theirs = TosaModel(program, Path(TOOL).parent, tmp_path / str(n)).step(inputs)
        ours = Executor(program).step(inputs)
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@REFERENCE
@pytest.mark.parametrize("encoder", ["planes", "ahead", "turns", "convolutions"])
def test_steps_on_the_reference_model(encoder: str, tmp_path: Path) -> None:
    assert TOOL is not None
    lowered: Lowered = programs(encoder).encoder
    ours, chance = Executor(lowered.program), np.random.default_rng(2)
    theirs = TosaModel(lowered.program, Path(TOOL).parent, tmp_path)
    for _ in range(3):
        codes = random_inputs(lowered, chance)
        made, other = ours.step(codes), theirs.step(codes)
        assert all(np.array_equal(made[name], other[name]) for name in made)
