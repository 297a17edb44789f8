"""The text of TOSA 1.0, value by value, as `tosa-opt` reads it (MLIR).

What operators of programs have in common: constants, shapes, rescaling, moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from .fixed import Rescale
from .kernels import Site
from .program import Array
from .recipes import Scaled

_ELEMENT = {"int8": "i8", "int16": "i16", "int32": "i32"}
_ONE = Rescale(1 << 30, 1)


def _type(shape: Sequence[int], dtype: str) -> str:
    return f"tensor<{'x'.join(map(str, shape))}x{_ELEMENT[dtype]}>"


@dataclass
class Value:
    """A value of the text: its name there, shape and type."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def type(self) -> str:
        return _type(self.shape, self.dtype)


@dataclass
class Writer:
    """Lines of a function; each method writes what makes the value that it returns."""

    lines: list[str] = field(default_factory=list)

    def _add(self, text: str, shape: Sequence[int], dtype: str) -> Value:
        value = Value(f"%v{len(self.lines)}", tuple(shape), dtype)
        self.lines.append(f"{value.name} = {text} -> {value.type}")
        return value

    def constant(self, data: Array) -> Value:
        kind = _type(data.shape, str(data.dtype))
        raw = np.ascontiguousarray(data).tobytes().hex()
        text = f'"tosa.const"() <{{values = dense<"0x{raw}"> : {kind}}}> : ()'
        if data.size == 1:  # the bytes of one number stand for all of them elsewhere
            text = f'"tosa.const"() <{{values = dense<{int(data.flat[0])}> : {kind}}}> : ()'
        return self._add(text, data.shape, str(data.dtype))

    def number(self, number: int, beside: Value) -> Value:
        """One that goes with all elements of another value."""
        return self.constant(np.full((1,) * len(beside.shape), number, np.int32))

    def shape(self, numbers: Sequence[int]) -> str:
        """A shape as TOSA's operators read one."""
        name, count = f"%v{len(self.lines)}", len(numbers)
        dense = f"dense<[{', '.join(map(str, numbers))}]> : tensor<{count}xindex>"
        kind = f"!tosa.shape<{count}>"
        self.lines.append(f"{name} = tosa.const_shape {{values = {dense}}} : () -> {kind}")
        return name

    def call(
        self, op: str, ins: Sequence[Value], shape: Sequence[int], dtype: str, attrs: str = ""
    ) -> Value:
        names, types = (
            ", ".join(part) for part in zip(*((v.name, v.type) for v in ins), strict=True)
        )
        return self._add(f"tosa.{op} {names}{attrs} : ({types})", shape, dtype)

    def rescaled(self, x: Value, by: Sequence[Rescale], zero: int, dtype: str, out: int) -> Value:
        """`x - zero` by one factor, or by one for each of the last axis, plus `out`."""
        parts = [
            self.constant(np.array([one.multiplier for one in by], np.int32)),
            self.constant(np.array([31 - one.shift for one in by], np.int8)),
            self.constant(np.array([zero], x.dtype)),
            self.constant(np.array([out], dtype)),
        ]
        each = "true" if len(by) > 1 else "false"
        attrs = (
            " {input_unsigned = false, output_unsigned = false, per_channel = "
            f"{each}, rounding_mode = DOUBLE_ROUND, scale32 = true}}"
        )
        return self.call("rescale", [x, *parts], x.shape, dtype, attrs)

    def held(self, x: Value, dtype: str, zero: int = 0) -> Value:
        """The same numbers in another type, plus `zero`, saturated."""
        return self.rescaled(x, [_ONE], 0, dtype, zero)

    def result(self, site: Site, x: Value) -> Value:
        """An accumulator at the output's scale."""
        by, out = cast("Scaled", site.recipe).by, site.output
        return self.rescaled(x, by, 0, out.dtype, out.zero)

    def centred(self, site: Site, place: int, x: Value, up: int = 0) -> Value:
        """In 32 bits, the zero taken off, so many bits up."""
        whole = self.rescaled(x, [_ONE], site.tensors[place].zero, "int32", 0)
        if not up:
            return whole
        return self.call("logical_left_shift", [whole, self.number(up, x)], x.shape, "int32")

    def cut(self, x: Value, first: Sequence[int], size: Sequence[int]) -> Value:
        if tuple(size) == x.shape:
            return x
        begin, extent = self.shape(first), self.shape(size)
        count = len(size)
        text = (
            f"tosa.slice {x.name}, {begin}, {extent} : "
            f"({x.type}, !tosa.shape<{count}>, !tosa.shape<{count}>)"
        )
        return self._add(text, size, x.dtype)

    def reshaped(self, x: Value, shape: Sequence[int]) -> Value:
        wanted = self.shape(shape)
        text = f"tosa.reshape {x.name}, {wanted} : ({x.type}, !tosa.shape<{len(shape)}>)"
        return self._add(text, shape, x.dtype)

    def turned(self, x: Value, order: Sequence[int]) -> Value:
        shape = [x.shape[axis] for axis in order]
        perms = f" {{perms = array<i32: {', '.join(map(str, order))}>}}"
        return self.call("transpose", [x], shape, x.dtype, perms)
