"""Real numbers that stand for codes: rounding with gradients that go straight through.

In a quantised model every value is `scale * (code - zero)` in float32, and its code can be had back
exactly. Rounding has slope one inside the range and zero where it saturates (Bengio, Leonard and
Courville 2013: the straight-through estimator).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...nna.fixed import Rescale
from ...nna.formats import Code
from ...nna.program import LIMITS


def codes_of(x: Tensor, code: Code) -> Tensor:
    """int32 codes, the nearest ones, halves away from zero, saturated; of NaN, zero's."""
    low, high = LIMITS[code.dtype]
    steps = torch.nan_to_num(x.float() / code.scale, nan=0.0)
    rounded = torch.trunc(steps + torch.copysign(steps.new_tensor(0.5), steps)) + code.zero
    return rounded.clamp(low, high).to(torch.int32)


def reals_of(codes: Tensor, code: Code) -> Tensor:
    """What codes stand for, float32."""
    return (codes - code.zero).to(torch.float32) * code.scale


class Rescaler:
    """`backends/nna/fixed.py: multiply` on 64-bit integers, in fewer operations.

    One multiplication for all, or one for each of the last axis.
    """

    def __init__(self, by: Sequence[Rescale]) -> None:
        multipliers, shifts = ([one.multiplier for one in by], [one.shift for one in by])
        right = [max(0, -shift) for shift in shifts]
        self.left = _number(max(0, shift) for shift in shifts) if max(shifts) > 0 else None
        self.multiplier, self.right = _number(multipliers), _number(right) if any(right) else None
        self.half = _number(1 << n >> 1 for n in right)
        self.odd = _number(int(n > 0) for n in right) if not all(right) else None

    def __call__(self, x: Tensor) -> Tensor:
        """Each element multiplied and rounded twice; |x| * 2**shift must stay below 2**31."""
        at = x.device
        x = x if self.left is None else x << _at(self.left, at)
        x = (x * _at(self.multiplier, at)).add_(1 << 30).__irshift__(31)
        if self.right is None:
            return x
        away = x >> 63 if self.odd is None else (x >> 63).mul_(_at(self.odd, at))
        return x.add_(away).add_(_at(self.half, at)).__irshift__(_at(self.right, at))


def _number(values: Iterable[int]) -> Tensor | int:
    found = list(values)
    return found[0] if len(set(found)) == 1 else torch.tensor(found, dtype=torch.int64)


def _at(value: Tensor | int, device: torch.device) -> Any:
    return value if isinstance(value, int) else value.to(device)


def rounded(x: Tensor, code: Code) -> Tensor:
    """The numbers of a format that are nearest."""
    return _Rounded.apply(x, code)  # type: ignore[no-any-return,no-untyped-call]


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, code: Code) -> Tensor:
        low, high = ((limit - code.zero) * code.scale for limit in LIMITS[code.dtype])
        ctx.save_for_backward((x >= low) & (x <= high))
        return reals_of(codes_of(x, code), code)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return grad * inside, None


def weight_codes(weight: Tensor, scale: Tensor, book: Tensor | None) -> Tensor:
    """Codes of weights (float32), for each the nearest there is; `scale` has one a row.

    The same numbers as `backends/nna/codebook.py: snapped`.
    """
    values = weight / _wide(scale, weight)
    if book is None:
        return values.round().clamp(-127, 127)
    return book[torch.bucketize(values, (book[1:] + book[:-1]) / 2)]


def snapped(weight: Tensor, scale: Tensor, book: Tensor | None) -> Tensor:
    """Weights at the values of their codes; the gradient goes straight through."""
    with torch.no_grad():
        moved = weight_codes(weight, scale, book) * _wide(scale, weight) - weight
    return weight + moved


def _wide(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.reshape(-1, *(1,) * (weight.ndim - 1))
