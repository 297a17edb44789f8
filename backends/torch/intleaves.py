"""Values that the accelerator computes, as modules: its operators, taken from the same rows.

Each value is lowered alone, by `backends/nna/lower.py`, to the operators that it is in the shipped
program; these run on the whole batch (`intprogram.py`). An LSTM is lowered as one step. What a
program is made of, ranges and scales, are buffers: it is made when it is first needed, and again
when they have changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...compiler.facts import Facts
from ...compiler.facts.numbers import MOVED, SOURCES, quantisers
from ...compiler.graph import Graph, Node
from ...compiler.types import Stream, Type
from ..nna.filters import Filter
from ..nna.formats import Code, Range, code_of, reaching, within_one
from ..nna.lower import Numbers, lower
from ..nna.lowering import Timeline
from ..nna.program import Program
from .intprogram import Bound, Call, Engine, once, steps
from .match import LstmBody
from .rounding import codes_of, rounded, weight_codes

CLOCK = Stream(Fraction(1))
Modules = Mapping[str, nn.Module]


class Quantised(nn.Module):
    """A place for the buffers of a value that has no parameters."""


def carry(module: nn.Module, node: Node, out: Type) -> nn.Module:
    """The module with the buffers of a quantised value, none of them known yet."""
    for name, shape in quantisers(node, out).items():
        if not hasattr(module, name) or getattr(module, name) is None:
            module.register_buffer(name, torch.zeros(shape))
    return module


@dataclass(frozen=True)
class Ranges:
    """What the leaves of a graph know of formats; `of` is asked when a model runs."""

    graph: Graph
    leaves: Modules

    def of(self, path: str) -> Code:
        return code_of(self.graph, path, lambda one: self._range(one, "range"))

    def within(self, node: Node, width: int) -> dict[str, Code]:
        """Of what is within a layer norm or an attention."""
        return within_one(node, width, lambda name: self._range(node.path, name))

    def _range(self, path: str, name: str) -> Range:
        return Range(*getattr(self.leaves[path], name).tolist())

    def versions(self, paths: Sequence[str]) -> tuple[int, ...]:
        """Numbers that change when a buffer behind these values does."""
        found = (self.leaves.get(self._source(path)) for path in paths)
        buffers = (x for leaf in found if leaf is not None for x in leaf.buffers(recurse=False))
        return tuple(hash((id(x), x._version)) for x in buffers)

    def _source(self, path: str) -> str:
        while self.graph[path].op in MOVED:
            path = self.graph[path].inputs[0]
        return path


class Rounding(nn.Module):
    """A value of the float model at the numbers of its format."""

    def __init__(self, ranges: Ranges, path: str) -> None:
        super().__init__()
        self.ranges = ranges
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        return rounded(x, self.ranges.of(self.path))


# --- one value ---


class Integer(nn.Module):
    """A value by the accelerator's operators; all of its numbers belong to other modules."""

    def __init__(self, ranges: Ranges, node: Node, kinds: tuple[Type, ...], out: Type) -> None:
        super().__init__()
        self.node, self.kinds, self.out = node, kinds, out
        self.ranges = ranges
        self.owner = node.owner or node.path
        self.made: tuple[tuple[int, ...], Call] | None = None

    @property
    def products(self) -> int:
        """Of weights, for each number made, where they are not those of a product of matrices."""
        if self.node.op == "depthwise":
            return self.kinds[0].taps or 1
        groups = int(str(self.node.attrs.get("groups", 1)))
        dense = self.node.op == "dense" and groups > 1
        return sum(kind.size for kind in self.kinds) // groups if dense else 0

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, *ins: Tensor, first: int) -> Tensor:
        """Inputs `[*lead, *dims, taps]` with `first` leading axes, which broadcast."""
        lead = torch.broadcast_shapes(*(x.shape[:first] for x in ins))  # type: ignore[no-untyped-call]
        rows = [_laid_out(x, lead, k) for x, k in zip(ins, self.kinds, strict=True)]
        if prod(lead) == 0:
            return ins[0].new_zeros((*lead, *self.out.dims))
        module = self.ranges.leaves.get(self.owner)
        (y,) = once(self.call(), rows, _parameters(module))
        return _laid_back(y, lead, self.out)

    def call(self) -> Call:
        versions = self.ranges.versions([self.node.path, self.owner, *self.node.inputs])
        if self.made is None or self.made[0] != versions:
            self.made = versions, self._lowered()
        return self.made[1]

    def _lowered(self) -> Call:
        node, ranges = self.node, self.ranges
        graph = alone(node, self.kinds)
        codes = {f"in{n}": ranges.of(path) for n, path in enumerate(node.inputs)}
        codes["n"] = ranges.of(node.path)
        inner = ranges.within(node, self.out.size)
        codes |= {f"n.{name}": code for name, code in inner.items()}
        module = ranges.leaves.get(self.owner)
        numbers = Numbers(*traced("n", node, module), codes)
        taps = [range(1 - (kind.taps or 1), 1) for kind in self.kinds]
        frames = {f"in{n}": tuple(each) for n, each in enumerate(taps)} | {"n": (0,)}
        timeline = Timeline(frames, dict.fromkeys(frames, 1), {})
        made = lower(Facts(graph), timeline, numbers, [*codes][: len(taps)], ["n"], node.path)
        return called(made.program, "n", node, module, [made.made["n"]])


def alone(node: Node, kinds: Sequence[Type]) -> Graph:
    """A graph of this one value, `n`, of inputs `in0`, `in1`, ...; windows are taken of them."""
    nodes, read = [], []
    for n, kind in enumerate(kinds):
        nodes.append(Node(f"in{n}", "input", (), {"type": Type(kind.dims, CLOCK)}))
        read.append(f"in{n}" if kind.taps is None else f"window{n}")
        if kind.taps is not None:
            nodes.append(windowed(f"window{n}", f"in{n}", kind.taps))
    nodes.append(replace(node, path="n", inputs=tuple(read), owner=None))
    return Graph("n", {one.path: one for one in nodes}, {"n": "n"})


def windowed(path: str, source: str, taps: int) -> Node:
    reach = {"past": taps - 1, "future": 0, "by": 1, "in_chunk": False, "chunk": None}
    return Node(path, "window", (source,), reach)


def _laid_out(x: Tensor, lead: Sequence[int], kind: Type) -> Tensor:
    """`[N, taps, F, C]`."""
    x = x.expand(*lead, *x.shape[len(lead) :]).reshape(-1, *kind.dims, kind.taps or 1)
    return (x.unsqueeze(2) if len(kind.dims) == 1 else x).permute(0, 3, 2, 1)


def _in_steps(x: Tensor, kind: Type) -> Tensor:
    """`[N, T, taps, F, C]` of frames in one row each."""
    found = _laid_out(x, x.shape[:2], kind)
    return found.view(*x.shape[:2], *found.shape[1:])


def _laid_back(y: Tensor, lead: Sequence[int], kind: Type) -> Tensor:
    """`[*lead, *dims]` of `[N, 1, F, C]`."""
    return y[:, 0].transpose(1, 2).reshape(*lead, *kind.dims)


# --- parameters ---


def _parameters(module: nn.Module | None) -> list[Tensor]:
    named = ((name, getattr(module, name, None)) for name in ("weight", "bias"))
    return [x for _, x in named if isinstance(x, Tensor)]


def traced(
    path: str, node: Node, module: nn.Module | None
) -> tuple[dict[str, Any], dict[str, Filter]]:
    """A layer norm's row, and a filter whose codes are places in the weight: wherever the rows put
    them, they say what stands there."""
    if node.op == "layernorm":
        assert module is not None
        zeros = np.zeros(len(module.weight))  # type: ignore[arg-type]
        reach = module.reach.numpy(force=True)  # type: ignore[operator]
        return {f"{path}.weight": zeros, f"{path}.bias": zeros, f"{path}.reach": reach}, {}
    if "weights" not in node.attrs:
        return {}, {}
    weight: Any = getattr(module, "weight")  # noqa: B009
    places = np.arange(weight.numel()).reshape(weight.shape)
    scale: Any = getattr(module, "scale")  # noqa: B009
    return {}, {path: Filter(places, scale.numpy(force=True))}


def called(
    program: Program, path: str, node: Node, module: nn.Module | None, outputs: Sequence[str]
) -> Call:
    """A program with the constants that a module's parameters give."""
    bound: list[Bound] = []
    if node.op == "layernorm":
        bound = [_row_bound(f"{path}.{n}", module, p) for p, n in enumerate(("weight", "bias"))]
    elif "weights" in node.attrs:
        bound = list(_filter_bound(program, path, module))
    return Call(Engine(program, [one.name for one in bound]), bound, outputs)


def _row_bound(name: str, module: Any, place: int) -> Bound:
    code = reaching(float(module.reach[place]))

    def codes(row: Tensor) -> Tensor:
        return codes_of(row, code).view(1, 1, 1, -1)

    return Bound(name, codes, lambda grad: grad.flatten())


def _filter_bound(program: Program, path: str, module: Any) -> Any:
    tensor = program.tensors[f"{path}.weight"]
    data = tensor.data
    assert data is not None
    places = torch.from_numpy(data.astype(np.int64))
    scale, book = module.scale, getattr(module, "codebook", None)

    some = places >= 0  # elsewhere there is none: code 0

    def codes(weight: Tensor) -> Tensor:
        at = places.to(weight.device)
        return weight_codes(weight, scale, book).flatten()[at] * (at >= 0)

    def back(grad: Tensor) -> Tensor:
        whole = grad.new_zeros(module.weight.numel())
        whole[places[some].to(grad.device)] = grad[some.to(grad.device)]
        return whole.view(module.weight.shape)

    yield Bound(tensor.name, codes, back)
    summed = program.tensors[f"{path}.bias"]
    by = torch.tensor(summed.scales, dtype=torch.float64)
    if module.bias is not None:
        yield Bound(summed.name, lambda bias: _summed(bias, by), lambda grad: grad)


def _summed(bias: Tensor, by: Tensor) -> Tensor:
    return (bias.double() / by.to(bias.device)).round().to(torch.int64)


# --- an LSTM ---


class IntegerLstm(nn.Module):
    """An LSTM by the accelerator's operators, in the place of `recurrent.Lstm`."""

    def __init__(
        self, ranges: Ranges, body: LstmBody, members: Sequence[str], types: Mapping[str, Type]
    ) -> None:
        super().__init__()
        self.ranges = ranges
        self.body, self.members, self.types = body, tuple(members), types
        graph = ranges.graph
        self.weighted = [p for p in (body.dense, body.projection) if p is not None]
        self.sizes = [types[path].size for path in body.inputs]
        self.made: tuple[tuple[int, ...], Call] | None = None
        assert all(graph[path].owner is None for path in self.weighted)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(
        self,
        x: Tensor,
        h: Tensor | None = None,
        c: Tensor | None = None,
        projection: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`[N, T, inputs]` to `[N, T, outputs]` and the last `h` and `c`; both begin as zeros."""
        width, cells = self.types[self.body.h].size, self.types[self.body.c].size
        h = x.new_zeros(len(x), width) if h is None else h
        c = x.new_zeros(len(x), cells) if c is None else c
        if x.shape[1] == 0 or len(x) == 0:
            return x.new_zeros(*x.shape[:2], width), h, c
        parts = torch.split_with_sizes(x, self.sizes, -1)
        kinds = (self.types[path] for path in self.body.inputs)
        rows = [_in_steps(part, kind) for part, kind in zip(parts, kinds, strict=True)]
        begin = {self.body.h: h, self.body.c: c}
        call = self.call()
        held = [begin[state.removesuffix(".state")] for state in call.engine.program.states]
        found = steps(call, rows, [one[:, None, None] for one in held], self._shared())
        last = dict(zip(call.engine.program.states, found[1:], strict=True))
        h, c = (last[f"{path}.state"].flatten(1) for path in (self.body.h, self.body.c))
        return found[0].flatten(2), h, c

    def _shared(self) -> list[Tensor]:
        return [x for p in self.weighted for x in _parameters(self.ranges.leaves[p])]

    def call(self) -> Call:
        versions = self.ranges.versions([*self.members, *self.body.inputs])
        if self.made is None or self.made[0] != versions:
            self.made = versions, self._lowered()
        return self.made[1]

    def _lowered(self) -> Call:
        ranges, body = self.ranges, self.body
        graph, inputs = self._graph()
        paths = [*body.inputs, *self.members]
        codes = {path: ranges.of(path) for path in paths}
        codes |= {inputs[path]: codes[path] for path in body.inputs}
        filters: dict[str, Filter] = {}
        for path in self.weighted:
            filters |= traced(path, ranges.graph[path], ranges.leaves[path])[1]
        numbers = Numbers({}, filters, codes)
        taps = {inputs[p]: range(1 - (self.types[p].taps or 1), 1) for p in body.inputs}
        frames = {path: tuple(each) for path, each in taps.items()}
        frames |= dict.fromkeys((*self.members, *body.inputs), (0,)) | frames
        shifts = {ranges.graph[p].inputs[0]: (-1,) for p in (body.h_shift, body.c_shift)}
        timeline = Timeline(frames, dict.fromkeys(frames, 1), shifts)
        made = lower(Facts(graph), timeline, numbers, [*taps], [body.h], body.h)
        bound = [
            one
            for path in self.weighted
            for one in _filter_bound(made.program, path, ranges.leaves[path])
        ]
        engine = Engine(made.program, [one.name for one in bound])
        return Call(engine, bound, [made.made[body.h]])

    def _graph(self) -> tuple[Graph, dict[str, str]]:
        """The recurrence alone, and the input that stands for each value from outside."""
        nodes, inputs = [], {}
        for path in dict.fromkeys(self.body.inputs):
            kind = self.types[path]
            inputs[path] = path if kind.taps is None else f"{path}.frames"
            nodes.append(Node(inputs[path], "input", (), {"type": Type(kind.dims, CLOCK)}))
            if kind.taps is not None:
                nodes.append(windowed(path, inputs[path], kind.taps))
        nodes += [self.ranges.graph[path] for path in self.members]
        found = Graph("lstm", {one.path: one for one in nodes}, {"h": self.body.h})
        return found, inputs


def is_rounded(node: Node) -> bool:
    """Whether a value is brought to its format, not computed in it."""
    computed = "on" in node.attrs and node.op not in SOURCES
    return "number" in node.attrs and not computed and node.op not in MOVED
