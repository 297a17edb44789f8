"""Programs as TOSA: every operator that it has, and on its reference model where that is there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.fixed import divide_by_power, doubling_high
from asrc.backends.nna.golden import random_inputs
from asrc.backends.nna.lower import Lowered
from asrc.backends.nna.program import Array, Op, Program, Tensor
from asrc.backends.nna.recipes import RECIPES, Softmax, recipe_of
from asrc.backends.nna.softmax import (
    SUM_BITS,
    exponential,
    half_reciprocal,
    scaled_differences,
    zeros_in_front,
)
from asrc.backends.nna.tosa import ROWS, tosa
from asrc.backends.nna.tosa_softmax import LONGEST
from asrc.backends.nna.tosamodel import TosaModel
from asrc.tests.backends.nna import test_kernels
from asrc.tests.backends.nna.models import programs
from asrc.tests.backends.nna.tosa_numbers import made_of

TOOL = shutil.which("tosa_reference_model")
REFERENCE = pytest.mark.skipif(TOOL is None, reason="tosa-tools are not installed beside asrc")


ENCODERS = pytest.mark.parametrize(
    "encoder", ["planes", "ahead", "turns", "convolutions", "attention"]
)


def row_of(width: int, scale: float) -> Program:
    """Softmax of rows of so many codes."""
    x = Tensor("x", (1, 1, 8, width), "int8", scale, 0)
    y = Tensor("y", x.shape, "int8", 1 / 256, -128)
    return test_kernels.one(Op("softmax", ("x",), "y"), [x], y)


def rows(chance: np.random.Generator, width: int) -> Array:
    """Rows of codes that are far apart, near, all the same, and at both ends."""
    spread = np.array([255, 100, 30, 10, 3, 1, 0, 0])[:, None]
    drawn = (chance.random((8, width)) * spread).astype(np.int64) - 128
    drawn[-1] = chance.choice([-128, 127], width)
    return drawn.astype(np.int8)[None, None]


def test_every_operator_is_there() -> None:
    assert RECIPES.keys() == ROWS.keys()


@pytest.mark.parametrize("width", [1, 2, 3, 40, 127, 128, LONGEST])
@pytest.mark.parametrize("scale", [0.004, 0.05, 0.25, 3.0])
def test_softmax_by_the_specification(width: int, scale: float) -> None:
    check_softmax(row_of(width, scale), rows(np.random.default_rng(width), width))


def test_random_softmax_by_the_specification() -> None:
    for program, inputs in test_kernels.programs("softmax", 10):
        check_softmax(program, inputs["x"])


def check_softmax(program: Program, codes: Array) -> None:
    """Bit for bit, numbers of 32 bits on the way as well, and no operator is asked for what TOSA
    leaves open."""
    (ours,) = Executor(program).step({"x": codes}).values()
    made = made_of(tosa(program), [codes])
    assert np.array_equal(made[-1], ours)
    by = cast("Softmax", recipe_of(program, program.ops[0]))
    difference = codes.astype(np.int64) - codes.max(-1, keepdims=True)
    powers = exponential(scaled_differences(difference, by.by)) * (difference >= by.least)
    total = divide_by_power(powers, SUM_BITS).sum(-1, keepdims=True)
    reciprocal = half_reciprocal((total << zeros_in_front(total)) - (1 << 31))
    for wanted in (powers, total, reciprocal, doubling_high(reciprocal, powers)):
        assert any(np.array_equal(value, wanted) for value in made)


def test_a_row_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="a row of softmax has at most 511"):
        tosa(row_of(LONGEST + 1, 0.1))


@ENCODERS
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
@ENCODERS
def test_steps_on_the_reference_model(encoder: str, tmp_path: Path) -> None:
    assert TOOL is not None
    lowered: Lowered = programs(encoder).encoder
    ours, chance = Executor(lowered.program), np.random.default_rng(2)
    theirs = TosaModel(lowered.program, Path(TOOL).parent, tmp_path)
    for step in range(4):
        if step == 3:
            ours.reset()
            theirs.reset()
        codes = random_inputs(lowered, chance)
        made, other = ours.step(codes), theirs.step(codes)
        assert all(np.array_equal(made[name], other[name]) for name in made)
