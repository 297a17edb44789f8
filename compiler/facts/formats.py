"""Number formats: how each value and each parameter is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..graph import Graph
from ..types import Type


@dataclass(frozen=True, slots=True)
class Format:
    """`kind` is float, int or flag; `bits` is what one number occupies."""

    kind: str
    bits: int

    def __str__(self) -> str:
        return self.kind if self.kind == "flag" else f"{self.kind}{self.bits}"


_OF_ELEMENT = {"real": Format("float", 32), "token": Format("int", 32), "flag": Format("flag", 8)}
PARAMETER = Format("float", 32)


def infer_formats(graph: Graph, types: Mapping[str, Type]) -> Mapping[str, Format]:
    """The format of every value; float32 until a quantising pass says otherwise."""
    return {path: _OF_ELEMENT[kind.elem] for path, kind in types.items()}
