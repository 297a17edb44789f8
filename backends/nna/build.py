"""Building a program: tensors and operators, one after the other, each name once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .filters import Filter
from .fits import extent
from .formats import Code, reaching
from .kernels import Site, kernel
from .program import Array, Op, Program, Tensor, quantised
from .recipes import FUNCTIONS, recipe_of

SIGMOID, TANH = (Code("int8", scale, zero) for _, scale, zero in FUNCTIONS.values())
ONE = Code("int8", 1.0)
"""Of flags."""


@dataclass
class Builder:
    """A program as far as it has been written; methods return the name of what they made."""

    name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)

    def program(self) -> Program:
        read = {name for op in self.ops for name in (*op.inputs, op.output)}
        read |= {*self.inputs, *self.outputs}
        tensors = {name: tensor for name, tensor in self.tensors.items() if name in read}
        everything = (*self.inputs,), (*self.outputs,)
        return Program(self.name, tensors, tuple(self.ops), *everything, self.states)

    # --- tensors ---

    def tensor(self, name: str, shape: Sequence[int], code: Code, data: Array | None = None) -> str:
        number, wanted = 1, name
        while wanted in self.tensors:
            number += 1
            wanted = f"{name}_{number}"
        made = Tensor(wanted, tuple(shape), code.dtype, code.scale, code.zero, data=data)
        self.tensors[wanted] = made
        return wanted

    def input(self, name: str, shape: Sequence[int], code: Code) -> str:
        self.inputs.append(self.tensor(name, shape, code))
        return self.inputs[-1]

    def constant(self, name: str, values: Array, code: Code) -> str:
        made = Tensor("", values.shape, code.dtype, code.scale, code.zero)
        return self.tensor(name, values.shape, code, quantised(values, made))

    def coded(self, name: str, codes: Array, code: Code) -> str:
        """A constant, once."""
        made = Tensor(name, codes.shape, code.dtype, code.scale, code.zero, data=codes)
        return self._kept(made)

    def is_constant(self, name: str) -> bool:
        return self.tensors[name].data is not None

    def rows(self, name: str, places: Sequence[int]) -> str:
        """Some rows of a constant."""
        data = self.tensors[name].data
        assert data is not None
        if list(places) == list(range(data.shape[1])):
            return name
        return self.tensor(f"{name}.rows", data[:, places].shape, self.code(name), data[:, places])

    def settled(self, name: str) -> str:
        """A tensor that is made of constants alone, as a constant."""
        made = next((op for op in self.ops if op.output == name), None)
        if made is not None:
            tensors = [self.tensors[self.settled(source)] for source in made.inputs]
            codes = [tensor.data for tensor in tensors if tensor.data is not None]
            one = Program("settled", self.tensors, (made,), (), (name,))
            site = Site(made.kind, tensors, self.tensors[name], recipe_of(one, made), made.options)
            self.tensors[name] = replace(self.tensors[name], data=kernel(site)(codes))
            self.ops.remove(made)
        return name

    def code(self, name: str) -> Code:
        tensor = self.tensors[name]
        return Code(tensor.dtype, tensor.scales[0], tensor.zero)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].shape

    # --- operators ---

    def op(
        self,
        kind: str,
        name: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        code: Code,
        **options: Any,
    ) -> str:
        made = self.tensor(name, shape, code)
        self.ops.append(Op(kind, tuple(inputs), made, options))
        return made

    def same(self, kind: str, name: str, source: str, shape: Sequence[int], **options: Any) -> str:
        """An operator that moves codes."""
        return self.op(kind, name, [source], shape, self.code(source), **options)

    def as_code(self, source: str, code: Code) -> str:
        """The same numbers in another format."""
        if self.code(source) == code:
            return source
        return self.op(
            "requantise", f"{source}.as_{code.dtype}", [source], self.shape(source), code
        )

    def wide(self, source: str) -> str:
        """As int16, exactly: the same scale without a zero."""
        code = self.code(source)
        return source if code.dtype == "int16" else self.as_code(source, Code("int16", code.scale))

    def narrow(self, source: str) -> str:
        """As int8: the upper half of the bits."""
        code = self.code(source)
        if code.dtype != "int16":
            return source
        return self.as_code(source, reaching(code.scale * 32767, "int8"))

    def pair(self, kind: str, name: str, first: str, second: str, code: Code) -> str:
        """add, sub or mul; what is added or multiplied to int16 is int16."""
        change = self.wide if code.dtype == "int16" else self.narrow
        first, second = change(first), change(second)
        shape = np.broadcast_shapes(self.shape(first), self.shape(second))
        return self.op(kind, name, [first, second], shape, code)

    def slice(self, source: str, axis: int, first: int, count: int, by: int = 1) -> str:
        """`count` along an axis, `by` apart; everything is the source itself."""
        shape = self.shape(source)
        if (first, count) == (0, shape[axis]):
            return source
        shape = (*shape[:axis], count, *shape[axis + 1 :])
        name = f"{source}.from_{first}"
        return self.same("slice", name, source, shape, axis=axis, first=first, count=count, by=by)

    def concat(self, name: str, sources: Sequence[str], axis: int) -> str:
        """Tensors of one format along an axis."""
        if len(sources) == 1:
            return sources[0]
        shape = list(self.shape(sources[0]))
        shape[axis] = sum(self.shape(source)[axis] for source in sources)
        return self.op("concat", name, sources, shape, self.code(sources[0]), axis=axis)

    def conv(self, name: str, source: str, filter: Filter, code: Code, **options: Any) -> str:
        """Codes `[O, h, w, C]`, a scale for each output channel; no padding."""
        return self._filtered("conv", name, source, filter, code, axis=0, **options)

    def depthwise(self, name: str, source: str, filter: Filter, code: Code, **options: Any) -> str:
        """Codes `[1, h, w, C]`, a scale for each channel; no padding."""
        return self._filtered("depthwise", name, source, filter, code, axis=3, **options)

    def _filtered(
        self,
        kind: str,
        name: str,
        source: str,
        filter: Filter,
        code: Code,
        axis: int,
        **options: Any,
    ) -> str:
        weight, bias = filter.tensors(name, self.code(source).scale, axis)
        kept, added = self._kept(weight), self._kept(bias)
        size = extent(self.shape(source)[1:3], weight.shape[1:3], options)
        shape = (1, *size, weight.shape[axis])
        return self.op(kind, name, [source, kept, added], shape, code, **options)

    def _kept(self, tensor: Tensor) -> str:
        """A constant, once; a recurrence that turns several times in a step asks again."""
        known = self.tensors.setdefault(tensor.name, tensor)
        assert known == tensor
        return tensor.name
