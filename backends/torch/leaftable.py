"""The module of each operator that has parameters, statistics or tables; made once a path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import cast
from zlib import crc32

from torch import nn

from ...compiler.facts import Facts
from ...compiler.facts.numbers import quantisers
from ...compiler.facts.params import RULES as PARAMS
from ...compiler.graph import Graph, Node
from ...compiler.types import Stream, Type
from ...compiler.units import Quantity
from .audio import Logmel
from .dropout import Dropout
from .integers.attention import IntegerAttention
from .integers.leaves import Integer, Quantised, Ranges, Rounding, carry
from .integers.lstm import IntegerLstm
from .leaves import (
    BatchNorm,
    Cmvn,
    Constant,
    Convf,
    Dense,
    Depthwise,
    Embed,
    LayerNorm,
    Number,
    RmsNorm,
    Shape,
)
from .match import LstmBody
from .recurrent import Lstm, Rows

Make = Callable[[Node, tuple[Type, ...], Type], nn.Module]


def _weight(node: Node, ins: tuple[Type, ...], out: Type) -> Shape:
    shapes = PARAMS[node.op](node, ins, out)
    return shapes.get("weight") or shapes["value"]


def _int(node: Node, name: str) -> int:
    return cast(int, node.attrs[name])


def _eps(node: Node) -> float:
    return float(cast(Fraction, node.attrs["eps"]))


def _dense(node: Node, ins: tuple[Type, ...], out: Type) -> nn.Module:
    return Dense(_weight(node, ins, out), bool(node.attrs["bias"]), _int(node, "groups"))


def _convf(node: Node, ins: tuple[Type, ...], out: Type) -> nn.Module:
    groups, stride = _int(node, "groups"), _int(node, "stride")
    return Convf(_weight(node, ins, out), bool(node.attrs["bias"]), groups, stride)


def _depthwise(node: Node, ins: tuple[Type, ...], out: Type) -> nn.Module:
    return Depthwise(_weight(node, ins, out), bool(node.attrs["bias"]))


def _layernorm(node: Node, ins: tuple[Type, ...], out: Type) -> nn.Module:
    return LayerNorm(out.dims, _eps(node), out.taps is not None)


def _rmsnorm(node: Node, ins: tuple[Type, ...], out: Type) -> nn.Module:
    return RmsNorm(out.dims, _eps(node), out.taps is not None)


def _axes(out: Type) -> int:
    return len(out.dims) + (out.taps is not None)


def _batchnorm(node: Node, ins: tuple[Type, ...], out: Type) -> nn.Module:
    return BatchNorm(out.dims[:1], _eps(node), _axes(out))


def _cmvn(node: Node, ins: tuple[Type, ...], out: Type) -> nn.Module:
    return Cmvn(out.dims, _axes(out))


def _logmel(node: Node, ins: tuple[Type, ...], out: Type) -> nn.Module:
    period = cast(Stream, ins[0].clock).period
    window, hop = logmel_samples(node, period)
    low = float(cast(Quantity, node.attrs["low"]).value)
    top = node.attrs["high"]
    high = float(top.value) if isinstance(top, Quantity) else 0.0
    return Logmel(out.dims, window, hop, float(1 / period), low, high)


def logmel_samples(node: Node, period: Fraction) -> tuple[int, int]:
    """Window and hop of a `logmel`, in samples."""
    window, hop = (int(cast(Quantity, node.attrs[n]).value / period) for n in ("window", "hop"))
    return window, hop


def _dropout(node: Node, ins: tuple[Type, ...], out: Type) -> nn.Module:
    return Dropout(float(cast(Fraction, node.attrs["p"])), crc32(node.path.encode()))


MAKERS: Mapping[str, Make] = {
    "dense": _dense,
    "convf": _convf,
    "depthwise": _depthwise,
    "embed": lambda node, ins, out: Embed(_weight(node, ins, out)),
    "weight": lambda node, ins, out: Constant(_weight(node, ins, out)),
    "constant": lambda node, ins, out: Number(float(cast(Fraction, node.attrs["value"]))),
    "layernorm": _layernorm,
    "rmsnorm": _rmsnorm,
    "batchnorm": _batchnorm,
    "cmvn": _cmvn,
    "logmel": _logmel,
    "dropout": _dropout,
}


class Leaves:
    """The modules of a graph by path; a shared instance's applications have one module."""

    def __init__(self, facts: Facts) -> None:
        self.graph: Graph = facts.graph
        self.types = facts.types
        self.made: dict[str, nn.Module] = {}
        self.ranges = Ranges(facts.graph, self.made)

    def of(self, node: Node) -> tuple[str, nn.Module]:
        """The path that owns the parameters, and its module.

        The `dense` of an LSTM that is fused elsewhere is that module's rows: a step runs frame by
        frame where some of its frames may be before the start.
        """
        path = node.owner or node.path
        if path not in self.made:
            ins = tuple(self.types[p] for p in node.inputs)
            self.made[path] = self._made(
                self.graph[path], MAKERS[node.op](node, ins, self.types[node.path])
            )
        found = self.made[path]
        return path, Rows(found) if isinstance(found, Lstm) else found

    def _made(self, node: Node, module: nn.Module) -> nn.Module:
        return carry(module, node, self.types[node.path])

    def quantised(self, node: Node) -> None:
        """A place for what a quantised value carries, where it has no module of its own."""
        if node.path not in self.made and quantisers(node, self.types[node.path]):
            self.made[node.path] = self._made(node, Quantised())

    def integer(self, node: Node) -> nn.Module:
        """A value by the accelerator's operators."""
        if node.op in MAKERS:
            self.of(node)
        ins = tuple(self.types[p] for p in node.inputs)
        return Integer(self.ranges, node, ins, self.types[node.path])

    def attention(self, node: Node) -> nn.Module:
        """An attention by the accelerator's operators."""
        return IntegerAttention(self.ranges, node, self.types[node.path])

    def rounding(self, node: Node) -> nn.Module:
        """A value of a float operator at the numbers of its format."""
        return Rounding(self.ranges, node.path)

    def lstm(self, body: LstmBody) -> tuple[str, nn.Module]:
        """The fused module in the place of the body's `dense`."""
        if body.dense not in self.made:
            node = self.graph[body.dense]
            ins = tuple(self.types[p] for p in node.inputs)
            weight = _weight(node, ins, self.types[body.dense])
            recurrent = self.types[body.h].size
            made = Lstm(weight, bool(node.attrs["bias"]), recurrent, body.gates)
            self.made[body.dense] = self._made(node, made)
        return body.dense, self.made[body.dense]

    def integer_lstm(self, body: LstmBody, members: Sequence[str]) -> tuple[str, nn.Module]:
        """The same by the accelerator's operators."""
        self.lstm(body)
        if body.projection is not None:
            self.of(self.graph[body.projection])
        return f"_nna.{body.dense}", IntegerLstm(self.ranges, body, members, self.types)
