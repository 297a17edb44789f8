"""An integer program as a TensorFlow Lite flatbuffer, for LiteRT and for Vela.

Only scales and zeros are written, as the format has them; multipliers are derived again by whoever
reads it, in the same way as in `recipes.py`. The operators are those whose reference kernels round
as an accelerator does: dense layers are convolutions, never FULLY_CONNECTED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .program import Array, Op, Program, Tensor

_TYPES = {
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
}
_IDENTIFIER = b"TFL3"


def tflite(program: Program) -> bytes:
    """The file; tensors keep their names, inputs and outputs their order."""
    writer = _Writer(program)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(writer.model().Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


class _Writer:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.buffers = [schema.BufferT()]
        self.tensors: list[Any] = []
        self.numbers: dict[str, int] = {}
        self.codes: dict[int, int] = {}
        for tensor in program.tensors.values():
            self.numbers[tensor.name] = self._add(tensor)

    def model(self) -> Any:
        graph = schema.SubGraphT()
        graph.name = self.program.name
        graph.operators = [self._operator(op) for op in self.program.ops]
        graph.tensors = self.tensors
        graph.inputs = [self.numbers[name] for name in self.program.inputs]
        graph.outputs = [self.numbers[name] for name in self.program.outputs]
        model = schema.ModelT()
        model.version = 3
        model.description = "asrc"
        model.subgraphs = [graph]
        model.buffers = self.buffers
        model.operatorCodes = [_code(builtin) for builtin in self.codes]
        return model

    def _add(self, tensor: Tensor) -> int:
        found = schema.TensorT()
        found.name, found.shape = tensor.name, list(tensor.shape)
        found.type = _TYPES[tensor.dtype]
        found.buffer = self._buffer(tensor.data)
        found.quantization = _quantisation(tensor)
        self.tensors.append(found)
        return len(self.tensors) - 1

    def _buffer(self, data: Array | None) -> int:
        if data is None:
            return 0
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def _operator(self, op: Op) -> Any:
        builtin, options, constants = OPERATORS[op.kind](op, self.program)
        made = schema.OperatorT()
        made.opcodeIndex = self.codes.setdefault(builtin, len(self.codes))
        made.inputs = [self.numbers[name] for name in op.inputs]
        made.inputs += [self._constant(f"{op.output}/{n}", v) for n, v in constants.items()]
        made.outputs = [self.numbers[op.output]]
        if options is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
            made.builtinOptions = options
        return made

    def _constant(self, name: str, values: Array) -> int:
        return self._add(Tensor(name, values.shape, "int32", data=values.astype(np.int32)))


def _code(builtin: int) -> Any:
    found = schema.OperatorCodeT()
    found.builtinCode, found.deprecatedBuiltinCode = builtin, min(builtin, 127)
    found.version = _VERSIONS.get(builtin, 2)
    return found


_VERSIONS = {
    schema.BuiltinOperator.CONV_2D: 3,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3,
    schema.BuiltinOperator.BATCH_MATMUL: 2,
    schema.BuiltinOperator.RESHAPE: 1,
}


def _quantisation(tensor: Tensor) -> Any:
    found = schema.QuantizationParametersT()
    found.scale = np.array(tensor.scales, np.float32)
    found.zeroPoint = np.full(len(tensor.scales), tensor.zero, np.int64)
    found.quantizedDimension = tensor.axis
    return found


Written = tuple[int, Any, Mapping[str, Array]]
"""The operator, its options, and inputs that are constants of the format."""

_Row = Callable[[Op, Program], Written]


def _plain(name: str, options: str = "", **values: Any) -> _Row:
    builtin = getattr(schema.BuiltinOperator, name)

    def written(op: Op, program: Program) -> Written:
        return builtin, _options(options, **values) if options else None, {}

    return written


def _options(kind: str, **values: Any) -> Any:
    found = getattr(schema, f"{kind}T")()
    for name, value in values.items():
        assert hasattr(found, name), name
        setattr(found, name, value)
    return found


def _convolution(op: Op, program: Program) -> Written:
    (down, across), (row, column) = (op.options.get(n, (1, 1)) for n in ("stride", "dilation"))
    values = {
        "padding": schema.Padding.VALID,
        "strideH": down, "strideW": across,
        "dilationHFactor": row, "dilationWFactor": column,
    }  # fmt: skip
    if op.kind == "conv":
        return schema.BuiltinOperator.CONV_2D, _options("Conv2DOptions", **values), {}
    options = _options("DepthwiseConv2DOptions", depthMultiplier=1, **values)
    return schema.BuiltinOperator.DEPTHWISE_CONV_2D, options, {}


def _matmul(op: Op, program: Program) -> Written:
    options = _options("BatchMatMulOptions", adjY=bool(op.options.get("turned")))
    return schema.BuiltinOperator.BATCH_MATMUL, options, {}


def _softmax(op: Op, program: Program) -> Written:
    options = _options("SoftmaxOptions", beta=op.options.get("beta", 1.0))
    return schema.BuiltinOperator.SOFTMAX, options, {}


def _mean(op: Op, program: Program) -> Written:
    axes = np.array(op.options["axes"], np.int32)
    return schema.BuiltinOperator.MEAN, _options("ReducerOptions", keepDims=True), {"axes": axes}


def _concat(op: Op, program: Program) -> Written:
    options = _options("ConcatenationOptions", axis=op.options["axis"])
    return schema.BuiltinOperator.CONCATENATION, options, {}


def _slice(op: Op, program: Program) -> Written:
    (tensor,), _ = program.of(op)
    axis, first, count, by = (op.options.get(n, 1) for n in ("axis", "first", "count", "by"))
    begin, end = np.zeros(len(tensor.shape), np.int32), np.array(tensor.shape, np.int32)
    stride = np.ones(len(tensor.shape), np.int32)
    begin[axis], end[axis], stride[axis] = first, first + (count - 1) * by + 1, by
    constants = {"begin": begin, "end": end, "stride": stride}
    return schema.BuiltinOperator.STRIDED_SLICE, _options("StridedSliceOptions"), constants


def _reshape(op: Op, program: Program) -> Written:
    shape = np.array(program.tensors[op.output].shape, np.int32)
    return (
        schema.BuiltinOperator.RESHAPE,
        _options("ReshapeOptions", newShape=shape),
        {"shape": shape},
    )


def _transpose(op: Op, program: Program) -> Written:
    order = np.array(op.options["order"], np.int32)
    return schema.BuiltinOperator.TRANSPOSE, _options("TransposeOptions"), {"order": order}


OPERATORS: Mapping[str, _Row] = {
    "conv": _convolution,
    "depthwise": _convolution,
    "matmul": _matmul,
    "add": _plain("ADD", "AddOptions", potScaleInt16=False),
    "sub": _plain("SUB", "SubOptions", potScaleInt16=False),
    "mul": _plain("MUL", "MulOptions"),
    "requantise": _plain("QUANTIZE", "QuantizeOptions"),
    "sigmoid": _plain("LOGISTIC"),
    "tanh": _plain("TANH"),
    "softmax": _softmax,
    "mean": _mean,
    "rsqrt": _plain("RSQRT"),
    "maximum": _plain("MAXIMUM", "MaximumMinimumOptions"),
    "minimum": _plain("MINIMUM", "MaximumMinimumOptions"),
    "concat": _concat,
    "slice": _slice,
    "reshape": _reshape,
    "transpose": _transpose,
}
"""A row for each recipe."""
