"""A program on LiteRT's reference kernels: the judge that is not ours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from asrc.backends.nna.program import Array, Program
from asrc.backends.nna.tflite import tflite


class LiteRt:
    """As `Executor`: a program, its states, and steps."""

    def __init__(
        self, program: Program, kernels: OpResolverType = OpResolverType.BUILTIN_REF
    ) -> None:
        self.program = program
        self._model = tflite(program)
        self._interpreter = Interpreter(
            model_content=self._model,
            experimental_op_resolver_type=kernels,
            experimental_preserve_all_tensors=True,
            num_threads=1,
        )
        self._interpreter.allocate_tensors()
        self._places = {d["name"]: d["index"] for d in self._interpreter.get_tensor_details()}
        tensors = (program.tensors[name] for name in program.states)
        self.states = {t.name: np.full(t.shape, t.zero, t.dtype) for t in tensors}

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        for name, codes in {**inputs, **self.states}.items():
            self._interpreter.set_tensor(self._places[name], codes)
        self._interpreter.invoke()
        self.states = {s: self._value(after) for s, after in self.program.states.items()}
        return {name: self._value(name) for name in self.program.outputs}

    def _value(self, name: str) -> Array:
        return np.array(self._interpreter.get_tensor(self._places[name]))
