"""The integer program: tensors with scales, operators in the order in which they run.

An operator is what one operator of the accelerator does, its requantisation included. What its
integers are follows from the scales of its tensors, by the recipes of `recipes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767), "int32": (-(1 << 31), (1 << 31) - 1)}
"""The codes of a type, lowest and highest."""

PRODUCTS = frozenset({"conv", "depthwise", "matmul"})
"""Operators that make sums of products; the second tensor they read may be a constant."""


@dataclass(frozen=True)
class Tensor:
    """Integers of a fixed shape that stand for `scale * (code - zero)`.

    shape   the first axis of an activation is the batch, always 1
    scale   float32, as it is stored; of weights one for each output channel
    axis    of the output channels, where these have scales of their own
    data    the codes of a constant
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: float | tuple[float, ...] = 1.0
    zero: int = 0
    axis: int = 0
    data: Array | None = field(default=None, repr=False, compare=False)

    @property
    def scales(self) -> tuple[float, ...]:
        return self.scale if isinstance(self.scale, tuple) else (self.scale,)

    @property
    def limits(self) -> tuple[int, int]:
        return LIMITS[self.dtype]

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Op:
    """An operator: its kind (see `recipes.py`), tensors by name, and plain options."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """One step of a model.

    inputs, outputs  tensors by name, in order; states among them
    states           the input that holds a state, and the output that is its next value
    """

    name: str
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError where an operator reads what nothing has made."""
        known = {*self.inputs, *(t.name for t in self.tensors.values() if t.data is not None)}
        for op in self.ops:
            if missing := {*op.inputs} - known:
                raise ValueError(f"`{op.output}` reads {sorted(missing)}, which nothing has made")
            known.add(op.output)
        if missing := {*self.outputs, *self.states.values()} - known:
            raise ValueError(f"nothing makes {sorted(missing)}")

    def at_rest(self, rows: int = 1) -> dict[str, Array]:
        """States that stand for zero, of so many rows."""
        tensors = (self.tensors[name] for name in self.states)
        return {t.name: np.full((rows, *t.shape[1:]), t.zero, t.dtype) for t in tensors}

    def figures(self) -> dict[str, int]:
        """Operators, bytes of weights and of state."""
        weights = [t.bytes for t in self.tensors.values() if t.data is not None]
        state = [self.tensors[name].bytes for name in self.states]
        return {"operators": len(self.ops), "weights": sum(weights), "state": sum(state)}

    def weight(self, op: Op) -> Tensor | None:
        """The constant that is a factor of an operator's products."""
        factor = self.tensors[op.inputs[1]] if op.kind in PRODUCTS else None
        return factor if factor is not None and factor.data is not None else None

    def weights(self) -> dict[str, Tensor]:
        """Those of all operators, by name."""
        found = map(self.weight, self.ops)
        return {tensor.name: tensor for tensor in found if tensor is not None}

    def of(self, op: Op) -> tuple[list[Tensor], Tensor]:
        """The tensors that an operator reads, and the one that it makes."""
        return [self.tensors[name] for name in op.inputs], self.tensors[op.output]


def quantised(values: Array, tensor: Tensor) -> Array:
    """Codes of real values, the nearest ones, halves away from zero, saturated."""
    codes = values / np.float32(tensor.scales[0])
    rounded = np.trunc(codes + np.copysign(0.5, codes)) + tensor.zero
    return np.clip(rounded, *tensor.limits).astype(tensor.dtype)


def real(codes: Array, tensor: Tensor) -> Array:
    """Real values of codes, in float32."""
    return (codes.astype(np.float32) - tensor.zero) * np.float32(tensor.scales[0])
