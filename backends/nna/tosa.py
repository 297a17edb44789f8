"""A program as TOSA 1.0 text: a second judge, with rounding written in its operators.

TOSA's RESCALE with DOUBLE_ROUND is the double rounding of `fixed.py`; sums are moved up, scaled and
added in 32 bits as they are there. Softmax is no operator of TOSA: `tosa_softmax.py` has it in
several. Inputs and outputs are called `in0`, `out0` and on, in the program's order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from .kernels import KERNELS, Site
from .program import Op, Program, Tensor
from .recipes import Scaled, Sum, recipe_of
from .tosa_softmax import softmax
from .tosa_writer import Value, Writer


def tosa(program: Program) -> str:
    """The text. Raises ValueError for a softmax of rows that are too long for it."""
    write, tensors = Writer(), program.tensors
    values = {
        name: Value(f"%arg{n}", tensors[name].shape, tensors[name].dtype)
        for n, name in enumerate(program.inputs)
    }
    given = list(values.values())
    values |= {t.name: write.constant(t.data) for t in tensors.values() if t.data is not None}
    for op in program.ops:
        values[op.output] = _written(write, program, op, [values[name] for name in op.inputs])
    return _function(write.lines, given, [values[name] for name in program.outputs])


def _written(write: Writer, program: Program, op: Op, ins: list[Value]) -> Value:
    tensors, output = program.of(op)
    site = Site(op.kind, tensors, output, recipe_of(program, op), op.options)
    return ROWS[op.kind](write, site, ins)


def _function(lines: Sequence[str], given: Sequence[Value], made: Sequence[Value]) -> str:
    taken = (f"{v.name}: {_called(v, f'in{n}')}" for n, v in enumerate(given))
    gives = (_called(v, f"out{n}") for n, v in enumerate(made))
    head = f"  func.func @main({', '.join(taken)}) -> ({', '.join(gives)}) {{"
    values, types = (", ".join(part) for part in ([v.name for v in made], [v.type for v in made]))
    body = (f"    {line}" for line in (*lines, f"return {values} : {types}"))
    return "\n".join(["module {", head, *body, "  }", "}", ""])


def _called(value: Value, name: str) -> str:
    return f'{value.type} {{tosa.tensor_name = "{name}"}}'


Row = Callable[[Writer, Site, list[Value]], Value]


def _filtered(op: str) -> Row:
    def row(write: Writer, site: Site, ins: list[Value]) -> Value:
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


def _sum(write: Writer, site: Site, ins: list[Value]) -> Value:
    to = cast("Sum", site.recipe)
    parts = [
        write.rescaled(write.centred(site, place, x, to.left), [by], 0, "int32", 0)
        for place, (x, by) in enumerate(zip(ins, (to.first, to.second), strict=True))
    ]
    total = write.call(site.kind, parts, site.output.shape, "int32")
    return write.rescaled(total, [to.out], 0, site.output.dtype, site.output.zero)


def _mul(write: Writer, site: Site, ins: list[Value]) -> Value:
    parts = [write.centred(site, place, x) for place, x in enumerate(ins)]
    none = write.constant(np.zeros(1, np.int8))
    return write.result(site, write.call("mul", [*parts, none], site.output.shape, "int32"))


def _requantise(write: Writer, site: Site, ins: list[Value]) -> Value:
    by, out = cast("Scaled", site.recipe).by, site.output
    return write.rescaled(ins[0], by, site.tensors[0].zero, out.dtype, out.zero)


def _table(write: Writer, site: Site, ins: list[Value]) -> Value:
    """What the kernel gives of every code."""
    every = np.arange(-128, 128).astype(np.int8)
    quiet = Site(site.kind, site.tensors, site.output, site.recipe, site.options)
    table = write.constant(KERNELS[site.kind](quiet)([every]))
    return write.call("table", [ins[0], table], site.output.shape, "int8")


def _mean(write: Writer, site: Site, ins: list[Value]) -> Value:
    x = write.centred(site, 0, ins[0])
    for axis in site.options["axes"]:
        shape = [1 if n == axis else size for n, size in enumerate(x.shape)]
        x = write.call("reduce_sum", [x], shape, "int32", f" {{axis = {axis} : i32}}")
    return write.result(site, x)


def _matmul(write: Writer, site: Site, ins: list[Value]) -> Value:
    first, second = (write.reshaped(x, (x.shape[0] * x.shape[1], *x.shape[2:])) for x in ins)
    if site.options.get("turned"):
        second = write.turned(second, (0, 2, 1))
    zeros = [write.constant(np.array([t.zero], np.int8)) for t in site.tensors]
    shape = (first.shape[0], first.shape[1], second.shape[2])
    product = write.call("matmul", [first, second, *zeros], shape, "int32")
    return write.reshaped(write.result(site, product), site.output.shape)


def _concat(write: Writer, site: Site, ins: list[Value]) -> Value:
    attrs = f" {{axis = {site.options['axis']} : i32}}"
    return write.call("concat", ins, site.output.shape, site.output.dtype, attrs)


def _slice(write: Writer, site: Site, ins: list[Value]) -> Value:
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


def _joined(write: Writer, parts: list[Value], axis: int, output: Tensor) -> Value:
    return write.call("concat", parts, output.shape, output.dtype, f" {{axis = {axis} : i32}}")


def _chosen(write: Writer, site: Site, ins: list[Value]) -> Value:
    """The larger or smaller code; TOSA compares in 32 bits."""
    wide = [write.held(x, "int32") for x in ins]
    found = write.call(site.kind, wide, site.output.shape, "int32")
    return write.held(found, site.output.dtype)


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
    "softmax": softmax,
    "matmul": _matmul,
    "maximum": _chosen,
    "minimum": _chosen,
    "concat": _concat,
    "slice": _slice,
    "reshape": lambda write, site, ins: write.reshaped(ins[0], site.output.shape),
    "transpose": lambda write, site, ins: write.turned(ins[0], site.options["order"]),
}
"""Every kind of operator."""
