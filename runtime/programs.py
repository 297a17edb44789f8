"""One program of an artefact, on codes from a file: for whoever brings it to a device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from ..backends.nna.golden import golden_inputs
from ..backends.nna.program import Array, Program
from ..backends.nna.saved import packed, restored
from ..compiler.artefact import read_artefact
from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.files import read_bytes, write_bytes
from ..compiler.nearest import did_you_mean
from .places import at


def run_program(
    artefact: Path, name: str, inputs: Path | None, out: Path, place: str = "asrc"
) -> int:
    """Run a program step by step from its state at rest, at one of `places.PLACES`; how many steps
    there were.

    `inputs` has each input by name, `[steps, *shape]` of the program's type; without it the golden
    ones are taken. `out` gets each output and state so, as they are after every step. Raises
    AsrcError E1205 where inputs do not fit, E1206 where it cannot run there, E0008, E1201, E1202
    for the files.
    """
    parts = read_artefact(artefact)
    program = _program(parts, name)
    given = _read(inputs) if inputs else golden_inputs(load(parts[f"{name}.golden.safetensors"]))
    steps = _checked(program, given)
    run = at(place, program, parts[f"{name}.tflite"])
    made: dict[str, list[Array]] = {}
    for step in range(steps):
        outputs = run.step({n: x[step] for n, x in given.items()})
        for key, codes in {**outputs, **run.states}.items():
            made.setdefault(key, []).append(codes)
    write_bytes(out, packed({key: np.stack(codes) for key, codes in made.items()}))
    return steps


def _program(parts: Mapping[str, bytes], name: str) -> Program:
    names = [one.removesuffix(".golden.safetensors") for one in parts if ".golden." in one]
    if name not in names:
        help = did_you_mean(name, names) or f"there are {', '.join(sorted(names))}"
        raise AsrcError(diagnostic("E1205", f"the artefact has no program `{name}`", help=help))
    return restored(parts, name).program


def _read(path: Path) -> dict[str, Array]:
    try:
        return load(read_bytes(path))
    except (SafetensorError, ValueError, KeyError) as error:
        message = f"`{path}` is no whole safetensors file: {error}"
        raise AsrcError(diagnostic("E1205", message)) from None


def _checked(program: Program, given: Mapping[str, Array]) -> int:
    """How many steps inputs are for."""
    wanted = [name for name in program.inputs if name not in program.states]
    problems = [f"`{name}` is missing" for name in wanted if name not in given]
    problems += [f"there is no input `{name}`" for name in given if name not in wanted]
    for name in wanted:
        tensor, codes = program.tensors[name], given.get(name)
        fits = codes is not None and (codes.shape[1:], str(codes.dtype)) == (
            tensor.shape,
            tensor.dtype,
        )
        if codes is not None and not fits:
            shape = ", ".join(map(str, tensor.shape))
            problems.append(f"`{name}` is {tensor.dtype} [steps, {shape}]")
    if len({len(codes) for codes in given.values()}) > 1:
        problems.append("inputs are for different numbers of steps")
    if problems:
        message = f"`{program.name}`: {'; '.join(problems)}"
        help = f"it takes {', '.join(wanted)}; states begin at rest and are kept"
        raise AsrcError(diagnostic("E1205", message, help=help))
    return len(given[wanted[0]])
