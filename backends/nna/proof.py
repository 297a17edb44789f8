"""That no accumulator overflows, whatever comes in: bounds from the weights that there are.

An accelerator adds in 32 bits, and a multiplication by a factor above one half shifts what it is
given to the left first. For each operator the largest accumulator is bounded over all inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from ...compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from .fixed import Rescale
from .program import Array, Op, Program, Tensor
from .recipes import Recipe, Scaled, Sum, recipe_of

Largest = Callable[[Sequence[Tensor], Sequence[int], Recipe], Array]
"""Of inputs and of how far each reaches: the largest accumulators."""

BITS = 31
"""Of an accumulator, without its sign."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The largest magnitude of what an operator accumulates, and bits left above it."""

    output: str
    largest: int

    @property
    def spare(self) -> float:
        return BITS - float(np.log2(max(self.largest, 1)))


def bounds(program: Program) -> list[Bound]:
    """Of every operator that accumulates, shifts to the left included."""
    found, reach = [], _Reach(program)
    for op in program.ops:
        inputs, _ = program.of(op)
        recipe = recipe_of(program, op)
        reaches = [reach[name] for name in op.inputs]
        if op.kind in _LARGEST:
            largest = _LARGEST[op.kind](inputs, reaches, recipe)
            found.append(Bound(op.output, _shifted(largest, recipe)))
        reach.note(op, reaches, recipe)
    return found


class _Reach:
    """The largest magnitude of each tensor's codes, its zero taken off: what its type allows, or
    less where it comes from a narrower one."""

    def __init__(self, program: Program) -> None:
        self._found = {name: _of_type(tensor) for name, tensor in program.tensors.items()}

    def __getitem__(self, name: str) -> int:
        return self._found[name]

    def note(self, op: Op, reaches: Sequence[int], recipe: Recipe) -> None:
        if op.kind == "requantise" and isinstance(recipe, Scaled):
            (by,) = recipe.by
            wide = ceil(reaches[0] * by.factor) + 1
            self._found[op.output] = min(self._found[op.output], wide)
        elif op.kind in ("slice", "concat", "reshape"):
            self._found[op.output] = max(reaches)


def _of_type(tensor: Tensor) -> int:
    low, high = tensor.limits
    return max(abs(low - tensor.zero), abs(high - tensor.zero))


def prove(program: Program) -> None:
    """Raises AsrcError E0601 with every accumulator that may overflow."""
    over = [bound for bound in bounds(program) if bound.largest >= 1 << BITS]
    if over:
        raise AsrcError(*(_overflow(program, bound) for bound in over))


def _overflow(program: Program, bound: Bound) -> Diagnostic:
    message = f"`{bound.output}` of `{program.name}` may need {BITS - bound.spare:.1f} bits"
    help = "smaller weights, or a coarser output: its range comes from the calibration audio"
    return diagnostic("E0601", f"{message}; an accumulator has {BITS} and a sign", help=help)


def _shifted(largest: Array, recipe: Recipe) -> int:
    """What multiplication makes of it before it rounds."""
    by: Sequence[Rescale] = recipe.by if isinstance(recipe, Scaled) else ()
    up = np.array([max(one.shift, 0) for one in by] or [0], np.int64)
    return max(int(value) << int(shift) for value, shift in np.broadcast(largest, up))


def _filtered(axis: int) -> Largest:
    def largest(inputs: Sequence[Tensor], reaches: Sequence[int], recipe: Recipe) -> Array:
        weight, bias = inputs[1].data, inputs[2].data
        assert weight is not None
        assert bias is not None
        others = tuple(n for n in range(4) if n != axis)
        sums = np.abs(weight.astype(np.int64)).sum(others)
        return sums * reaches[0] + np.abs(bias.astype(np.int64))

    return largest


def _product(inputs: Sequence[Tensor], reaches: Sequence[int], recipe: Recipe) -> Array:
    return np.array([reaches[0] * reaches[1]])


def _matmul(inputs: Sequence[Tensor], reaches: Sequence[int], recipe: Recipe) -> Array:
    return _product(inputs, reaches, recipe) * inputs[0].shape[-1]


def _summed(inputs: Sequence[Tensor], reaches: Sequence[int], recipe: Recipe) -> Array:
    """Each summand where it is widest, and their sum."""
    assert isinstance(recipe, Sum)
    wide = [reach << recipe.left for reach in reaches]
    factors = recipe.first.factor, recipe.second.factor
    parts = [ceil(most * factor) + 1 for most, factor in zip(wide, factors, strict=True)]
    return np.array([max(*wide, sum(parts) << max(recipe.out.shift, 0))])


def _one(inputs: Sequence[Tensor], reaches: Sequence[int], recipe: Recipe) -> Array:
    return np.array([reaches[0]])


def _all(inputs: Sequence[Tensor], reaches: Sequence[int], recipe: Recipe) -> Array:
    """At most all codes of the tensor."""
    return np.array([reaches[0] * int(np.prod(inputs[0].shape))])


_LARGEST: Mapping[str, Largest] = {
    "conv": _filtered(0),
    "depthwise": _filtered(3),
    "matmul": _matmul,
    "add": _summed,
    "sub": _summed,
    "mul": _product,
    "requantise": _one,
    "mean": _all,
}
