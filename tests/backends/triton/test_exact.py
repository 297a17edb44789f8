"""Whole integer programs for several streams: each is its own executor's, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.golden import random_inputs
from asrc.backends.nna.lower import Lowered
from asrc.backends.nna.program import Array, Op, Program, Tensor
from asrc.backends.nna.recipes import RECIPES
from asrc.backends.triton.exact import RUNS, ExactProgram
from asrc.tests.backends.nna.models import programs

Codes = dict[str, torch.Tensor]


class Both:
    """Some streams of a program, and an executor for each."""

    def __init__(self, lowered: Lowered, streams: int, seed: int = 0) -> None:
        self.lowered, self.chance = lowered, np.random.default_rng(seed)
        self.exact = ExactProgram(lowered.program, streams)
        self.own = [Executor(lowered.program) for _ in range(streams)]

    def inputs(self, count: int) -> list[dict[str, Array]]:
        return [random_inputs(self.lowered, self.chance) for _ in range(count)]

    def step(self, slots: Sequence[int] | None = None) -> Codes:
        """One step of these streams, or of all; whatever there is to compare is the same."""
        places = range(len(self.own)) if slots is None else slots
        given = self.inputs(len(places))
        chosen = None if slots is None else torch.tensor(slots)
        made = self.exact.step(stacked(given), chosen)
        wanted = [self.own[n].step(one) for n, one in zip(places, given, strict=True)]
        same(made, stacked(wanted))
        self.check()
        return made

    def check(self) -> None:
        """The states of all streams."""
        same(self.exact.states, stacked([one.states for one in self.own]))


def stacked(rows: Sequence[dict[str, Array]]) -> Codes:
    return {name: torch.tensor(np.concatenate([row[name] for row in rows])) for name in rows[0]}


def same(found: Codes, wanted: Codes) -> None:
    assert found.keys() == wanted.keys()
    different = [n for n in wanted if not torch.equal(found[n], wanted[n])]
    assert not different
    assert all(found[n].dtype == wanted[n].dtype for n in wanted)


@pytest.mark.parametrize("encoder", ["lstm", "ahead", "attention", "convolutions"])
def test_each_stream_is_its_executors(encoder: str) -> None:
    """LSTM; norms, depthwise filters and gates; attention; planes and context blocks."""
    both = Both(programs(encoder).encoder, 3)
    both.check()
    for _ in range(6):
        both.step()


@pytest.mark.parametrize("part", ["predictor", "joint"])
def test_other_parts_are_their_executors(part: str) -> None:
    both = Both(getattr(programs("lstm"), part), 3)
    for _ in range(6):
        both.step()


def test_every_tensor_of_a_step_can_be_named() -> None:
    lowered = programs("convolutions").encoder
    both = Both(lowered, 1)
    both.step()
    for op in lowered.program.ops:
        assert np.array_equal(both.exact.value(op.output).numpy(), both.own[0].value(op.output))


@pytest.mark.parametrize("encoder", ["lstm", "ahead"])
def test_streams_join_and_leave(encoder: str) -> None:
    """The others' states stay."""
    both = Both(programs(encoder).encoder, 4)
    for slots in ([1], [3, 1], [0, 2, 3], [2]):
        both.step(slots)
    both.step()


def test_a_stream_begins_again() -> None:
    both = Both(programs("lstm").encoder, 3)
    both.step()
    both.exact.reset([1])
    both.own[1].reset()
    both.check()
    both.step()
    both.exact.reset()
    for one in both.own:
        one.reset()
    both.check()


def test_what_a_step_gave_stays() -> None:
    """Outputs are no views of states."""
    both = Both(programs("ends in a state").encoder, 2)
    made = both.step()
    before = {name: x.clone() for name, x in made.items()}
    both.step()
    both.exact.reset()
    same(made, before)


def test_no_streams_at_all() -> None:
    exact = ExactProgram(programs("lstm").joint.program, 2)
    tensors = [exact.program.tensors[name] for name in exact.program.inputs]
    nothing = {t.name: torch.zeros(0, *t.shape[1:], dtype=torch.int8) for t in tensors}
    (found,) = exact.step(nothing, torch.tensor([], dtype=torch.int64)).values()
    assert len(found) == 0


def test_every_operator_has_a_row() -> None:
    assert RUNS.keys() == RECIPES.keys()


# --- what does not fit ---


def test_other_inputs_are_refused() -> None:
    lowered = programs("lstm").joint
    both, (given,) = Both(lowered, 1), Both(lowered, 1).inputs(1)
    codes = stacked([given])
    name = min(codes)
    tensor = lowered.program.tensors[name]
    with pytest.raises(ValueError, match="inputs are"):
        both.exact.step({name: codes[name]})
    with pytest.raises(ValueError, match="inputs are"):
        both.exact.step({**codes, "more": codes[name]})
    for other in (codes[name].repeat(2, 1, 1, 1), codes[name].int(), codes[name][..., 1:]):
        with pytest.raises(ValueError, match=f"`{name}` is {tensor.dtype}"):
            both.exact.step({**codes, name: other})
    with pytest.raises(ValueError, match=rf"`{name}` is {tensor.dtype} \[0, "):
        both.exact.step(codes, torch.tensor([], dtype=torch.int64))


def one(kind: str, inputs: Sequence[Tensor], output: Tensor, **options: Any) -> Program:
    op = Op(kind, tuple(t.name for t in inputs), output.name, options)
    tensors = {t.name: t for t in (*inputs, output)}
    names = tuple(t.name for t in inputs if t.data is None)
    return Program("one", tensors, (op,), names, (output.name,))


X, Y = Tensor("x", (1, 2, 3)), Tensor("y", (1, 2, 3))
ACROSS = {
    "concat": one("concat", [X, replace(X, name="z")], Y, axis=0),
    "slice": one("slice", [X], Y, axis=-3, first=0, count=1),
    "transpose": one("transpose", [X], replace(Y, shape=(1, 2, 3)), order=(1, 0, 2)),
    "mean": one("mean", [X], replace(Y, shape=(1, 3)), axes=(0, 1)),
    "softmax": one("softmax", [replace(X, shape=(1,))], Tensor("y", (1,), "int8", 1 / 256, -128)),
    "add": one("add", [X, Tensor("z", (1, 3))], Y),
    "matmul": one("matmul", [replace(X, shape=(1, 3)), Tensor("z", (1, 3))],
                  replace(Y, shape=(1, 1)), turned=True),
}  # fmt: skip


@pytest.mark.parametrize("kind", ACROSS)
def test_streams_do_not_meet(kind: str) -> None:
    with pytest.raises(ValueError, match=r"stream"):
        ExactProgram(ACROSS[kind])


def test_other_batches_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`y` is \[2, 1, 3\]: its batch is not 1"):
        ExactProgram(one("reshape", [X], replace(Y, shape=(2, 1, 3))))


def test_products_are_of_int8() -> None:
    wide = replace(X, dtype="int16")
    with pytest.raises(ValueError, match="matmul reads codes of int8"):
        ExactProgram(one("matmul", [wide, replace(wide, name="z")], Y, turned=True))
    wide, table = replace(wide, scale=0.1), Tensor("y", X.shape, "int8", 1 / 256, -128)
    with pytest.raises(ValueError, match="sigmoid reads codes of int8"):
        ExactProgram(one("sigmoid", [wide], table))
