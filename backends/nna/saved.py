"""Programs as parts of an artefact: structure as JSON, constants as safetensors, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ...compiler.diagnostics import AsrcError, diagnostic
from ...compiler.schema import (
    ANY,
    COUNT,
    NAME,
    POSITIVE,
    SIZE,
    WHOLE,
    Kind,
    either,
    listed,
    misfits,
    one_of,
    record,
    table,
)
from .fits import unfitting
from .lower import Lowered
from .lowering import Flag
from .program import LIMITS, Array, Op, Program, Tensor
from .recipes import RECIPES

_NAMES, _FRAMES = listed(NAME), listed(WHOLE)
_TENSOR: Mapping[str, Kind] = {
    "name": NAME,
    "shape": listed(COUNT),
    "dtype": one_of(*LIMITS),
    "scale": either(POSITIVE, listed(POSITIVE)),
    "zero": WHOLE,
    "axis": SIZE,
}
_FLAG: Mapping[str, Kind] = {"path": NAME, "frames": _FRAMES, "out": WHOLE, "there": WHOLE}


_AXES = listed(SIZE)
_OPTIONS: Mapping[str, Mapping[str, Kind]] = {
    "concat": {"axis": SIZE},
    "slice": {"axis": SIZE, "first": SIZE, "count": COUNT},
    "mean": {"axes": _AXES},
    "transpose": {"order": _AXES},
}
"""What an operator of a kind must have."""
_PAIR = Kind("two counts", lambda x: listed(COUNT).fits(x) and len(x) == 2)
_FREE: Mapping[str, Kind] = {
    **dict.fromkeys(("stride", "dilation"), _PAIR),
    "turned": Kind("true or false", lambda x: isinstance(x, bool)),
    "beta": POSITIVE,
    "by": COUNT,
}


def _is_op(x: Any) -> bool:
    kinds = (one_of(*RECIPES), _NAMES, NAME, table(ANY))
    if not isinstance(x, list) or len(x) != len(kinds):
        return False
    parts = all(kind.fits(part) for kind, part in zip(kinds, x, strict=True))
    return parts and record(_OPTIONS.get(x[0], {}), _FREE).fits(x[3])


PROGRAM: Mapping[str, Kind] = {
    "name": NAME,
    "tensors": listed(record(_TENSOR)),
    "ops": listed(Kind("an operator: kind, inputs, output, options", _is_op)),
    "inputs": _NAMES,
    "outputs": _NAMES,
    "states": table(NAME),
    "frames": table(_FRAMES),
    "count": table(COUNT),
    "flags": table(record(_FLAG)),
    "made": table(NAME),
}
"""What `<name>.json` must have."""


def saved(lowered: Lowered, name: str) -> dict[str, bytes]:
    """The parts `<name>.json` and `<name>.safetensors`."""
    program = lowered.program
    constants = {t.name: t.data for t in program.tensors.values() if t.data is not None}
    whole = {
        "name": program.name,
        "tensors": [_of_tensor(tensor) for tensor in program.tensors.values()],
        "ops": [[op.kind, op.inputs, op.output, op.options] for op in program.ops],
        "inputs": program.inputs,
        "outputs": program.outputs,
        "states": program.states,
        "frames": lowered.frames,
        "count": lowered.count,
        "flags": {name: asdict(flag) for name, flag in lowered.flags.items()},
        "made": lowered.made,
    }
    text = json.dumps(whole, indent=1)
    return {f"{name}.json": text.encode(), f"{name}.safetensors": packed(constants)}


def packed(arrays: Mapping[str, Array]) -> bytes:
    """As safetensors, which would write the memory of a view as it lies."""
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def _of_tensor(tensor: Tensor) -> dict[str, Any]:
    plain = {"name": tensor.name, "shape": tensor.shape, "dtype": tensor.dtype}
    return {**plain, "scale": tensor.scale, "zero": tensor.zero, "axis": tensor.axis}


def restored(parts: Mapping[str, bytes], name: str) -> Lowered:
    """Raises AsrcError E1201 where parts are missing or are no program."""
    for part in (f"{name}.json", f"{name}.safetensors"):
        if part not in parts:
            raise _no_program(name, f"`{part}` is missing")
    try:
        found = json.loads(parts[f"{name}.json"])
        for problem in misfits(found, PROGRAM):
            raise ValueError(f"in `{name}.json`, {problem}")
        lowered = _lowered(found, load(parts[f"{name}.safetensors"]))
    except (KeyError, TypeError, ValueError, RecursionError, SafetensorError) as error:
        raise _no_program(name, str(error)) from None
    if lowered.program.name != name:
        raise _no_program(name, f"`{name}.json` is of `{lowered.program.name}`")
    for problem in _strays(lowered):
        raise _no_program(name, problem)
    return lowered


def _no_program(name: str, problem: str) -> AsrcError:
    message = f"the artefact has no program `{name}`: {problem}"
    return AsrcError(diagnostic("E1201", message, help="compile it again"))


def _strays(lowered: Lowered) -> Iterator[str]:
    """Names that stand for nothing, and constants of another type than their tensors."""
    program, known = lowered.program, lowered.program.tensors
    named = {*program.inputs, *(op.output for op in program.ops), *lowered.made.values()}
    yield from (f"there is no tensor `{name}`" for name in sorted(named - known.keys()))
    fed = {*program.inputs} - program.states.keys()
    if not fed:
        yield "it has no input beside its states"
    yield from (f"its state `{s}` is no input" for s in program.states if s not in program.inputs)
    flags = sorted(lowered.flags.keys() - fed)
    yield from (f"its flag `{name}` is no input" for name in flags)
    ports = sorted({*fed, *lowered.made})
    yield from (f"frames of `{name}` are missing" for name in ports if not _is_timed(lowered, name))
    yield from (f"`{name}` is no output" for name in lowered.made if not _is_made(lowered, name))
    for tensor in known.values():
        if tensor.data is not None and not _is_its_own(tensor, tensor.data):
            yield f"the codes of `{tensor.name}` are no {tensor.dtype} {list(tensor.shape)}"
    yield from unfitting(program)


def _is_made(lowered: Lowered, name: str) -> bool:
    return lowered.made[name] in lowered.program.outputs


def _is_timed(lowered: Lowered, name: str) -> bool:
    return bool(lowered.frames.get(name)) and name in lowered.count


def _is_its_own(tensor: Tensor, data: Array) -> bool:
    """Whether codes are of a tensor's shape and type."""
    return (data.shape, str(data.dtype)) == (tensor.shape, tensor.dtype)


def _lowered(found: Mapping[str, Any], constants: Mapping[str, Array]) -> Lowered:
    tensors = (_tensor(plain, constants.get(plain["name"])) for plain in found["tensors"])
    ops = (Op(kind, tuple(reads), makes, _tuples(o)) for kind, reads, makes, o in found["ops"])
    program = Program(
        found["name"],
        {tensor.name: tensor for tensor in tensors},
        tuple(ops),
        tuple(found["inputs"]),
        tuple(found["outputs"]),
        found["states"],
    )
    frames = {path: tuple(frames) for path, frames in found["frames"].items()}
    flags = {name: Flag(**_tuples(plain)) for name, plain in found["flags"].items()}
    return Lowered(program, frames, found["count"], flags, found["made"])


def _tensor(plain: Mapping[str, Any], data: Array | None) -> Tensor:
    scale = plain["scale"]
    scale = tuple(scale) if isinstance(scale, list) else scale
    shape = tuple(plain["shape"])
    return Tensor(plain["name"], shape, plain["dtype"], scale, plain["zero"], plain["axis"], data)


def _tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
