"""Accelerators: their description files, and what their own compiler says of a program.

A machine is a file in `machines/`; another one needs no code. Times, memory and sizes are the
estimates of the downstream compiler, Vela; nothing here has run on a device.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from time import perf_counter

from ...compiler.diagnostics import AsrcError, diagnostic
from ...compiler.nearest import did_you_mean


@dataclass(frozen=True, slots=True)
class Machine:
    """What Vela is told: its names of the accelerator, of the system around it, of its memories."""

    name: str
    summary: str
    accelerator: str
    system: str
    memory: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one step of a program: seconds; bytes of SRAM; bytes of weights as they are streamed, and
    how many weights these are; operators on the accelerator and off it; seconds of compiling."""

    seconds: float
    sram: int
    stream: int
    weights: int
    operators: int
    elsewhere: int
    compiling: float

    @property
    def bits(self) -> float:
        """Per weight."""
        return 8 * self.stream / self.weights if self.weights else 0.0


def machines() -> dict[str, Machine]:
    """All descriptions, by name."""
    folder = files("asrc.backends.nna.machines")
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return {m.name: m for m in sorted(map(_described, found), key=lambda machine: machine.name)}


def _described(entry: object) -> Machine:
    path = Path(str(entry))
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return Machine(path.stem, table["summary"], **table["vela"])


def machine(name: str) -> Machine:
    """Raises AsrcError E0702 for a name that no description has."""
    known = machines()
    if name in known:
        return known[name]
    help = did_you_mean(name, known) or f"known are {', '.join(known)}"
    raise AsrcError(diagnostic("E0702", f"there is no accelerator `{name}`", help=help))


def vela(program: bytes, on: Machine) -> tuple[bytes, Estimate]:
    """A `.tflite` file compiled for a machine, and the estimates.

    Raises AsrcError E0704 where Vela is missing or does not take the program.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "program.tflite")
        source.write_bytes(program)
        start = perf_counter()
        said = _run(source, on)
        seconds = perf_counter() - start
        made = next(Path(folder).glob("*_vela.tflite"), None)
        summary = next(Path(folder).glob("*_summary_*.csv"), None)
        if made is None or summary is None:
            raise _refused(on, said.splitlines()[-1] if said.strip() else "it made nothing")
        return made.read_bytes(), _estimate(summary.read_text(), said, seconds)


_VELA = "import sys; from ethosu.vela.vela import main; sys.exit(main(sys.argv[1:]))"


def _run(source: Path, on: Machine) -> str:
    options = {
        "--accelerator-config": on.accelerator,
        "--system-config": on.system,
        "--memory-mode": on.memory,
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
