"""An integer program on kernels, with codes of NumPy: as `nna/executor.py` has it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..nna.program import Array, Program
from .exact import ExactProgram


class ExactStream:
    """A program and its states, on a device; any number of rows at once, each by itself."""

    def __init__(self, program: Program, device: torch.device | str) -> None:
        self.program = program
        self._run = ExactProgram(program, 1, device)

    def reset(self) -> None:
        """States stand for zero again."""
        self._run.reset()

    @property
    def states(self) -> dict[str, Array]:
        return {name: codes.cpu().numpy().copy() for name, codes in self._run.states.items()}

    @states.setter
    def states(self, states: Mapping[str, Array]) -> None:
        for name, codes in states.items():
            self._resize(len(codes))
            self._run.states[name].copy_(torch.from_numpy(codes))

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of one step, by name; states go on. Raises ValueError for what does not fit."""
        given = {name: torch.from_numpy(x).to(self._run.device) for name, x in inputs.items()}
        if not self._run.states:
            self._resize(max(map(len, given.values()), default=1))
        return {name: codes.cpu().numpy() for name, codes in self._run.step(given).items()}

    def _resize(self, rows: int) -> None:
        if rows != self._run.streams:
            self._run.resize(rows)

    def value(self, name: str) -> Array:
        """A tensor of the last step."""
        return self._run.value(name).cpu().numpy()
