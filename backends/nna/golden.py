"""Golden vectors: what a program gives on inputs that are kept with it.

For whoever brings it to a device, and for `asrc verify`: inputs, outputs and states of some steps,
and every tensor of the last one, so that the first operator that differs can be named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .executor import Executor
from .lower import Lowered
from .program import LIMITS, Array, Program

STEPS = 8


class Steps(Protocol):
    """An executor, ours or another one."""

    def reset(self) -> None: ...

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]: ...

    def value(self, name: str) -> Array: ...


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where a run left the vectors: the step, the first tensor that differs, and how many codes."""

    step: int
    tensor: str
    codes: int


def recorded(lowered: Lowered, seed: int = 0, steps: int = STEPS) -> dict[str, Array]:
    """Vectors of random codes of all sizes, by `<step>/<in or out>/<tensor>`, the last step's
    tensors as `last/<tensor>`; a flag is mostly up."""
    program, chance = Executor(lowered.program), np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for step in range(steps):
        given = random_inputs(lowered, chance)
        made = program.step(given)
        found |= {f"{step}/in/{name}": codes for name, codes in given.items()}
        found |= {f"{step}/out/{name}": codes for name, codes in made.items()}
    last = {op.output: program.value(op.output) for op in lowered.program.ops}
    return found | {f"last/{name}": codes for name, codes in last.items()}


def random_inputs(lowered: Lowered, chance: np.random.Generator) -> dict[str, Array]:
    """Codes for one step, of all sizes; some frames are not there."""
    program, found = lowered.program, {}
    for name in program.inputs:
        tensor = program.tensors[name]
        if name in lowered.flags:
            found[name] = lowered.flag(name, chance.random(int(np.prod(tensor.shape))) < 0.9)
        elif name not in program.states:
            low, high = LIMITS[tensor.dtype]
            wide = chance.integers(low, high, tensor.shape, endpoint=True)
            codes = tensor.zero + wide * chance.choice([0.1, 0.4, 1.0], tensor.shape)
            found[name] = np.clip(np.rint(codes), low, high).astype(tensor.dtype)
    return found


def golden_inputs(golden: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs of the vectors by name, `[steps, *shape]`."""
    steps = 1 + max(int(key.split("/")[0]) for key in golden if not key.startswith("last/"))
    names = [key.removeprefix("0/in/") for key in golden if key.startswith("0/in/")]
    return {n: np.stack([golden[f"{step}/in/{n}"] for step in range(steps)]) for n in names}


def strays(program: Program, golden: Mapping[str, Array]) -> Iterator[str]:
    """What is missing of a program's vectors or of another type, in words."""
    ins = [name for name in program.inputs if name not in program.states]
    texts = {key.partition("/")[0] for key in golden} - {"last"}
    steps = sorted(int(text) for text in texts if text.isdecimal())
    if len(steps) != len(texts) or not steps or steps != list(range(len(steps))):
        yield f"its steps are {', '.join(sorted(texts)) or 'none'}"
        return
    wanted = {f"{step}/in/{name}": name for step in steps for name in ins}
    wanted |= {f"{step}/out/{name}": name for step in steps for name in program.outputs}
    wanted |= {f"last/{op.output}": op.output for op in program.ops}
    for key, name in wanted.items():
        tensor, codes = program.tensors[name], golden.get(key)
        if codes is None:
            yield f"`{key}` is missing"
        elif (codes.shape, str(codes.dtype)) != (tensor.shape, tensor.dtype):
            yield f"`{key}` is {codes.dtype} {[*codes.shape]}, not {tensor.dtype} {[*tensor.shape]}"


def mismatches(program: Program, run: Steps, golden: Mapping[str, Array]) -> Iterator[Mismatch]:
    """Of a run from the start; none if it gives the vectors. Raises KeyError where these are not
    the program's."""
    run.reset()
    steps = 1 + max(int(key.split("/")[0]) for key in golden if not key.startswith("last/"))
    for step in range(steps):
        wanted = {n: golden[f"{step}/out/{n}"] for n in program.outputs}
        given = {n: golden[f"{step}/in/{n}"] for n in program.inputs if n not in program.states}
        made = run.step(given)
        if step == steps - 1:
            made = {op.output: run.value(op.output) for op in program.ops}
            wanted = {name: golden[f"last/{name}"] for name in made}
        for name, codes in wanted.items():
            if count := int((made[name] != codes).sum()):
                yield Mismatch(step, name, count)
                return
