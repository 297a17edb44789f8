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

from ...nna.cells import GRID
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


def rounded(x: Tensor, code: Code, range: Tensor) -> Tensor:
    """The numbers of a format that are nearest; `range` is where the format comes from."""
    return _Rounded.apply(x, code, range)  # type: ignore[no-any-return,no-untyped-call]


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, code: Code, range: Tensor) -> Tensor:
        low, high = ((limit - code.zero) * code.scale for limit in LIMITS[code.dtype])
        ctx.code = code
        ctx.save_for_backward(x < low, x > high, range)
        return reals_of(codes_of(x, code), code)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        below, above, range = ctx.saved_tensors
        by_range = None
        if ctx.needs_input_grad[2]:
            by_range = range_grad(range, ctx.code, (grad * below).sum(), (grad * above).sum())
        return grad * ~(below | above), None, by_range


def range_grad(range: Tensor, code: Code, low: Tensor, high: Tensor) -> Tensor:
    """`[2]` from the gradients of saturated values, below and above: an end is what such a code
    stands for (Choi et al. 2018, "PACT", equation 3). What is inside moves by less than half a
    step and is left out. Where zero is code 0, the end that is further from it gives both.
    """
    if code.dtype == "int8":
        return torch.stack([low, high]).to(range.dtype)
    further = range.detach().abs().argmax()
    found = torch.zeros_like(range)
    found[further] = (high - low) * range.detach()[further].sign()
    return found


def weight_codes(weight: Tensor, scale: Tensor, book: Tensor | None) -> Tensor:
    """Codes of weights (float32), for each the nearest there is, or the one whose cell it is in
    where the codebook has their ends, `[2, codes]`; `scale` has one, or one a row.

    The same numbers as `backends/nna/codebook.py: snapped`.
    """
    values = weight / _wide(scale, weight)
    if book is None:
        return values.round().clamp(-GRID, GRID)
    codes, ends = codes_and_ends(book)
    return codes[torch.bucketize(values, ends)]


def codes_and_ends(book: Tensor) -> tuple[Tensor, Tensor]:
    """The codes of a codebook, and between each two of them the end of a cell."""
    if book.ndim == 2:
        return book[0], book[1, :-1].contiguous()
    return book, (book[1:] + book[:-1]) / 2


def snapped(weight: Tensor, scale: Tensor, book: Tensor | None) -> Tensor:
    """Weights at the values of their codes; the gradient goes straight through."""
    return _Snapped.apply(weight, scale, book)  # type: ignore[no-any-return,no-untyped-call]


class _Snapped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, book: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight, scale, book)
        return weight_codes(weight, scale, book) * _wide(scale, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        by_scale = scale_grad(grad, *ctx.saved_tensors) if ctx.needs_input_grad[1] else None
        return grad, by_scale, None


def scale_grad(grad: Tensor, weight: Tensor, scale: Tensor, book: Tensor | None) -> Tensor:
    """Of scales, by how much rounded weights change with them, rounding taken as the identity
    (Esser et al. 2020, "Learned step size quantization", equation 3). What is less than half a
    step beyond the last code counts as rounded to it, not as saturated: the largest weight of a
    row is at the last code, and would be one or the other by a rounding of float32."""
    values = weight.detach() / _wide(scale, weight)
    low, high = (-GRID, GRID) if book is None else codes_and_ends(book)[0][[0, -1]]
    codes = weight_codes(weight.detach(), scale, book)
    each = grad * (codes - values * ((values > low - 0.5) & (values < high + 0.5)))
    return each.reshape(len(scale), -1).sum(1)


def _wide(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.detach().reshape(-1, *(1,) * (weight.ndim - 1))
