"""Values that the accelerator computes, as modules: its operators, taken from the same rows.

Each value is lowered alone, by `backends/nna/lower.py`, to the operators that it is in the shipped
program; these run on the whole batch (`program.py`). What a program is made of, ranges and scales,
are buffers: it is made when it is first needed, and again when they have changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isnan, prod

import torch
from torch import Tensor, nn

from ....compiler.diagnostics import AsrcError, diagnostic
from ....compiler.facts import Facts
from ....compiler.facts.numbers import MOVED, SOURCES, learned_quantisers, quantisers
from ....compiler.graph import Graph, Node
from ....compiler.types import Stream, Type
from ...nna.formats import Code, Range, code_of, within_one
from ...nna.lower import Numbers, lower
from ...nna.lowering import Timeline
from .learning import Learned, learned_range, learns
from .parameters import called, parameters_of, traced
from .program import Call, once
from .rounding import rounded

CLOCK = Stream(Fraction(1))
Modules = Mapping[str, nn.Module]


class Quantised(nn.Module):
    """A place for the buffers of a value that has no parameters."""


def carry(module: nn.Module, node: Node, out: Type) -> nn.Module:
    """The module with the buffers of a quantised value, none of them known yet.

    It names those that a training moves, as `learned`.
    """
    shapes = quantisers(node, out)
    for name, shape in shapes.items():
        if not hasattr(module, name) or getattr(module, name) is None:
            module.register_buffer(name, torch.full(shape, torch.nan))
    module.learned = [name for name in learned_quantisers(node) if name in shapes]  # type: ignore[assignment]
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

    def behind(self, path: str) -> Tensor:
        """The range that a value's format comes from."""
        leaf = self.leaves.get(self._source(path))
        found = getattr(leaf, "range", None)
        return found if isinstance(found, Tensor) else torch.zeros(2)

    def learned(self, tensors: Mapping[str, str]) -> list[Learned]:
        """Ranges that learn, of values with the tensors that a program has for them."""
        return [
            learned_range(name, self.leaves[path].range, self.of(path))  # type: ignore[arg-type]
            for path, name in tensors.items()
            if learns(self.leaves.get(path), "range")
        ]

    def _range(self, path: str, name: str) -> Range:
        low, high = getattr(self.leaves[path], name).tolist()
        if isnan(low):
            message = f"nothing has said yet which numbers `{path}` takes"
            help = "`asrc train --from` a float model, or `asrc compile --calibrate`, takes ranges"
            raise AsrcError(diagnostic("E0705", message, self.graph[path].span, help=help))
        return Range(low, high)

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
        return rounded(x, self.ranges.of(self.path), self.ranges.behind(self.path))


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
        rows = [laid_out(x, lead, k) for x, k in zip(ins, self.kinds, strict=True)]
        if prod(lead) == 0:
            return ins[0].new_zeros((*lead, *self.out.dims))
        module = self.ranges.leaves.get(self.owner)
        (y,) = once(self.call(), rows, parameters_of(module))
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
        inputs = [f"in{n}" for n in range(len(taps))]
        made = lower(Facts(graph), timeline, numbers, inputs, ["n"], node.path)
        learned = ranges.learned({node.path: made.made["n"]})
        return called(made.program, "n", node, module, [made.made["n"]], learned)


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


def laid_out(x: Tensor, lead: Sequence[int], kind: Type) -> Tensor:
    """`[N, taps, F, C]`."""
    x = x.expand(*lead, *x.shape[len(lead) :]).reshape(-1, *kind.dims, kind.taps or 1)
    return (x.unsqueeze(2) if len(kind.dims) == 1 else x).permute(0, 3, 2, 1)


def in_steps(x: Tensor, kind: Type) -> Tensor:
    """`[N, T, taps, F, C]` of frames in one row each."""
    found = laid_out(x, x.shape[:2], kind)
    return found.view(*x.shape[:2], *found.shape[1:])


def _laid_back(y: Tensor, lead: Sequence[int], kind: Type) -> Tensor:
    """`[*lead, *dims]` of `[N, 1, F, C]`."""
    return y[:, 0].transpose(1, 2).reshape(*lead, *kind.dims)


def is_rounded(node: Node) -> bool:
    """Whether a value is brought to its format, not computed in it."""
    computed = "on" in node.attrs and node.op not in SOURCES
    return "number" in node.attrs and not computed and node.op not in MOVED
