"""The accelerator's softmax on batches, by tables of its exponential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ...nna.fixed import divide_by_power, doubling_high
from ...nna.formats import PROBABILITY, Code, floor_of
from ...nna.program import Tensor as Format
from ...nna.recipes import RECIPES, Softmax
from ...nna.softmax import (
    SUM_BITS,
    exponential,
    half_reciprocal,
    scaled_differences,
    zeros_in_front,
)
from .pointwise import looked_up


def as_tensor(code: Code) -> Format:
    """A tensor of these codes, as recipes ask for one."""
    return Format("", (1, 1, 1, 1), code.dtype, code.scale, code.zero)


@dataclass(frozen=True)
class SoftmaxTables:
    """`backends/nna/softmax.py` for differences from 0 down to -255: powers, and powers as they
    enter the sum; what is nearer than `least` to nothing is nothing."""

    powers: Tensor
    summands: Tensor
    floor: int

    @staticmethod
    def of(scores: Code, beta: float) -> SoftmaxTables:
        recipe = RECIPES["softmax"]([as_tensor(scores)], as_tensor(PROBABILITY), {"beta": beta})
        by = cast("Softmax", recipe)
        difference = np.arange(-255, 1)
        powers = exponential(scaled_differences(difference, by.by))
        powers = np.where(difference >= by.least, powers, 0)
        summands = divide_by_power(powers, SUM_BITS)
        return SoftmaxTables(
            torch.from_numpy(powers), torch.from_numpy(summands), floor_of(scores, beta)
        )

    def __call__(self, scores: Tensor, seen: Tensor) -> Tensor:
        """Codes of probabilities of int32 codes over the last axis; nothing where not `seen`."""
        raised = scores.clamp(min=self.floor).masked_fill(~seen, -128)
        place = raised - raised.amax(-1, keepdim=True) + 255
        powers = looked_up(self.powers, place) * seen
        total = (looked_up(self.summands, place) * seen).sum(-1, keepdim=True)
        rows = total.clamp(min=1).cpu().numpy()
        over = zeros_in_front(rows)
        reciprocal = half_reciprocal((rows << over) - (1 << 31))
        exponent = torch.from_numpy((SUM_BITS - over) + 31 - 8).to(scores.device)
        product = doubling_high(powers, torch.from_numpy(reciprocal).to(scores.device))
        codes: Tensor = divide_by_power(product, exponent) - 128
        return codes.clamp(-128, 127).to(torch.int32)
