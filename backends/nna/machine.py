"""Accelerators: their description files, and what their own compiler says of a program.

A machine is a file in `machines/`, or one of the user's; another one needs no code. One that has a
compiler, Vela, says how that is called, and times, memory and sizes are its estimates. One that has
none says its operators, rates and memory, and the estimates are ours (`estimate.py`). Nothing here
has run on a device.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from time import perf_counter
from typing import Any

from ...compiler.diagnostics import AsrcError, diagnostic
from ...compiler.files import read_bytes
from ...compiler.nearest import did_you_mean


@dataclass(frozen=True, slots=True)
class Vela:
    """Vela's names of the accelerator, of the system around it, of its memories, of what to make
    small: time (`Performance`) or files and memory (`Size`)."""

    accelerator: str
    system: str
    memory: str
    optimise: str = "Performance"

    def __post_init__(self) -> None:
        if self.optimise not in ("Performance", "Size"):
            raise ValueError("Vela optimises for `Performance` or `Size`")


@dataclass(frozen=True, slots=True)
class Rates:
    """`clock` in cycles a second; a cycle makes so many `products` of int8 codes, or `elements`
    of other results, and reads so many bytes of `weights`; an operator begins after `setup`."""

    clock: float
    products: float
    elements: float
    setup: float
    weights: float


@dataclass(frozen=True, slots=True)
class Plain:
    """Kinds of operators by the format of what they make, rates, bytes of `sram` for values."""

    operators: Mapping[str, frozenset[str]]
    rates: Rates
    sram: int


@dataclass(frozen=True, slots=True)
class Machine:
    """An accelerator, and how its estimates come about."""

    name: str
    summary: str
    how: Vela | Plain


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one step of a program: seconds; bytes of SRAM; bytes of weights as they are streamed, and
    how many weights these are; operators on the accelerator and off it; seconds of compiling; whose
    estimate it is."""

    seconds: float
    sram: int
    stream: int
    weights: int
    operators: int
    elsewhere: int
    compiling: float
    by: str = "Vela"

    @property
    def bits(self) -> float:
        """Per weight."""
        return 8 * self.stream / self.weights if self.weights else 0.0


def machines() -> dict[str, Machine]:
    """All descriptions, by name."""
    folder = files("asrc.backends.nna.machines")
    paths = (Path(str(entry)) for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {path.stem: _described(path) for path in sorted(paths)}


def _described(path: Path) -> Machine:
    try:
        table = tomllib.loads(read_bytes(path).decode())
        how = Vela(**table["vela"]) if "vela" in table else _plain(table)
        return Machine(path.stem, str(table["summary"]), how)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"`{path}` describes no accelerator: {error}"
        help = "compare it with backends/nna/machines/generic-8bit.toml"
        raise AsrcError(diagnostic("E0702", message, help=help)) from None


def _plain(table: Mapping[str, Any]) -> Plain:
    kinds = {str(dtype): frozenset(map(str, names)) for dtype, names in table["operators"].items()}
    rates = Rates(**{name: float(value) for name, value in table["rates"].items()})
    if min(rates.clock, rates.products, rates.elements, rates.weights) <= 0 or rates.setup < 0:
        raise ValueError("rates are above zero")
    return Plain(kinds, rates, int(table["memory"]["sram"]))


def machine(name: str) -> Machine:
    """By name, or by the path of a description that ends in `.toml`.

    Raises AsrcError E0702 for a name that no description has and for a file that is none, E0008 for
    one that cannot be read.
    """
    if name.endswith(".toml"):
        return _described(Path(name))
    known = machines()
    if name in known:
        return known[name]
    help = did_you_mean(name, known) or f"known are {', '.join(known)}"
    raise AsrcError(diagnostic("E0702", f"there is no accelerator `{name}`", help=help))


def smallest(on: Machine) -> Machine:
    """The machine, its compiler told to make files and memory small before time: Ethos-U85 then
    reads weights of up to four values in fewer than two bits, and longer."""
    return replace(on, how=replace(on.how, optimise="Size")) if isinstance(on.how, Vela) else on


def vela(program: bytes, on: Machine) -> tuple[bytes, Estimate]:
    """A `.tflite` file compiled for a machine, and the estimates.

    Raises AsrcError E0704 where Vela is missing or does not take the program, ValueError for a
    machine that Vela does not know.
    """
    if not isinstance(on.how, Vela):
        raise ValueError(f"Vela does not compile for {on.name}")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "program.tflite")
        source.write_bytes(program)
        start = perf_counter()
        said = _run(source, on, on.how)
        seconds = perf_counter() - start
        made = next(Path(folder).glob("*_vela.tflite"), None)
        summary = next(Path(folder).glob("*_summary_*.csv"), None)
        if made is None or summary is None:
            raise _refused(on, said.splitlines()[-1] if said.strip() else "it made nothing")
        return made.read_bytes(), _estimate(summary.read_text(), said, seconds)


_VELA = "import sys; from ethosu.vela.vela import main; sys.exit(main(sys.argv[1:]))"


def _run(source: Path, on: Machine, how: Vela) -> str:
    options = {
        "--accelerator-config": how.accelerator,
        "--system-config": how.system,
        "--memory-mode": how.memory,
        "--optimise": how.optimise,
        "--config": "Arm/vela.ini",
        "--output-dir": str(source.parent),
    }
    command = [sys.executable, "-c", _VELA, str(source)]
    command += [word for pair in options.items() for word in pair]
    done = subprocess.run(command, capture_output=True, check=False, encoding="utf-8")
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise _refused(on, said)
    return done.stdout


def _refused(on: Machine, reason: str) -> AsrcError:
    message = f"Vela does not compile the program for {on.name}: {reason}"
    return AsrcError(diagnostic("E0704", message, help="pip install 'asrc[nna]' installs Vela"))


def _estimate(summary: str, said: str, seconds: float) -> Estimate:
    (row,) = csv.DictReader(summary.splitlines())
    return Estimate(
        float(row["inference_time"]),
        round(1024 * float(row["sram_memory_used"])),
        int(row["total_npu_encoded_weights"]),
        int(row["total_original_weights"]),
        _count(said, "NPU"),
        _count(said, "CPU"),
        seconds,
    )


def _count(said: str, where: str) -> int:
    found = re.search(rf"{where} operators = (\d+)", said)
    return int(found[1]) if found else 0
