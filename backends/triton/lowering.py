"""Models for fast inference: a lowered model whose parts and steps run on kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import fx

from ..torch.lowered import Lowered, PartModule
from ..torch.stepmodule import StepModule
from .modules import Bands, Fast, Linear, Recurrent
from .rewrite import Placed, Rewriter
from .ring_steps import ring_turns, with_rings
from .ring_windows import Turns

IN_PRECISION = (Linear, Bands, Recurrent)
"""What multiplies with a weight on tensor cores."""


class TritonModel(Lowered):
    """A lowered model, with its parameters, whose values are made by kernels.

    For inference: nothing has a gradient. `report` says of each part which kernel makes which
    value, and what PyTorch still does and why. With a half `precision`, weights of products are in
    it and tensor cores multiply in it; sums, and all values in memory, stay in float32.
    """

    on_kernels: ClassVar[bool] = True
    report: Mapping[str, tuple[Placed, ...]]
    precision: torch.dtype | None
    _fast: dict[tuple[str, int], StepModule]

    def __init__(self, lowered: Lowered, precision: torch.dtype | None = None) -> None:
        self.__dict__.update(lowered.__dict__)
        object.__setattr__(self, "precision", precision)
        report: dict[str, tuple[Placed, ...]] = {}
        parts: dict[str, PartModule] = {}
        for name, part in lowered.parts.items():
            work = Rewriter(part.module)
            parts[name] = replace(part, module=self._in_precision(work.run()))
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
            self._in_precision(self._fast[part, multiple].module)
            object.__setattr__(self, "report", {**self.report, f"{part} step": placed})
        return self._fast[part, multiple]

    def _in_precision(self, module: fx.GraphModule) -> fx.GraphModule:
        for each in module.modules():
            if isinstance(each, Fast):
                each.precision = self.precision
        return module

    def in_products(self) -> frozenset[str]:
        """Names of the float weights that kernels take in the model's precision."""
        modules = (each for part in self.parts.values() for each in part.module.modules())
        leaves = {id(each.leaf.weight) for each in modules if isinstance(each, IN_PRECISION)}
        narrow = {name.rpartition(".")[0] for name in self.tensors() if name.endswith(".scale")}
        own = ((name, x) for name, x in self.tensors().items() if id(x) in leaves)
        return frozenset(name for name, _ in own if name.rpartition(".")[0] not in narrow)

    def _turns(self, part: str) -> Turns:
        """The rings of a part, the same in steps of any number of quanta."""
        if part != "frames":
            return {}
        return ring_turns(super().step(part), self.facts.schedule.lines)


def to_triton(lowered: Lowered, precision: torch.dtype | None = None) -> TritonModel:
    """The same model on kernels; both have the same parameters."""
    return TritonModel(lowered, precision)
