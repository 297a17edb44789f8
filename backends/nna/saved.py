"""Programs as parts of an artefact: structure as JSON, constants as safetensors, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ...compiler.diagnostics import AsrcError, diagnostic
from .lower import Lowered
from .lowering import Flag
from .program import Array, Op, Program, Tensor


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
    try:
        found = json.loads(parts[f"{name}.json"])
        constants = load(parts[f"{name}.safetensors"])
        return _lowered(found, constants)
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        message = f"the artefact has no program `{name}`: {error}"
        raise AsrcError(diagnostic("E1201", message, help="compile it again")) from None


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
