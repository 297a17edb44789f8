"""A program beside LiteRT on its own file: where their codes part, and which codes saturate."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..backends.nna.executor import Executor
from ..backends.nna.kernels import Kernel, Site, kernel
from ..backends.nna.litert import LiteRt
from ..backends.nna.program import Array, Op, Program
from ..backends.nna.recipes import recipe_of


@dataclass(frozen=True, slots=True)
class First:
    """The first value that differs, in the order in which they are computed: in which step of the
    program, frame or label, for a joint in which of both, and in how many codes."""

    value: str
    unit: str
    at: int
    codes: int
    label: int | None = None


@dataclass(frozen=True, slots=True)
class Saturated:
    """Codes of a tensor that its type could not hold, their share of all, and which operators read
    it: a sigmoid or a tanh is flat there, and nothing is lost."""

    codes: int
    share: float
    readers: tuple[str, ...]

    @property
    def rank(self) -> tuple[bool, float]:
        """The worst is the least: those first that not only sigmoids and tanhs read."""
        return {*self.readers} <= {"sigmoid", "tanh"}, -self.share


class Beside(Executor):
    """Keeps what every operator made in every step, and LiteRT's first other code.

    Values of `rectified` saturate at zero on purpose; only what is too large counts.
    """

    def __init__(self, program: Program, file: bytes, rectified: Container[str] = ()) -> None:
        super().__init__(program)
        self.other = LiteRt(program, file)
        self.steps: list[dict[str, Array]] = []
        self.compared, self.first = 0, None
        self._wide = [(op, self._unbounded(op)) for op in program.ops if op.output in rectified]

    first: First | None

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.other.states = dict(self.states)
        before = dict(self.saturated)
        made, _ = super().step(inputs), self.other.step(inputs)
        for op in self.program.ops:
            self._compare(op.output)
        for op, run in self._wide:
            codes = run([self.values[name] for name in op.inputs])
            above = int((codes > self.program.tensors[op.output].limits[1]).sum())
            self.saturated[op.output] = before.get(op.output, 0) + above
        self.steps.append(self.values)
        return made

    def _compare(self, name: str) -> None:
        ours, theirs = self.values[name], self.other.value(name)
        self.compared += ours.size
        if self.first is None and not np.array_equal(ours, theirs):
            self.first = First(name, "step", len(self.steps), int((ours != theirs).sum()))

    def _unbounded(self, op: Op) -> Kernel:
        """The operator with codes of 32 bits, which hold what saturates."""
        tensors, output = self.program.of(op)
        wide = replace(output, dtype="int32")
        return kernel(Site(op.kind, tensors, wide, recipe_of(self.program, op), op.options))

    def saturation(self) -> dict[str, Saturated]:
        """By tensor, the worst first."""
        found = {}
        for name, codes in self.saturated.items():
            if codes:
                whole = len(self.steps) * self.values[name].size
                found[name] = Saturated(codes, codes / whole, readers_of(self.program, name))
        return dict(sorted(found.items(), key=lambda item: item[1].rank))


def readers_of(program: Program, name: str) -> tuple[str, ...]:
    """Kinds of the operators that read a tensor, slices looked through."""
    found: dict[str, None] = {}
    for op in program.ops:
        if name in op.inputs:
            kinds = readers_of(program, op.output) if op.kind == "slice" else (op.kind,)
            found |= dict.fromkeys(kinds)
    return tuple(found)
