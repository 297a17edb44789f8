"""The golden vectors of an artefact, run again: by the executor here, by LiteRT, and by the kernels
that a file is for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load

from ..backends.nna.golden import Mismatch, mismatches
from ..backends.nna.saved import restored
from ..compiler.artefact import read_artefact
from ..compiler.diagnostics import AsrcError, diagnostic
from .compiled import NAMES
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
    if json.loads(parts["manifest.json"]).get("on") == "triton":
        runtimes["triton"] = "Triton"
    for name in NAMES:
        program = restored(parts, name).program
        try:
            golden = load(parts[f"{name}.golden.safetensors"])
            file = parts[f"{name}.tflite"]
        except (KeyError, ValueError) as error:
            message = f"`{path}` has no golden vectors of `{name}`: {error}"
            raise AsrcError(diagnostic("E1201", message, help="compile it again")) from None
        codes = sum(x.size for key, x in golden.items() if "/in/" not in key)
        for place, runtime in runtimes.items():
            run = at(place, program, file)
            yield Verdict(name, runtime, codes, next(mismatches(program, run, golden), None))
