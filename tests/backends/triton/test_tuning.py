"""The choice among tiles on a GPU, with a clock in the place of one."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from math import inf
from pathlib import Path

import pytest
import torch
import triton

from asrc.backends.triton.kernels.overlap import early, overlapping
from asrc.backends.triton.tuning import Config, Tuner
from asrc.tests.backends.triton.ptx.launching import OnGpu

GPU = torch.device("cuda")
CANDIDATES = tuple(Config({"BLOCK": size}) for size in (16, 32, 64))


class Clock:
    """Milliseconds of each size: what `do_bench` says that a launch took, or no launch at all."""

    def __init__(self, **times: float) -> None:
        self.times, self.launched = times, list[int]()

    def run(self, config: Config) -> None:
        size = config.sizes["BLOCK"]
        self.launched.append(size)
        if self.times[f"_{size}"] == inf:
            raise triton.OutOfResources(300 << 10, 227 << 10, "shared memory")

    def bench(self, launch: Callable[[], object], **_: object) -> float:
        launch()
        return self.times[f"_{self.launched[-1]}"]


def best(clock: Clock, folder: Path) -> int:
    found = Tuner(folder).best("kernel", (8, 640), CANDIDATES, clock.run, GPU)
    return found.sizes["BLOCK"]


@pytest.fixture(autouse=True)
def _gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "GPU of none")
    monkeypatch.setattr("torch.cuda.current_stream", lambda device: None)
    monkeypatch.setattr("torch.cuda.stream", lambda stream: nullcontext())
    monkeypatch.setattr("torch.cuda.is_current_stream_capturing", lambda: False)


def clock(monkeypatch: pytest.MonkeyPatch, **times: float) -> Clock:
    made = Clock(**times)
    monkeypatch.setattr("triton.testing.do_bench", made.bench)
    return made


def test_the_fastest_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = clock(monkeypatch, _16=2.0, _32=1.0, _64=3.0)
    assert best(first, tmp_path) == 32
    assert set(first.launched) == {16, 32, 64}
    later = clock(monkeypatch)
    assert best(later, tmp_path) == 32
    assert not later.launched


def test_one_that_is_too_large_is_passed_by(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And launched once, as compiling it again would take long."""
    one = clock(monkeypatch, _16=inf, _32=2.0, _64=3.0)
    assert best(one, tmp_path) == 32
    assert one.launched.count(16) == 1


def test_one_that_the_compiler_fails_for_is_passed_by(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = clock(monkeypatch, _16=1.0, _32=2.0, _64=3.0)

    def run(config: Config) -> None:
        if config == CANDIDATES[0]:
            raise RuntimeError("PassManager::run failed")
        one.run(config)

    found = Tuner(tmp_path).best("kernel", (), CANDIDATES, run, GPU)
    assert found.sizes["BLOCK"] == 32


@pytest.mark.parametrize("on", [True, False])
def test_what_is_compiled_is_what_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, on: bool
) -> None:
    """Launches that overlap are compiled in threads, too; else each would be compiled again when it
    is measured, one after the other."""
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    one, seen = clock(monkeypatch, _16=1.0, _32=2.0, _64=3.0), set[bool]()

    def run(config: Config) -> None:
        with OnGpu():
            seen.add(bool(early(torch.zeros(1))))
        one.run(config)

    with overlapping(on):
        Tuner(tmp_path).best("kernel", (), CANDIDATES, run, GPU)
    assert seen == {on}


def test_where_all_fail_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert best(clock(monkeypatch, _16=inf, _32=inf, _64=inf), tmp_path) == 16
    assert not list(tmp_path.iterdir())
    assert best(clock(monkeypatch, _16=3.0, _32=2.0, _64=1.0), tmp_path) == 64


def test_nothing_is_measured_while_a_graph_is_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """To wait for the device would end the recording; what is known is used."""
    one = clock(monkeypatch, _16=3.0, _32=2.0, _64=1.0)
    monkeypatch.setattr("torch.cuda.is_current_stream_capturing", lambda: True)
    assert best(one, tmp_path) == 16
    assert not one.launched
    monkeypatch.setattr("torch.cuda.is_current_stream_capturing", lambda: False)
    assert best(one, tmp_path) == 64
    monkeypatch.setattr("torch.cuda.is_current_stream_capturing", lambda: True)
    assert best(one, tmp_path) == 64


def test_choices_are_those_of_a_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    best(clock(monkeypatch, _16=3.0, _32=2.0, _64=1.0), tmp_path)
    (place,) = tmp_path.iterdir()
    assert place.name == f"tuning-GPU-of-none-triton{triton.__version__}.json"
    assert json.loads(place.read_text(encoding="utf-8")) == {"kernel 8 640 of 3": 2}


@pytest.mark.parametrize(
    "data", ["[]", "3", "null", "{", "[" * 100_000, '{"kernel 8 640 of 3": %s}']
)
def test_a_damaged_file_of_choices(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: str
) -> None:
    """It is as none, and written anew."""
    place = tmp_path / f"tuning-GPU-of-none-triton{triton.__version__}.json"
    for value in ("null", "9", "-1", "1.5", "true", '"2"') if "%s" in data else ("",):
        place.write_text(data.replace("%s", value))
        assert best(clock(monkeypatch, _16=3.0, _32=1.0, _64=2.0), tmp_path) == 32
        assert json.loads(place.read_text()) == {"kernel 8 640 of 3": 1}


def test_another_device_has_choices_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In one process, and in its file."""
    tuner = Tuner(tmp_path)
    for name, times, wanted in (("A", (1.0, 2.0, 3.0), 16), ("B", (3.0, 2.0, 1.0), 64)):
        monkeypatch.setattr("torch.cuda.get_device_name", lambda device, name=name: name)
        one = clock(monkeypatch, _16=times[0], _32=times[1], _64=times[2])
        found = tuner.best("kernel", (8, 640), CANDIDATES, one.run, GPU)
        assert found.sizes["BLOCK"] == wanted
        (place,) = tmp_path.glob(f"tuning-{name}-*.json")
        assert len(json.loads(place.read_text())) == 1
