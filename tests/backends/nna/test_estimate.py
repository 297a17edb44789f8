"""Our estimates for a machine of which only rates are known."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asrc.backends.nna.estimate import alive, estimated, products, stream
from asrc.backends.nna.machine import Machine, Plain, machine
from asrc.backends.nna.program import Op, Program, Tensor
from asrc.compiler.diagnostics import AsrcError
from asrc.tests.backends.nna.models import ENCODERS, programs

ON = machine("generic-8bit")


def dense(values: int = 256) -> Program:
    """A table of a product: 8 codes, 8 outputs of 4 codes each, then of all 8."""
    codes = np.arange(8 * 4).reshape(8, 1, 1, 4) % values
    tensors = [
        Tensor("x", (1, 1, 1, 4)),
        Tensor("w", (8, 1, 1, 4), data=codes.astype(np.int8)),
        Tensor("b", (8,), "int32", data=np.zeros(8, np.int32)),
        Tensor("y", (1, 1, 1, 8)),
        Tensor("flat", (1, 8)),
        Tensor("z", (1, 8)),
    ]
    ops = (
        Op("conv", ("x", "w", "b"), "y"),
        Op("reshape", ("y",), "flat"),
        Op("tanh", ("flat",), "z"),
    )
    return Program("dense", {t.name: t for t in tensors}, ops, ("x",), ("z",))


def described(**changes: object) -> Machine:
    assert isinstance(ON.how, Plain)
    return replace(ON, how=replace(ON.how, **changes))


def test_products_memory_and_cycles_by_hand() -> None:
    program = dense()
    assert [products(program, op) for op in program.ops] == [32, 0, 0]
    assert alive(program) == 16  # a reshape copies nothing: x and y, then y and z
    assert isinstance(ON.how, Plain)
    found = estimated(program, ON)
    rates = ON.how.rates
    cycles = 2 * rates.setup + 32 / rates.weights + 8 / rates.elements
    assert found.seconds == pytest.approx(cycles / rates.clock)
    assert (found.operators, found.elsewhere, found.weights, found.by) == (3, 0, 32, "asrc")
    assert (found.flash, found.dram) == (found.stream, 0)


@pytest.mark.parametrize(("values", "bits"), [(2, 1), (4, 2), (5, 3), (16, 4)])
def test_a_stream_has_the_bits_of_an_index(values: int, bits: int) -> None:
    weight = dense(values).tensors["w"]
    assert stream(weight) == min(32 * bits // 8 + values, 32)


def test_what_the_machine_has_not_runs_elsewhere() -> None:
    without = described(operators={"int8": frozenset({"conv", "reshape"})})
    found = estimated(dense(), without)
    assert (found.operators, found.elsewhere) == (2, 1)
    assert found.lacking == {"tanh on int8": 1}
    assert estimated(dense(), ON).lacking == {}


def test_too_little_memory() -> None:
    with pytest.raises(AsrcError, match=r"E0704.*keeps 16 bytes at once, generic-8bit has 15"):
        estimated(dense(), described(sram=15))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_whole_models(encoder: str) -> None:
    for part in ("encoder", "predictor", "joint"):
        program = getattr(programs(encoder), part).program
        found = estimated(program, ON)
        assert found.elsewhere == 0
        assert found.seconds > 0
        states = sum(program.tensors[n].bytes for n in program.states)
        assert states <= found.sram <= sum(t.bytes for t in program.tensors.values())


def test_a_description_of_the_users(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "backends/nna/machines/generic-8bit.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace("500e6", "1e9"))
    assert estimated(dense(), machine(str(mine))).seconds == estimated(dense(), ON).seconds / 2


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('"conv"', '"convv"', r"has no `convv`.*did you mean `conv`"),
        ("int16 =", "int9 =", r"\[operators\] has no `int9`.*did you mean `int"),
        ('int32 = ["requantise", "reshape"]', 'int32 = "reshape"', "must be a list"),
        ("500e6", "nan", "`clock` is nan, it must be a finite number"),
        ("500e6", "inf", "`clock` is inf"),
        ("500e6", "1" + 400 * "0", "`clock` is 1000"),
        ("500e6", "'5'", "`clock` is '5'"),
        ("500e6", "true", "`clock` is True"),
        ("500e6", "0", "rates are above zero"),
        ("500e6", "1e-300", "`clock` is 1e-300, which no .*cycles a second, from 1e3 to 1e12"),
        ("500e6", "1e20", r"`clock` is 1e\+20, which no machine has"),
        ("500e6", "-1", "`clock` is -1, rates are above zero .*cycles a second, from 1e3 to 1e12"),
        ("500e6", "nan", "it must be a finite number .*cycles a second, from 1e3 to 1e12"),
        ("products = 256", "products = 1e-9", "`products` is 1e-09, which .* a cycle, from 1e-3"),
        ("elements = 16", "elements = 0", "`elements` is 0, rates are above zero"),
        ("weights = 1.0", "weights = -inf", "`weights` is -inf, it must be .* bytes a cycle"),
        ("setup = 200", "setup = -1", "`setup` is -1, which no machine has .*cycles, from 0 to"),
        ("setup = 200", "set_up = 200", r"\[rates\] has no `set_up`.*did you mean `setup`"),
        ("setup = 200", "", r"\[rates\] needs `setup`"),
        ("sram =", "flash = 1\nsram =", r"\[memory\] has no `flash`"),
        ("524_288", "0", "`sram` is 0"),
        ("524_288", "1.5", "`sram` is 1.5"),
        ("524_288", "1" + 300 * "0", "`sram` is 1000.* number of bytes, from 1 to"),
        ("[memory]", "[memroy]", r"has no `memroy`.*did you mean `memory`"),
    ],
)
def test_mistakes_in_a_description(tmp_path: Path, before: str, after: str, says: str) -> None:
    text = (Path(__file__).parents[3] / "backends/nna/machines/generic-8bit.toml").read_text()
    mine = tmp_path / "mine.toml"
    assert before in text
    mine.write_text(text.replace(before, after, 1))
    with pytest.raises(AsrcError, match="E0702") as error:
        machine(str(mine))
    (found,) = error.value.diagnostics
    assert re.search(says, " ".join((found.message, *found.help)))


def test_an_operator_may_begin_at_once(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "backends/nna/machines/generic-8bit.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(
        text.replace("setup = 200", "setup = 0").replace("products = 256", "products = 0.25")
    )
    assert estimated(dense(), machine(str(mine))).seconds > 0


@pytest.mark.parametrize(
    "text",
    ["", "summary = 1 1", "summary = 'x'", "summary = 'x'\n[vela]\nspeed = 1",
     "summary = 'x'\noperators = 1\nrates = 2", "\xff",
     "summary = 'x'\n[operators]\n[rates]\nclock=0\nproducts=1\nelements=1\nsetup=0\nweights=1"],
)  # fmt: skip
def test_no_description(tmp_path: Path, text: str) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_bytes(text.encode("latin-1"))
    with pytest.raises(AsrcError, match=r"E0702.*describes no accelerator"):
        machine(str(mine))
    with pytest.raises(AsrcError, match="E0008"):
        machine(str(tmp_path / "other.toml"))
