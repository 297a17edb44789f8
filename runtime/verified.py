"""The golden vectors of an artefact, run again: by the executor here, by LiteRT, and by the kernels
that a file is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from ..backends.nna.golden import Mismatch, mismatches
from ..backends.nna.program import Array
from ..backends.nna.saved import restored
from ..compiler.artefact import read_artefact
from .contents import NAMES, checked, vectors_of
from .places import at


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one program on one runtime: codes that were compared, and where they first differ."""

    program: str
    runtime: str
    codes: int
    mismatch: Mismatch | None


def verified(path: Path) -> Iterator[Verdict]:
    """Every program, on the executor, and its own `.tflite` file on LiteRT's reference kernels; on
    Triton's too where it is for these.

    Raises AsrcError E0008, E1201 or E1202 for a file that is no whole artefact of a recogniser,
    E1206 where its kernels cannot run.
    """
    parts = read_artefact(path)
    runtimes = {"asrc": "asrc", "litert": "LiteRT"}
    if checked(path, parts).get("on") == "triton":
        runtimes["triton"] = "Triton"
    programs = {name: restored(parts, name).program for name in NAMES}
    vectors = {name: vectors_of(path, parts, program) for name, program in programs.items()}
    for name, place in product(NAMES, runtimes):
        program, golden = programs[name], vectors[name]
        run = at(place, program, parts[f"{name}.tflite"])
        first = next(mismatches(program, run, golden), None)
        yield Verdict(name, runtimes[place], _compared(golden), first)


def _compared(golden: Mapping[str, Array]) -> int:
    return sum(x.size for key, x in golden.items() if "/in/" not in key)
