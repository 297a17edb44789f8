"""Number formats: how each value and each parameter is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from ..graph import Graph, Node
from ..types import Type
from .numbers import bits_of


@dataclass(frozen=True, slots=True)
class Format:
    """`kind` is float, int, codebook or flag; `bits` is what one number occupies."""

    kind: str
    bits: int

    def __str__(self) -> str:
        return self.kind if self.kind == "flag" else f"{self.kind}{self.bits}"


_OF_ELEMENT = {"real": Format("float", 32), "token": Format("int", 32), "flag": Format("flag", 8)}
_OF_NUMBER = {"int8": Format("int", 8), "int16": Format("int", 16)}
FLOAT = Format("float", 32)


def infer_formats(graph: Graph, types: Mapping[str, Type]) -> Mapping[str, Format]:
    """The format of every value; float32 where no pass has noted another."""
    return {path: _format(graph[path], kind) for path, kind in types.items()}


def _format(node: Node, kind: Type) -> Format:
    number = node.attrs.get("number")
    return _OF_ELEMENT[kind.elem] if number is None else _OF_NUMBER[cast(str, number)]


def parameter_format(node: Node, name: str) -> Format:
    """The format of a parameter or buffer.

    Ranges, scales and codebooks are float; a row of a quantised table has the format of the value;
    a bias is added in 32 bits.
    """
    number, bits = node.attrs.get("number"), bits_of(node)
    if name == "weight" and bits is not None:
        return Format("int", 8) if bits == 8 else Format("codebook", bits)
    if name == "bias" and bits is not None and node.attrs.get("on"):
        return Format("int", 32)
    if name in ("weight", "bias") and node.op == "layernorm" and node.attrs.get("on"):
        return Format("int", 16)
    if name == "weight" and node.op == "embed" and number is not None:
        return _OF_NUMBER[cast(str, number)]
    return FLOAT
