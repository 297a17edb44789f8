"""A program as TOSA 1.0 text: a second judge, with rounding written in its operators.

TOSA's RESCALE with DOUBLE_ROUND is the double rounding of `fixed.py`; sums are moved up, scaled and
added in 32 bits as they are there. Softmax is no operator of TOSA, so programs with one are
refused. The text is what `tosa-opt` reads (MLIR); names of inputs and outputs stay with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from .fixed import Rescale
from .kernels import KERNELS, Site
from .program import Array, Op, Program, Tensor
from .recipes import Scaled, Sum, recipe_of

_ELEMENT = {"int8": "i8", "int16": "i16", "int32": "i32"}
WHOLE = Rescale(1 << 30, 1)
"""Multiplication by one."""


def tosa(program: Program) -> str:
    """The text. Raises ValueError for an operator that TOSA does not have."""
    return _Writer(program).text()


def _type(shape: Sequence[int], dtype: str) -> str:
    return f"tensor<{'x'.join(map(str, shape))}x{_ELEMENT[dtype]}>"


@dataclass
class _Value:
    """A value of the text: its name there, shape and type."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def type(self) -> str:
        return _type(self.shape, self.dtype)


@dataclass
class _Writer:
    program: Program
    lines: list[str] = field(default_factory=list)
    values: dict[str, _Value] = field(default_factory=dict)

    def text(self) -> str:
        program = self.program
        given = [self._given(n, name) for n, name in enumerate(program.inputs)]
        for name, tensor in program.tensors.items():
            if tensor.data is not None:
                self.values[name] = self.constant(tensor.data)
        for op in program.ops:
            self._write(op)
        made = [self.values[name] for name in program.outputs]
        names = (f'{v.type} {{tosa.tensor_name = "out{n}"}}' for n, v in enumerate(made))
        head = f"  func.func @main({', '.join(given)}) -> ({', '.join(names)}) {{"
        values, types = (
            ", ".join(part) for part in ([v.name for v in made], [v.type for v in made])
        )
        body = (f"    {line}" for line in (*self.lines, f"return {values} : {types}"))
        return "\n".join(["module {", head, *body, "  }", "}", ""])

    def _given(self, number: int, name: str) -> str:
        tensor = self.program.tensors[name]
        value = self.values[name] = _Value(f"%arg{number}", tensor.shape, tensor.dtype)
        return f'{value.name}: {value.type} {{tosa.tensor_name = "in{number}"}}'

    def _write(self, op: Op) -> None:
        if op.kind not in ROWS:
            raise ValueError(f"TOSA has no `{op.kind}`, which `{op.output}` is made by")
        tensors, output = self.program.of(op)
        site = Site(op.kind, tensors, output, recipe_of(self.program, op), op.options)
        self.values[op.output] = ROWS[op.kind](self, site, [self.values[n] for n in op.inputs])

    # --- pieces ---

    def _add(self, text: str, shape: Sequence[int], dtype: str) -> _Value:
        value = _Value(f"%v{len(self.lines)}", tuple(shape), dtype)
        self.lines.append(f"{value.name} = {text} -> {value.type}")
        return value

    def constant(self, data: Array) -> _Value:
        kind = _type(data.shape, str(data.dtype))
        raw = np.ascontiguousarray(data).tobytes().hex()
        text = f'"tosa.const"() <{{values = dense<"0x{raw}"> : {kind}}}> : ()'
        if data.size == 1:  # the bytes of one number stand for all of them elsewhere
            text = f'"tosa.const"() <{{values = dense<{int(data.flat[0])}> : {kind}}}> : ()'
        return self._add(text, data.shape, str(data.dtype))

    def shape(self, numbers: Sequence[int]) -> str:
        """A shape as TOSA's operators read one."""
        name, count = f"%v{len(self.lines)}", len(numbers)
        dense = f"dense<[{', '.join(map(str, numbers))}]> : tensor<{count}xindex>"
        kind = f"!tosa.shape<{count}>"
        self.lines.append(f"{name} = tosa.const_shape {{values = {dense}}} : () -> {kind}")
        return name

    def call(
        self, op: str, ins: Sequence[_Value], shape: Sequence[int], dtype: str, attrs: str = ""
    ) -> _Value:
        names, types = (
            ", ".join(part) for part in zip(*((v.name, v.type) for v in ins), strict=True)
        )
        return self._add(f"tosa.{op} {names}{attrs} : ({types})", shape, dtype)

    def rescaled(self, x: _Value, by: Sequence[Rescale], zero: int, dtype: str, out: int) -> _Value:
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

    def result(self, site: Site, x: _Value) -> _Value:
        """An accumulator at the output's scale."""
        by, out = cast("Scaled", site.recipe).by, site.output
        return self.rescaled(x, by, 0, out.dtype, out.zero)

    def centred(self, site: Site, place: int, x: _Value, up: int = 0) -> _Value:
        """In 32 bits, the zero taken off, so many bits up."""
        whole = self.rescaled(x, [WHOLE], site.tensors[place].zero, "int32", 0)
        if not up:
            return whole
        bits = self.constant(np.full((1,) * len(x.shape), up, np.int32))
        return self.call("logical_left_shift", [whole, bits], x.shape, "int32")

    def cut(self, x: _Value, first: Sequence[int], size: Sequence[int]) -> _Value:
        if tuple(size) == x.shape:
            return x
        begin, extent = self.shape(first), self.shape(size)
        count = len(size)
        text = (
            f"tosa.slice {x.name}, {begin}, {extent} : "
            f"({x.type}, !tosa.shape<{count}>, !tosa.shape<{count}>)"
        )
        return self._add(text, size, x.dtype)

    def reshaped(self, x: _Value, shape: Sequence[int]) -> _Value:
        wanted = self.shape(shape)
        text = f"tosa.reshape {x.name}, {wanted} : ({x.type}, !tosa.shape<{len(shape)}>)"
        return self._add(text, shape, x.dtype)

    def turned(self, x: _Value, order: Sequence[int]) -> _Value:
        shape = [x.shape[axis] for axis in order]
        perms = f" {{perms = array<i32: {', '.join(map(str, order))}>}}"
        return self.call("transpose", [x], shape, x.dtype, perms)


Row = Callable[[_Writer, Site, list[_Value]], _Value]


def _filtered(op: str) -> Row:
    def row(write: _Writer, site: Site, ins: list[_Value]) -> _Value:
        x, weight, bias = ins
        kernel = site.tensors[1].shape[1:3]
        stride, dilation = (site.options.get(n, (1, 1)) for n in ("stride", "dilation"))
        size = site.output.shape[1:3]
        reach = [
            (n - 1) * s + d * (k - 1) + 1
            for n, s, d, k in zip(size, stride, dilation, kernel, strict=True)
        ]
        x = write.cut(x, (0, 0, 0, 0), (x.shape[0], *reach, x.shape[3]))
        if op == "depthwise_conv2d":
            weight = write.constant(site.constant(1).transpose(1, 2, 3, 0))
        zeros = [write.constant(np.array([z], np.int8)) for z in (site.tensors[0].zero, 0)]
        attrs = (
            f" {{acc_type = i32, dilation = {_pair(dilation)}, pad = array<i64: 0, 0, 0, 0>, "
            f"stride = {_pair(stride)}}}"
        )
        sums = write.call(op, [x, weight, bias, *zeros], site.output.shape, "int32", attrs)
        return write.result(site, sums)

    return row


def _pair(numbers: Sequence[int]) -> str:
    return f"array<i64: {numbers[0]}, {numbers[1]}>"


def _sum(write: _Writer, site: Site, ins: list[_Value]) -> _Value:
    to = cast("Sum", site.recipe)
    parts = [
        write.rescaled(write.centred(site, place, x, to.left), [by], 0, "int32", 0)
        for place, (x, by) in enumerate(zip(ins, (to.first, to.second), strict=True))
    ]
    total = write.call(site.kind, parts, site.output.shape, "int32")
    return write.rescaled(total, [to.out], 0, site.output.dtype, site.output.zero)


def _mul(write: _Writer, site: Site, ins: list[_Value]) -> _Value:
    parts = [write.centred(site, place, x) for place, x in enumerate(ins)]
    none = write.constant(np.zeros(1, np.int8))
    return write.result(site, write.call("mul", [*parts, none], site.output.shape, "int32"))


def _requantise(write: _Writer, site: Site, ins: list[_Value]) -> _Value:
    by, out = cast("Scaled", site.recipe).by, site.output
    return write.rescaled(ins[0], by, site.tensors[0].zero, out.dtype, out.zero)


def _table(write: _Writer, site: Site, ins: list[_Value]) -> _Value:
    """What the kernel gives of every code."""
    every = np.arange(-128, 128).astype(np.int8)
    quiet = Site(site.kind, site.tensors, site.output, site.recipe, site.options)
    table = write.constant(KERNELS[site.kind](quiet)([every]))
    return write.call("table", [ins[0], table], site.output.shape, "int8")


def _mean(write: _Writer, site: Site, ins: list[_Value]) -> _Value:
    x = write.centred(site, 0, ins[0])
    for axis in site.options["axes"]:
        shape = [1 if n == axis else size for n, size in enumerate(x.shape)]
        x = write.call("reduce_sum", [x], shape, "int32", f" {{axis = {axis} : i32}}")
    return write.result(site, x)


def _matmul(write: _Writer, site: Site, ins: list[_Value]) -> _Value:
    first, second = (write.reshaped(x, (x.shape[0] * x.shape[1], *x.shape[2:])) for x in ins)
    if site.options.get("turned"):
        second = write.turned(second, (0, 2, 1))
    zeros = [write.constant(np.array([t.zero], np.int8)) for t in site.tensors]
    shape = (first.shape[0], first.shape[1], second.shape[2])
    product = write.call("matmul", [first, second, *zeros], shape, "int32")
    return write.reshaped(write.result(site, product), site.output.shape)


def _concat(write: _Writer, site: Site, ins: list[_Value]) -> _Value:
    attrs = f" {{axis = {site.options['axis']} : i32}}"
    return write.call("concat", ins, site.output.shape, site.output.dtype, attrs)


def _slice(write: _Writer, site: Site, ins: list[_Value]) -> _Value:
    given, shape = site.options, ins[0].shape
    axis, by = given["axis"], given.get("by", 1)
    each = given["count"] if by == 1 else 1
    firsts = (
        [given["first"]] if by == 1 else [given["first"] + by * n for n in range(given["count"])]
    )
    parts = []
    for first in firsts:
        begin = [first if n == axis else 0 for n in range(len(shape))]
        size = [each if n == axis else count for n, count in enumerate(shape)]
        parts.append(write.cut(ins[0], begin, size))
    return parts[0] if len(parts) == 1 else _joined(write, parts, axis, site.output)


def _joined(write: _Writer, parts: list[_Value], axis: int, output: Tensor) -> _Value:
    return write.call("concat", parts, output.shape, output.dtype, f" {{axis = {axis} : i32}}")


def _chosen(write: _Writer, site: Site, ins: list[_Value]) -> _Value:
    """The larger or smaller code; TOSA compares in 32 bits."""
    wide = [write.rescaled(x, [WHOLE], 0, "int32", 0) for x in ins]
    found = write.call(site.kind, wide, site.output.shape, "int32")
    return write.rescaled(found, [WHOLE], 0, site.output.dtype, 0)


ROWS: Mapping[str, Row] = {
    "conv": _filtered("conv2d"),
    "depthwise": _filtered("depthwise_conv2d"),
    "add": _sum,
    "sub": _sum,
    "mul": _mul,
    "requantise": _requantise,
    "sigmoid": _table,
    "tanh": _table,
    "rsqrt": _table,
    "mean": _mean,
    "matmul": _matmul,
    "maximum": _chosen,
    "minimum": _chosen,
    "concat": _concat,
    "slice": _slice,
    "reshape": lambda write, site, ins: write.reshaped(ins[0], site.output.shape),
    "transpose": lambda write, site, ins: write.turned(ins[0], site.options["order"]),
}
"""Operators that TOSA has."""
