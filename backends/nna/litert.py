"""A `.tflite` file on LiteRT: reference kernels, the judge that is not ours, or the fast ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from ...compiler.diagnostics import AsrcError, diagnostic
from .program import Array, Program
from .tflite import tflite


class LiteRt:
    """As `Executor`: a program, its states, and steps.

    `file` is the program's, written anew if not given. `fast` takes LiteRT's optimised kernels and
    XNNPACK, which round otherwise here and there; of their steps, only outputs and states are kept.
    Raises AsrcError E1201 for a file that LiteRT does not take, or that is another program's.
    """

    def __init__(self, program: Program, file: bytes | None = None, *, fast: bool = False) -> None:
        self.program = program
        self._file = tflite(program) if file is None else file
        try:
            self._interpreter = _interpreter(self._file, fast)
        except (RuntimeError, ValueError) as error:
            raise _damaged(program, f"LiteRT does not take it: {error}") from None
        details = self._interpreter.get_tensor_details()
        self._places = {d["name"]: d["index"] for d in details}
        types = {d["name"]: (d["dtype"], tuple(d["shape"])) for d in details}
        for name in (*program.inputs, *program.outputs):
            tensor = program.tensors[name]
            if types.get(name) != (np.dtype(tensor.dtype), tensor.shape):
                raise _damaged(program, f"it has no `{name}`, or another one")
        self.reset()

    def reset(self) -> None:
        """States stand for zero again."""
        self.states = self.program.at_rest()

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of one step, by name; states go on."""
        for name, codes in {**inputs, **self.states}.items():
            self._interpreter.set_tensor(self._places[name], codes)
        self._interpreter.invoke()
        self.states = {s: self.value(after) for s, after in self.program.states.items()}
        return {name: self.value(name) for name in self.program.outputs}

    def value(self, name: str) -> Array:
        """A tensor of the last step."""
        return np.array(self._interpreter.get_tensor(self._places[name]))


def _interpreter(file: bytes, fast: bool) -> Interpreter:
    resolver = OpResolverType.BUILTIN if fast else OpResolverType.BUILTIN_REF
    found = Interpreter(
        model_content=file,
        experimental_op_resolver_type=resolver,
        experimental_preserve_all_tensors=not fast,
        num_threads=1,
    )
    found.allocate_tensors()
    return found


def _damaged(program: Program, problem: str) -> AsrcError:
    message = f"`{program.name}.tflite` is not that of the program: {problem}"
    return AsrcError(diagnostic("E1201", message, help="copy it or compile it again"))
