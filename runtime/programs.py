"""One program of an artefact, on codes from a file: for whoever brings it to a device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from ..backends.nna.golden import golden_inputs
from ..backends.nna.program import Array, Program, Tensor
from ..backends.nna.saved import packed, restored
from ..compiler.artefact import read_artefact
from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.files import check_writable, read_bytes, write_bytes
from ..compiler.nearest import did_you_mean
from .contents import NAMES, checked, golden_name, vectors_of
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
    check_writable(out)
    parts = read_artefact(artefact)
    checked(artefact, parts)
    program = _program(parts, name)
    given = _read(inputs) if inputs else _golden(artefact, parts, program)
    steps = _steps(program, given)
    run = at(place, program, parts[f"{name}.tflite"])
    made: dict[str, list[Array]] = {}
    for step in range(steps):
        outputs = run.step({n: x[step] for n, x in given.items()})
        for key, codes in {**outputs, **run.states}.items():
            made.setdefault(key, []).append(codes)
    write_bytes(out, packed({key: np.stack(codes) for key, codes in made.items()}))
    return steps


def _program(parts: Mapping[str, bytes], name: str) -> Program:
    if name not in NAMES:
        help = did_you_mean(name, NAMES) or f"there are {', '.join(NAMES)}"
        raise AsrcError(diagnostic("E1205", f"the artefact has no program `{name}`", help=help))
    return restored(parts, name).program


def _golden(path: Path, parts: Mapping[str, bytes], program: Program) -> dict[str, Array]:
    """The inputs of the golden vectors. Raises AsrcError E1205 where there are none."""
    if golden_name(program.name) not in parts:
        message = f"`{path}` has no golden vectors of `{program.name}`, and no inputs are given"
        help = f"give inputs by `--inputs`, a safetensors file: {_wanted(program)}"
        raise AsrcError(diagnostic("E1205", message, help=help))
    return golden_inputs(vectors_of(path, parts, program))


def _read(path: Path) -> dict[str, Array]:
    try:
        return load(read_bytes(path))
    except (SafetensorError, TypeError, ValueError, KeyError, AttributeError) as error:
        message = f"`{path}` is no whole safetensors file that NumPy can read: {error}"
        help = "`safetensors.numpy.save_file` writes one, of arrays by name"
        raise AsrcError(diagnostic("E1205", message, help=help)) from None


def _steps(program: Program, given: Mapping[str, Array]) -> int:
    """How many steps inputs are for. Raises AsrcError E1205 where they do not fit."""
    problems = [*_misfits(program, given)]
    counts = {name: len(codes) for name, codes in given.items() if codes.ndim}
    if not problems and len({*counts.values()}) != 1:
        steps = ", ".join(f"`{name}` for {count}" for name, count in counts.items())
        problems = [f"inputs are for different numbers of steps: {steps}"]
    elif not problems and not max(counts.values()):
        problems = ["inputs are for no step at all"]
    if problems:
        more = f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        message = f"`{program.name}`: {'; '.join(problems[:_TOLD])}{more}"
        help = f"it takes {_wanted(program)}; states begin at rest and are kept"
        raise AsrcError(diagnostic("E1205", message, help=help))
    return max(counts.values())


_TOLD = 3
"""So many inputs that do not fit are named."""


def _misfits(program: Program, given: Mapping[str, Array]) -> Iterator[str]:
    """Inputs that are missing, too many, or of another type or shape."""
    wanted = _fed(program)
    yield from (f"`{name}` is missing" for name in wanted if name not in given)
    yield from (f"there is no input `{name}`" for name in given if name not in wanted)
    for name in (name for name in wanted if name in given):
        tensor, codes = program.tensors[name], given[name]
        fits = codes.ndim and (codes.shape[1:], str(codes.dtype)) == (tensor.shape, tensor.dtype)
        if not fits:
            yield f"`{name}` is {codes.dtype} {[*codes.shape]}, it must be {_type(tensor)}"


def _wanted(program: Program) -> str:
    return ", ".join(f"`{name}` {_type(program.tensors[name])}" for name in _fed(program))


def _type(tensor: Tensor) -> str:
    return f"{tensor.dtype} [steps, {', '.join(map(str, tensor.shape))}]"


def _fed(program: Program) -> list[str]:
    """Inputs beside the states, in order."""
    return [name for name in program.inputs if name not in program.states]
