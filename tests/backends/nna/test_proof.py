"""Bounds of accumulators: never below what random codes reach, and tight where they can be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asrc.backends.nna.program import Op, Program, Tensor
from asrc.backends.nna.proof import bounds, prove
from asrc.compiler.diagnostics import AsrcError
from asrc.tests.backends.nna.models import ENCODERS, programs


def dense(weight: np.ndarray, bias: int = 0, zero: int = 0, out: float = 1.0) -> Program:
    count, depth = weight.shape
    tensors = {
        "x": Tensor("x", (1, 1, 1, depth), zero=zero),
        "w": Tensor("w", (count, 1, 1, depth), data=weight.reshape(count, 1, 1, depth)),
        "b": Tensor("b", (count,), "int32", data=np.full(count, bias, np.int32)),
        "y": Tensor("y", (1, 1, 1, count), scale=out),
    }
    return Program("p", tensors, (Op("conv", ("x", "w", "b"), "y"),), ("x",), ("y",))


@pytest.mark.parametrize("zero", [-128, 0, 127])
def test_the_bound_of_a_map_is_reached(zero: int) -> None:
    weight = np.random.default_rng(0).integers(-127, 128, (3, 50)).astype(np.int8)
    (bound,) = bounds(dense(weight, bias=-7, zero=zero, out=100.0))
    ends = np.array([-128 - zero, 127 - zero])
    furthest = ends[np.abs(ends).argmax()]
    reached = np.abs(weight.astype(int)).sum(1).max() * abs(furthest) + 7
    assert bound.largest == reached
    prove(dense(weight, bias=-7, zero=zero))


def test_deep_maps_overflow() -> None:
    """127 * 255 * depth is beyond 2**31 from 66,312 on."""
    weight = np.full((1, 66_400), 127, np.int8)
    with pytest.raises(AsrcError, match=r"E0601.*`y`.*31\.0 bits"):
        prove(dense(weight, zero=-128, out=1e9))
    prove(dense(weight[:, :66_000], zero=-128, out=1e9))


def test_a_factor_above_one_shifts_first() -> None:
    weight = np.full((1, 1000), 127, np.int8)
    prove(dense(weight))
    with pytest.raises(AsrcError, match="E0601"):
        prove(dense(weight, out=1e-3))


def test_both_summands_count() -> None:
    a, y = Tensor("a", (1, 1, 1, 4), "int16", 0.1), Tensor("y", (1, 1, 1, 4), "int16", 0.1)
    tensors = {t.name: t for t in (a, replace(a, name="b"), y)}
    program = Program("p", tensors, (Op("add", ("a", "b"), "y"),), ("a", "b"), ("y",))
    (bound,) = bounds(program)
    assert (1 << 30) <= bound.largest < (1 << 31)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_programs_are_proved(encoder: str) -> None:
    for part in ("encoder", "predictor", "joint"):
        found = bounds(getattr(programs(encoder), part).program)
        assert found
        assert min(bound.spare for bound in found) > 0
