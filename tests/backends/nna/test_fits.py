"""Programs whose tensors do not fit their operators."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from asrc.backends.nna.build import Builder
from asrc.backends.nna.filters import Filter
from asrc.backends.nna.fits import unfitting
from asrc.backends.nna.formats import Code
from asrc.backends.nna.program import Program

CODE = Code("int8", 0.05, 3)


def filter_(*shape: int) -> Filter:
    codes = np.ones(shape, np.int8)
    channels = shape[0] if shape[0] > 1 else shape[3]
    return Filter(codes, np.full(channels, 0.01, np.float32), np.zeros(channels, np.float32))


def program() -> Program:
    """Every operator whose shapes have rules of their own."""
    b = Builder("all")
    x = b.input("x", (1, 5, 1, 4), CODE)
    state = b.input("state", (1, 4, 1, 4), CODE)
    conv = b.conv("conv", x, filter_(6, 3, 1, 4), CODE, stride=(2, 1))
    deep = b.depthwise("deep", conv, filter_(1, 2, 1, 6), CODE)
    turned = b.op("matmul", "turned", [x, x], (1, 5, 1, 1), CODE, turned=True)
    b.op("matmul", "back", [turned, x], (1, 5, 1, 4), CODE)
    mean = b.op("mean", "mean", [deep], (1, 1, 1, 6), CODE, axes=(1, 2))
    b.op("transpose", "across", [mean], (1, 6, 1, 1), CODE, order=(0, 3, 2, 1))
    b.pair("add", "sum", deep, mean, CODE)
    kept = b.concat("kept", [state, x], 1)
    b.outputs = ["sum", b.slice(kept, 1, 5, 4)]
    b.states = {"state": b.outputs[-1]}
    return b.program()


def test_one_that_fits() -> None:
    found = program()
    assert [*unfitting(found)] == []
    assert len({op.kind for op in found.ops}) == 8


def op(name: str, **changes: Any) -> Callable[[Program], Program]:
    def changed(before: Program) -> Program:
        ops = (replace(each, **changes) if each.output == name else each for each in before.ops)
        return replace(before, ops=tuple(ops))

    return changed


def tensor(name: str, **changes: Any) -> Callable[[Program], Program]:
    def changed(before: Program) -> Program:
        return replace(
            before,
            tensors={**before.tensors, name: replace(before.tensors[name], **changes)},
        )

    return changed


CHANGES: tuple[tuple[Callable[[Program], Program], str], ...] = (
    (lambda p: replace(p, outputs=()), "no output"),
    (op("conv", inputs=("x", "conv.weight")), "`conv` reads 2 tensors"),
    (op("kept", inputs=()), "`kept` reads 0 tensors"),
    (op("mean", inputs=("x", "x")), "`mean` reads 2 tensors"),
    (op("conv", options={"stride": (1, 1)}), r"`conv` is \[1, 2, 1, 6\], .* is \[1, 3, 1, 6\]"),
    (op("conv", options={"dilation": (3, 1)}), "the window is larger"),
    (op("deep", inputs=("x", "deep.weight", "deep.bias")), "channels are not the same"),
    (op("turned", options={}), "inner axes are not the same"),
    (op("back", inputs=("turned", "conv")), "`back`, `matmul` of .* broadcast"),
    (op("mean", options={"axes": (1, 9)}), "no such axis"),
    (op("mean", options={"axes": (0, 1)}), "no such axis"),
    (op("mean", options={"axes": (3,)}), "`mean` is"),
    (op("across", options={"order": (0, 1, 2, 2)}), "none of its axes"),
    (op("kept", options={"axis": 3}), "other axes are not the same"),
    (op("kept", options={"axis": 7}), "`kept`, `concat` of"),
    (op("sum", inputs=("deep", "back")), "`sum`, `add` of .* broadcast"),
    (op("kept.from_5", options={"axis": 1, "first": 6, "count": 4}), "it ends before"),
    (tensor("x", zero=200), "the zero of `x` is no int8: 200"),
    (tensor("x", shape=(2, 5, 1, 4)), "first axis of `x`"),
    (tensor("x", scale=(0.1, 0.1)), "has 2 scales"),
    (tensor("conv.weight", scale=(0.1,) * 5), "has 5 scales"),
    (tensor("conv", scale=1e-30), "`conv`.*no fixed-point multiplication"),
    (tensor("sum", dtype="int32"), "`sum`, `add` of"),
    (tensor("state", shape=(1, 3, 1, 4)), "that it replaces"),
    (tensor("kept", zero=0), "one scale"),
)


@pytest.mark.parametrize("at", range(len(CHANGES)))
def test_what_does_not_fit(at: int) -> None:
    change, said = CHANGES[at]
    assert re.search(said, "\n".join(unfitting(change(program()))))
