"""The benchmark of a GPU runs from end to end, on a machine without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import asrc
from asrc.backends.torch.streams import Streams
from asrc.benchmarks import gpu
from asrc.benchmarks.gpu_parts import (
    apart,
    decoding,
    kernels,
    measuring,
    models,
    overlap,
    warm,
)
from asrc.benchmarks.gpu_parts.apart import Writer
from asrc.benchmarks.gpu_parts.measuring import Bench, Call, Case, Launched, lines
from asrc.benchmarks.gpu_parts.steps import counted
from asrc.tests.backends.triton import compiling

HOUSE = Path(asrc.__file__).parent
SCRIPT = HOUSE / "benchmarks/gpu.py"


def test_smoke(tmp_path: Path) -> None:
    """Products, LSTMs and decoding: kernels are there, and as exact as in their own tests."""
    out = tmp_path / "table.md"
    command = [
        sys.executable,
        SCRIPT,
        "--smoke",
        *("--limit", "3000", "--total", "3000"),  # a machine may be slow
        "--only",
        "linear",
        "lstm",
        "decoding",
        "--out",
        out,
    ]
    subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, check=True)
    text = out.read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if "| kernel |" in line]
    assert {row[0].split()[0] for row in rows} == {"product", "LSTM", "greedy,"}
    assert max(float(row[-1]) for row in rows) < 1e-5
    assert "wrong" not in text
    assert "Traceback" not in text


def test_every_section_is_planned() -> None:
    """And has processes that compile it beforehand; what says most fits into the time."""
    tables = {**kernels.SECTIONS, **decoding.SECTIONS, **models.SECTIONS}
    assert gpu.SECTIONS.keys() == tables.keys() == warm.SHARES.keys()
    first = ("linear", "lstm", "decoding", "conformer")
    assert tuple(gpu.SECTIONS)[: len(first)] == first
    assert gpu.WARM + sum(gpu.SECTIONS[name].section for name in first) < 560


@pytest.mark.parametrize("left", [1000.0, 30.0, 0.0])
def test_all_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: float) -> None:
    """All is compiled, then one section is after the other, as long as there is time. One that
    cannot be started costs itself."""
    compiled: list[list[str]] = []
    begun: list[tuple[str, apart.Limits]] = []

    class Known(apart.Section):
        def run(self) -> None:
            begun.append((self.name, self.limits))
            if self.name == "linear":
                raise OSError("no process")
            self.report.add(f"| {self.name} |")

    monkeypatch.setattr(gpu, "BEGIN", time.monotonic())
    monkeypatch.setattr(apart, "Section", Known)
    monkeypatch.setattr(apart, "warmed", lambda commands, _: compiled.extend(commands) or 2)
    monkeypatch.setattr(apart, "broken", lambda *_, **__: None)
    out, only = tmp_path / "table.md", ["linear", "loss"]
    gpu.all_sections(Namespace(out=out, only=only, smoke=False, warm=70, limit=None, total=left))
    assert [command[command.index("--section") + 1] for command in compiled] == [
        *("linear",) * 3,
        "loss",
    ]
    first, second, *lines = out.read_text(encoding="utf-8").splitlines()
    assert first.endswith("2 of 4 processes ended.")
    assert second.startswith("Kernels begin before")
    if left == 0.0:
        assert not begun
        assert lines == [apart.empty(name, "not measured: out of time") for name in only]
        return
    assert [name for name, _ in begun] == only
    assert begun[1][1] == apart.Limits(45, 30, gpu.BEGIN + left)
    assert lines[:2] == [apart.empty("linear", "OSError: no process"), "| loss |"]
    assert "Traceback" in "\n".join(lines[2:])


@pytest.mark.parametrize("why", [None, "RuntimeError: a chain makes something else"])
def test_launches_that_may_not_overlap(monkeypatch: pytest.MonkeyPatch, why: str | None) -> None:
    """Where a chain of kernels makes something else, all is measured one after the other."""
    monkeypatch.setenv("ASRC_OVERLAP", "")
    monkeypatch.setattr(apart, "broken", lambda *_, **__: why)
    said = gpu.overlapped(["a command"])
    assert (os.environ["ASRC_OVERLAP"] == "0") == (why is not None)
    assert why is None or f"one after the other: {why}." in said
    monkeypatch.setattr(apart, "broken", None)
    monkeypatch.setenv("ASRC_OVERLAP", "0")
    assert "as ASRC_OVERLAP says" in gpu.overlapped(["a command"])


def test_a_chain_that_is_looked_at() -> None:
    """Every link counts: what one launch makes otherwise is seen at the end."""
    overlap.check(Bench(smoke=True))
    bench, calls = Bench(smoke=True), list[Tensor]()

    class Late(Bench):
        """What was made the turn before."""

        def captured(self, call: Call) -> Call:
            made = [call()]

            def other() -> Tensor:
                made.append(call())
                return made[-2]

            return other

    class Wrong(Bench):
        def captured(self, call: Call) -> Call:
            def other() -> Tensor:
                calls.append(call())
                return calls[-1] + (1e-6 if len(calls) > 1 else 0.0)

            return other

    with pytest.raises(RuntimeError, match="of 1 rows makes something else, turn 1"):
        overlap.check(Wrong(smoke=True))
    with pytest.raises(RuntimeError, match="of 1 rows makes something else, turn 1"):
        overlap.check(Late(smoke=True))
    x, parts = bench.random(1, 64), overlap.weights(bench)
    made = overlap.chain(x, parts, 1)
    for n in range(len(parts)):
        others = [part * 1.001 if place == n else part for place, part in enumerate(parts)]
        assert not torch.equal(overlap.chain(x, others, 1), made)


# --- a bare machine -----------------------------------------------------------------------------

BARE = """
import runpy, sys
from pathlib import Path
for name in "lark click rich safetensors sentencepiece soundfile soxr av jiwer".split():
    sys.modules[name] = None
script = runpy.run_path(sys.argv[1])
script["house"]()
parts = [script["part"](one.module) for one in script["SECTIONS"].values()]
models, bench = script["part"]("models"), script["part"]("measuring").Bench(True)
models.GRAPHS = Path(sys.argv[2])
import asrc
print(asrc.__file__)
for file, pipeline in models.FILES.items():
    print(models.lower(models.facts_of(bench, file, pipeline)).step().module.code)
"""


def test_a_bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is that of the checkout, whatever is installed, and models come from their
    graphs where nothing is that reads them."""
    monkeypatch.setattr(models, "GRAPHS", tmp_path / "graphs")
    assert len(models.written(Bench(smoke=True))) == len(models.FILES)
    (tmp_path / "checkout").symlink_to(HOUSE)
    script = tmp_path / "checkout/benchmarks/gpu.py"
    command = [sys.executable, "-c", BARE, script, tmp_path / "graphs"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    home, *code = ran.stdout.splitlines()
    assert home == str(tmp_path / "checkout/__init__.py")
    wanted = [models.lowered(Bench(smoke=True), *one).step().module for one in models.FILES.items()]
    assert code == "\n".join(each.code for each in wanted).splitlines()


# --- rows ---------------------------------------------------------------------------------------


class Steady(Bench):
    """A call takes a second; a CUDA graph of a call that is called `asks` breaks off."""

    def __init__(self) -> None:
        super().__init__(smoke=True)

    def captured(self, call: Call) -> Call:
        if getattr(call, "__name__", "") == "asks":
            self.spoiled = True
            raise RuntimeError("operation not permitted when stream is capturing")
        return Launched(call)

    def seconds(self, call: Callable[[], object]) -> float:
        call()
        return 1.0


def asks() -> Tensor:
    return torch.ones(3)


def fails() -> Tensor:
    raise torch.OutOfMemoryError("of a rival")


def table(bench: Bench, ways: Mapping[str, Any], **more: Any) -> dict[str, list[str]]:
    """Cells of a row, by its way."""
    found = (line.strip("| ").split(" | ") for line in lines("row", Case(ways, **more), bench))
    return {cells[1]: [cell.strip() for cell in cells[2:]] for cells in found}


def test_a_way_that_fails_leaves_the_others() -> None:
    bench, one = Steady(), torch.ones(3)
    ways = {
        "kernel": lambda: asks,
        "PyTorch": lambda: lambda: one,
        "absent": lambda: kernels.import_module("no_such_package"),
        "large": lambda: fails,
        "wrong": lambda: lambda: 2 * one,
        "nan": lambda: lambda: one * float("nan"),
    }
    found = table(bench, ways, times=4)
    assert found["kernel, launched: no CUDA graph"][0] == "250.0000"
    assert found["PyTorch"][0] == "250.0000"
    assert found["absent"][0].startswith("ModuleNotFoundError")
    assert found["large"][0] == "OutOfMemoryError: of a rival"
    assert [found[way][-1] for way in ("wrong", "nan")] == ["1.0e+00: wrong", "nan: wrong"]
    assert len(bench.traces) == 2
    assert "in a CUDA graph" in bench.traces[0]
    assert "fails" in bench.traces[1]


def test_a_call_that_fails_later() -> None:
    """As it is timed, say: an error of a kernel comes when something waits for it."""
    calls = iter(range(1))

    def later() -> Tensor:
        return torch.ones(3) * next(calls)

    bench = Steady()
    found = table(bench, {"kernel": lambda: Launched(later), "PyTorch": lambda: asks})
    assert found["kernel"][0].startswith("StopIteration")
    assert found["PyTorch, launched: no CUDA graph"][0] == "1000.0000"


def test_a_process_that_is_spoiled_ends(tmp_path: Path) -> None:
    """After its row, and without having said that all is done."""

    def of(call: Call) -> Callable[[], Case]:
        return lambda: Case({"kernel": lambda: call, "PyTorch": lambda: call})

    def broken() -> Case:
        raise ValueError("no case")

    rows = [("zero", of(asks)), ("one", broken), ("two", of(asks)), ("three", of(asks))]
    records = tmp_path / "records"
    gpu.section(rows, 1, Steady(), float("inf"), Writer(records))
    found = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    assert [one["row"] for one in found if "row" in one] == [1, 2]
    assert "ValueError: no case" in found[1]["lines"][0]
    assert "no case" in found[1]["traces"][0]
    assert not any("done" in one for one in found)


def test_rotation() -> None:
    """Together, weights are larger than a cache; few are enough where they are large."""
    bench = Bench(smoke=False)
    assert measuring.times_of(1 << 30, bench) == 1
    assert measuring.times_of(1 << 23, bench) == 16
    assert measuring.times_of(1, bench) == measuring.MANY
    seen: list[int] = []
    call = measuring.rotated([lambda n=n: seen.append(n) or torch.tensor(n) for n in range(3)])
    assert int(call()) == 0
    assert seen == [0, 1, 2]


# --- a rival's step -----------------------------------------------------------------------------


@pytest.mark.parametrize("file", models.FILES)
def test_a_counted_step(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of PyTorch's step, and nothing is copied from the host once it has run."""
    side = models.lowered(Bench(smoke=True), file, models.FILES[file])
    step, streams, chance = side.step(), Streams(side, 2), torch.Generator().manual_seed(3)
    code, own = step.module.code, counted(step)
    assert step.module.code == code
    feeds = {f.name: torch.randn(2, f.frames, 1, generator=chance) for f in step.feeds}
    with torch.no_grad():
        for _ in range(step.warm_up + 2):
            given = streams.arguments(step, feeds)
            wanted, found = step.module(*given), own.module(*given)
            assert all(map(torch.equal, wanted, found))
            streams.step(feeds)
        monkeypatch.setattr(torch, "tensor", None)
        assert all(map(torch.equal, wanted, own.module(*given)))


# --- compiling beforehand -----------------------------------------------------------------------

COMPILED = f"""
import torch
from triton.runtime.driver import driver
from {compiling.__name__} import Driver
from asrc.backends.triton.kernels.norm import layer_norm
from asrc.benchmarks.gpu_parts.measuring import Case
from asrc.benchmarks.gpu_parts.warm import warm
driver.set_active(Driver(90))
def case():
    x = torch.ones(4, 64)
    return Case({{"kernel": lambda: lambda: layer_norm(x, x[0], x[0], 1e-5)[0]}})
def broken():
    raise ValueError
warm(iter([("first", broken), ("second", broken), ("third", case)]), 1, (2, 2))
"""


def test_a_process_that_compiles() -> None:
    """As it is started: of a smoke test it does the work, in the interpreter."""
    command = [sys.executable, SCRIPT, "--smoke", "--section", "loss", "--share", "0"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    ran = subprocess.run([*command, "--records", os.devnull], env=environment, capture_output=True)
    assert ran.returncode == 0, ran.stderr
    assert not ran.stdout


def test_compiling_beforehand(tmp_path: Path) -> None:
    """Compiles what would be launched, on a machine that could not launch it."""
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", COMPILED]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert len(list(tmp_path.rglob("*.cubin"))) == 1


def test_all_candidates_are_compiled() -> None:
    """One that cannot be does not keep the others from it."""
    ran: list[int] = []

    def run(candidate: Any) -> None:
        ran.append(candidate)
        if candidate == 2:
            raise RuntimeError("too large")

    with warm.compiling():
        tuner = warm.Tuner()
        assert tuner.best("some", (), (1, 2, 3), run, torch.device("cuda")) == 1  # type: ignore[arg-type]
    assert ran == [1, 2, 3]
    assert warm.Tuner.best is not warm._all
