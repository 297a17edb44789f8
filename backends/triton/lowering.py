"""Models for fast inference: a lowered model whose parts and steps run on kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from ..torch.lowered import Lowered, PartModule
from ..torch.stepmodule import StepModule
from .rewrite import Placed, Rewriter
from .ring_steps import ring_turns, with_rings
from .ring_windows import Turns


class TritonModel(Lowered):
    """A lowered model, with its parameters, whose values are made by kernels.

    For inference: nothing has a gradient. `report` says of each part which kernel makes which
    value, and what PyTorch still does and why.
    """

    on_kernels: ClassVar[bool] = True
    report: Mapping[str, tuple[Placed, ...]]
    _fast: dict[tuple[str, int], StepModule]

    def __init__(self, lowered: Lowered) -> None:
        self.__dict__.update(lowered.__dict__)
        report: dict[str, tuple[Placed, ...]] = {}
        parts: dict[str, PartModule] = {}
        for name, part in lowered.parts.items():
            work = Rewriter(part.module)
            parts[name] = replace(part, module=work.run())
            report[name] = tuple(work.placed)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "report", report)
        object.__setattr__(self, "_fast", {})

    def step(self, part: str = "frames", multiple: int = 1) -> StepModule:
        """As `Lowered.step`, with kernels.

        Of frames it is a `RingStep`, whose windows are rings. Labels are tried out, and what
        decoders put aside has to stay as it is: their steps give whole states.
        """
        if (part, multiple) not in self._fast:
            plain = super().step(part, multiple)
            self._fast[part, multiple], placed = with_rings(plain, self._turns(part))
            object.__setattr__(self, "report", {**self.report, f"{part} step": placed})
        return self._fast[part, multiple]

    def _turns(self, part: str) -> Turns:
        """The rings of a part, the same in steps of any number of quanta."""
        if part != "frames":
            return {}
        return ring_turns(super().step(part), self.facts.schedule.lines)


def to_triton(lowered: Lowered) -> TritonModel:
    """The same model on kernels; both have the same parameters."""
    return TritonModel(lowered)
