"""Kernels that begin before the ones before them have ended: when, and what they may read then."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from asrc.backends.torch.streams import Streams
from asrc.backends.triton.kernels.embed import embed
from asrc.backends.triton.kernels.linear import Epilogue, linear
from asrc.backends.triton.kernels.lstm import lstm_cell
from asrc.backends.triton.kernels.overlap import early, overlapping
from asrc.backends.triton.lowering import to_triton
from asrc.tests.backends.triton.guard import close, random
from asrc.tests.backends.triton.ptx.launching import Launcher, OnGpu, machine
from asrc.tests.backends.triton.ptx.machine import EXPECTED
from asrc.tests.backends.triton.ptx.memory import Fault
from asrc.tests.backends.triton.test_linear import narrow
from asrc.tests.backends.triton.test_lowering import TWINS, twin

compiled = pytest.mark.skipif(
    int(os.environ.get("ASRC_MACHINE") or 0) < 90, reason="runs what is compiled for a GPU that can"
)


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    """One of this test's own, whose launches overlap."""
    with machine(Launcher(int(os.environ["ASRC_MACHINE"]))) as own, overlapping():
        yield own


def able(monkeypatch: pytest.MonkeyPatch, *capability: int) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


def test_launches_overlap_where_they_are_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, 9, 0)
    with OnGpu(), overlapping(False):
        x = torch.zeros(1)
        assert early(x) == {}
        with overlapping():
            assert early(x) == {"launch_pdl": True}
            with overlapping(False):
                assert early(x) == {}
            assert early(x) == {"launch_pdl": True}
        assert early(x) == {}


def test_an_error_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, 9, 0)
    with OnGpu(), overlapping(False):
        with pytest.raises(ValueError, match="found"), overlapping():
            raise ValueError("found")
        assert early(torch.zeros(1)) == {}


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 9)])
def test_older_gpus_cannot(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    able(monkeypatch, *capability)
    with OnGpu(), overlapping():
        assert early(torch.zeros(1)) == {}


def test_gpus_of_others_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their capability is another thing."""
    able(monkeypatch, 9, 4)
    monkeypatch.setattr(torch.version, "hip", "6.4")
    with OnGpu(), overlapping():
        assert early(torch.zeros(1)) == {}


def test_it_can_be_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, 9, 0)
    monkeypatch.setenv("ASRC_OVERLAP", "0")
    with OnGpu(), overlapping():
        assert early(torch.zeros(1)) == {}


@pytest.mark.skipif(bool(os.environ.get("ASRC_MACHINE")), reason="everything is on a GPU there")
def test_a_host_cannot() -> None:
    with overlapping():
        assert early(torch.zeros(1)) == {}


def product(x: Tensor, weight: Tensor, bits: int) -> Tensor:
    return linear(x, narrow(weight, bits) if bits else weight, None, Epilogue("swish"))


@compiled
@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("bits", [0, 4])
@pytest.mark.parametrize("columns", [96, 2304])
def test_a_chain(launcher: Launcher, rows: int, bits: int, columns: int) -> None:
    """What a product reads of another it reads when that has ended; its weight before."""
    first, second = random(columns, 40, seed=1), random(24, columns, seed=2)
    x, step = random(rows, 40), "_row" if rows == 1 else "_product"
    found = product(product(x, first, bits), second, bits)
    held = [narrow(w, bits).dense() if bits else w for w in (first, second)]
    wanted = torch.nn.functional.silu(x @ held[0].T)
    close(found, torch.nn.functional.silu(wanted @ held[1].T))
    assert launcher.overlapping[step] == launcher.launches[step] == 2


@dataclass
class Reading(Launcher):
    """Keeps the programs that it runs, as text."""

    texts: list[str] = field(default_factory=list)

    def run(self, made: Any, grid: tuple[int, ...], given: Sequence[object]) -> None:
        self.texts.append(made.asm["ptx"])
        super().run(made, grid, given)


@compiled
@pytest.mark.parametrize("bits", [0, 4])
@pytest.mark.parametrize("columns", [96, 2304])
def test_a_weight_is_on_its_way_before_it_waits(bits: int, columns: int) -> None:
    """Of one row its vectors are read; of more, and of what is wider than a chunk, they are
    prefetched. Nothing is stored."""
    weight = random(24, columns, seed=2)
    for rows in (1, 7):
        with machine(Reading(90)) as own:
            assert isinstance(own, Reading)
            product(random(rows, columns), weight, bits)
        early, late = own.texts[0].split("griddepcontrol.wait")
        assert "prefetch.L2.global" in early
        assert ("ld.global.v4" in early) == (rows == 1)
        assert "st.global" not in early
        assert "prefetch" not in late
        assert "st.global" in late


@compiled
def test_one_thread_asks_for_all_rows_of_a_program(launcher: Launcher) -> None:
    """Or for those of each gate; 70 outputs are two programs here, the last is not full."""
    x, weight = random(7, 96), random(140, 96, seed=1)
    linear(x, weight[:70])
    assert launcher.issued["_product"][EXPECTED] == 2
    launcher.clear()
    linear(x, weight, None, Epilogue("glu"))
    assert launcher.issued["_product"][EXPECTED] == 2 * 3
    launcher.clear()
    lstm_cell(*(random(7, n, seed=n) for n in (28, 20, 20)), random(80, 48, seed=1), None)
    assert launcher.issued["_step"][EXPECTED] == 4 * 2


@compiled
def test_a_weight_that_a_kernel_before_writes(launcher: Launcher) -> None:
    """It would be read too early: nothing may write to weights where launches overlap."""
    weight = linear(random(40, 16), random(24, 16, seed=1))
    with pytest.raises(Fault, match="is read that kernels before"):
        linear(random(1, 24, seed=2), weight)
    with pytest.raises(Fault, match="is read that kernels before"):
        lstm_cell(*(random(1, 12, seed=n) for n in range(3)), weight.reshape(40, 24)[:48], None)


@compiled
def test_a_table_that_a_kernel_before_writes(launcher: Launcher) -> None:
    """Others read everything when the kernels before them have ended."""
    table = linear(random(40, 16), random(24, 16, seed=1))
    tokens = torch.tensor([3, 0, 39])
    assert torch.equal(embed(tokens, table), table[tokens])


@compiled
@pytest.mark.parametrize(
    "name",
    [n if "conformer" in n else pytest.param(n, marks=pytest.mark.long) for n in TWINS],
)
def test_all_launches_of_a_step_overlap(launcher: Launcher, name: str) -> None:
    model = to_triton(twin(name))
    streams = Streams(model, 1)
    feeds = {f.name: random(1, f.frames, 1) for f in streams.step_of(1).feeds}
    for _ in range(2):
        streams.step(feeds)
    assert launcher.launches.total() >= 8
    assert launcher.overlapping == launcher.launches
