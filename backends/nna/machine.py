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
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ...compiler.diagnostics import AsrcError, diagnostic
from ...compiler.files import read_bytes
from ...compiler.nearest import did_you_mean
from .program import LIMITS, Program
from .recipes import RECIPES


@dataclass(frozen=True, slots=True)
class Vela:
    """Vela's names of the accelerator, of the system around it, of its memories, of what to make
    small: time (`Performance`) or files and memory (`Size`); `None` where nobody has said."""

    accelerator: str
    system: str
    memory: str
    optimise: str | None = None

    def __post_init__(self) -> None:
        if self.optimise not in (None, "Performance", "Size"):
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
    estimate it is; bytes of flash and of DRAM, `None` where an older asrc has not written them; how
    many operators of each kind are off it, of which seconds and weights say nothing."""

    seconds: float
    sram: int
    stream: int
    weights: int
    operators: int
    elsewhere: int
    compiling: float
    by: str = "Vela"
    flash: int | None = None
    dram: int | None = None
    lacking: Mapping[str, int] = field(default_factory=dict)

    @property
    def bits(self) -> float:
        """Per weight."""
        return 8 * self.stream / self.weights if self.weights else 0.0


def machines() -> dict[str, Machine]:
    """All descriptions, by name."""
    folder = files("asrc.backends.nna.machines")
    paths = (Path(str(entry)) for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {path.stem: _described(path) for path in sorted(paths)}


class _Unfit(ValueError):
    """What is wrong with a description, and what helps."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


def _described(path: Path) -> Machine:
    try:
        table = tomllib.loads(read_bytes(path).decode())
        how = _vela(table) if "vela" in table else _plain(table)
        return Machine(path.stem, _text("a description", table, "summary"), how)
    except ValueError as error:
        message = f"`{path}` describes no accelerator: {error}"
        help = getattr(error, "help", "")
        help = help or "compare it with backends/nna/machines/generic-8bit.toml"
        raise AsrcError(diagnostic("E0702", message, help=help)) from None


def _vela(table: Mapping[str, Any]) -> Vela:
    _check_names("a description for Vela", table, ("summary", "vela"))
    names = _table(table, "vela")
    _check_names("[vela]", names, ("accelerator", "system", "memory"), ("optimise",))
    return Vela(**{name: _text("[vela]", names, name) for name in names})


def _plain(table: Mapping[str, Any]) -> Plain:
    _check_names("a description", table, ("summary", "operators", "rates", "memory"), ("vela",))
    memory, operators = _table(table, "memory"), _table(table, "operators")
    _check_names("[memory]", memory, ("sram",))
    _check_names("[operators]", operators, (), LIMITS)
    kinds = {dtype: _kinds(dtype, names) for dtype, names in operators.items()}
    return Plain(kinds, _rates(_table(table, "rates")), _bytes("sram", memory["sram"]))


def _rates(table: Mapping[str, Any]) -> Rates:
    _check_names("[rates]", table, [each.name for each in fields(Rates)])
    return Rates(**{name: _rate(name, value) for name, value in table.items()})


_BOUNDS = {
    "clock": ("1e3", "1e12", "cycles a second"),
    "products": ("1e-3", "1e9", "products a cycle"),
    "elements": ("1e-3", "1e9", "results a cycle"),
    "setup": ("0", "1e9", "cycles"),
    "weights": ("1e-3", "1e9", "bytes a cycle"),
}
"""What rates may be, wider than any machine's, and their units."""


def _rate(name: str, value: object) -> float:
    least, most, unit = _BOUNDS[name]
    help = f"`{name}` is a number of {unit}, from {least} to {most}"
    number = _number(name, value, help)
    if number <= 0 < float(least):
        raise _Unfit(f"`{name}` is {value!r:.40}, rates are above zero", help)
    if not float(least) <= number <= float(most):
        raise _Unfit(f"`{name}` is {value!r:.40}, which no machine has", help)
    return number


def _check_names(
    where: str, table: Iterable[str], needed: Iterable[str], known: Iterable[str] = ()
) -> None:
    """Raises _Unfit for a name that is not known, with a near one, and for one that lacks."""
    needed, every = list(needed), [*needed, *known]
    for name in table:
        if name not in every:
            help = did_you_mean(name, every) or f"known are {', '.join(every)}"
            raise _Unfit(f"{where} has no `{name}`", help)
    if lacking := [name for name in needed if name not in table]:
        raise _Unfit(f"{where} needs `{lacking[0]}`")


def _table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if not isinstance(found := table[name], Mapping):
        raise _Unfit(f"`{name}` is a table: `[{name}]`")
    return found


def _text(where: str, table: Mapping[str, Any], name: str) -> str:
    if not isinstance(found := table[name], str) or not found.strip():
        raise _Unfit(f"{where} has `{name} = {found!r}`, it must be a text")
    return found


def _number(name: str, value: object, help: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value) if abs(value) < 1e300 else float("inf")
        if isfinite(number):
            return number
    raise _Unfit(f"`{name}` is {value!r:.40}, it must be a finite number", help)


_MOST_BYTES = 1 << 50


def _bytes(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST_BYTES:
        message = f"`{name}` is {value!r:.40}, it must be a whole number of bytes above zero"
        raise _Unfit(message, f"`{name}` is a number of bytes, from 1 to {_MOST_BYTES:_}")
    return value


def _kinds(dtype: str, names: object) -> frozenset[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _Unfit(f"`{dtype}` must be a list of operators' names")
    _check_names(f"asrc, for `{dtype}`,", names, (), RECIPES)
    return frozenset(names)


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
    help = _begun(name, known) or did_you_mean(name, known) or f"known are {', '.join(known)}"
    raise AsrcError(diagnostic("E0702", f"there is no accelerator `{name}`", help=help))


def _begun(name: str, known: Iterable[str]) -> str:
    """A help line with all names that begin so: a machine's family is asked for, not its size."""
    found = [f"`{each}`" for each in known if name and each.startswith(name.lower())]
    return f"did you mean {' or '.join(found)}?" if found else ""


def chosen(names: Iterable[str], optimise: str | None = None) -> list[Machine]:
    """Machines by name or path; `optimise`, if given, for `Performance` or `Size`.

    Raises what `machine` raises, and AsrcError E0702 for two of one name, by which their programs
    and estimates are kept.
    """
    found: dict[str, Machine] = {}
    for on in map(machine, names):
        if on.name in found:
            message = f"two accelerators are called `{on.name}`"
            help = "a file gives its name without `.toml`: rename one, or name it once"
            raise AsrcError(diagnostic("E0702", message, help=help))
        found[on.name] = on if optimise is None else told(on, optimise)
    return list(found.values())


def description(on: Machine) -> dict[str, Any]:
    """What a machine is, as plain data: with it, two estimates can be told apart."""
    if isinstance(on.how, Vela):
        return {"summary": on.summary, **asdict(on.how)}
    operators = {dtype: sorted(kinds) for dtype, kinds in on.how.operators.items()}
    rates = asdict(on.how.rates)
    return {"summary": on.summary, "operators": operators, "rates": rates, "sram": on.how.sram}


def told(on: Machine, optimise: str) -> Machine:
    """The machine, its compiler told what to make small, if it has one."""
    return replace(on, how=replace(on.how, optimise=optimise)) if isinstance(on.how, Vela) else on


_FEW = 4


def settled(on: Machine, programs: Iterable[Program]) -> Machine:
    """The machine, its compiler told what suits the weights where nobody has said: `Size` if most
    have at most four values.

    Vela else gives an Ethos-U85 two bits for each of these, a form that is read faster. Of few
    values it gains next to no time, and they take up to twice the memory.
    """
    if not isinstance(on.how, Vela) or on.how.optimise is not None:
        return on
    weights = [np.asarray(w.data) for program in programs for w in program.weights().values()]
    few = sum(codes.size for codes in weights if len(np.unique(codes)) <= _FEW)
    return told(on, "Size" if 2 * few > sum(codes.size for codes in weights) else "Performance")


def vela(program: bytes, on: Machine) -> tuple[bytes, Estimate]:
    """A `.tflite` file compiled for a machine, and the estimates.

    Raises AsrcError E0704 where Vela is missing, does not take the program or says nothing of it,
    ValueError for a machine that has no such compiler.
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
        return made.read_bytes(), _estimate(on, summary.read_text(), said, seconds)


_VELA = "import sys; from ethosu.vela.vela import main; sys.exit(main(sys.argv[1:]))"


def _run(source: Path, on: Machine, how: Vela) -> str:
    options = {
        "--accelerator-config": how.accelerator,
        "--system-config": how.system,
        "--memory-mode": how.memory,
        "--optimise": how.optimise or "Performance",
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
    return AsrcError(diagnostic("E0704", message, help=_help(reason)))


_INSTALL = "`pip install -e '.[nna]' -c constraints.txt` installs Vela"
_NAMED = ("--accelerator-config", "--system-config", "--memory-mode")


def _help(reason: str) -> str:
    """By what Vela, or Python in its place, said last."""
    if "No module named" in reason:
        return _INSTALL
    if any(option in reason for option in _NAMED):
        return "a description has Vela's own names: those of `vela --help` and of its Arm/vela.ini"
    return "Vela refuses the program itself; without this --machine it is compiled all the same"


def _estimate(on: Machine, summary: str, said: str, seconds: float) -> Estimate:
    """Raises AsrcError E0704 where Vela's summary lacks a figure."""
    try:
        (row,) = csv.DictReader(summary.splitlines())
        return _read(row, said, seconds)
    except (KeyError, TypeError, ValueError) as error:
        message = f"Vela's summary for {on.name} is not one that asrc reads: {error}"
        help = f"{_INSTALL}, of a version that asrc knows"
        raise AsrcError(diagnostic("E0704", message, help=help)) from None


def _read(row: Mapping[str, str], said: str, seconds: float) -> Estimate:
    return Estimate(
        float(row["inference_time"]),
        _memory(row, "sram"),
        int(row["total_npu_encoded_weights"]),
        int(row["total_original_weights"]),
        _count(said, "NPU"),
        _count(said, "CPU"),
        seconds,
        flash=_memory(row, "on_chip_flash") + _memory(row, "off_chip_flash"),
        dram=_memory(row, "dram"),
        lacking=_on_cpu(said),
    )


def _on_cpu(said: str) -> dict[str, int]:
    """How many operators of each kind Vela has warned of; a warning is no figure, so none need be
    there."""
    return dict(Counter(re.findall(r"^Warning: .*?(\w+) '.*Placing on CPU", said, re.MULTILINE)))


def _memory(row: Mapping[str, str], kind: str) -> int:
    """Bytes, of Vela's KiB."""
    return round(1024 * float(row[f"{kind}_memory_used"]))


def _count(said: str, where: str) -> int:
    found = re.search(rf"{where} operators = (\d+)", said)
    if found is None:
        raise ValueError(f"it does not say how many operators are on the {where}")
    return int(found[1])
