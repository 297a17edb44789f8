"""Runs an integer program, step by step, exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from .kernels import Kernel, Site, kernel
from .program import Array, Op, Program
from .recipes import recipe_of


class Executor:
    """A program and its states; `values` are the tensors of the last step, by name.

    `saturated` counts codes that an operator's output could not hold, by the output's name.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.saturated: Counter[str] = Counter()
        self.values: dict[str, Array] = {}
        self._kernels = [self._kernel(op) for op in program.ops]
        self._constants = {t.name: t.data for t in program.tensors.values() if t.data is not None}
        self.reset()

    def _kernel(self, op: Op) -> Kernel:
        tensors, output = self.program.of(op)
        recipe = recipe_of(self.program, op)
        return kernel(Site(op.kind, tensors, output, recipe, op.options, self._counted(op.output)))

    def _counted(self, output: str) -> Callable[[int], None]:
        def count(codes: int) -> None:
            self.saturated[output] += codes

        return count

    def reset(self) -> None:
        """States stand for zero again."""
        self.states = self.program.at_rest()

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of one step, by name; states go on. Raises ValueError for what does not fit.

        Inputs may have any number of rows, the states before it as many: each is by itself.
        """
        values = {**self._constants, **self.states, **self._checked(inputs)}
        for op, run in zip(self.program.ops, self._kernels, strict=True):
            values[op.output] = run([values[name] for name in op.inputs])
        self.values = values
        self.states = {state: values[after] for state, after in self.program.states.items()}
        return {name: values[name] for name in self.program.outputs}

    def value(self, name: str) -> Array:
        """A tensor of the last step."""
        return self.values[name]

    def _checked(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        wanted = {n for n in self.program.inputs if n not in self.program.states}
        if inputs.keys() != wanted:
            raise ValueError(f"inputs are {sorted(wanted)}, not {sorted(inputs)}")
        rows = max((len(codes) for codes in (*inputs.values(), *self.states.values())), default=1)
        for name, codes in (*inputs.items(), *self.states.items()):
            tensor = self.program.tensors[name]
            shape = (rows, *tensor.shape[1:])
            if (codes.shape, codes.dtype) != (shape, np.dtype(tensor.dtype)):
                raise ValueError(f"`{name}` is {tensor.dtype} {list(shape)}")
        return inputs
