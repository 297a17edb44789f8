"""What an expression can be while a model is elaborated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from ..compiler.graph import Attr
from ..compiler.source import Span
from ..compiler.units import Quantity, format_number
from . import syntax


@dataclass(frozen=True, slots=True)
class Symbol:
    """A bare word: a choice such as `relative`, or `true` and `false`."""

    name: str


@dataclass(frozen=True, slots=True)
class Ref:
    """A value of the graph."""

    path: str


@dataclass(frozen=True, slots=True)
class Several:
    """Several values at once, in order; `names` when they are named outputs."""

    refs: tuple[Ref, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pieces:
    """`x |> split(n)`: cut when it is bound, so that each part gets its own name."""

    source: Ref
    parts: int
    span: Span


@dataclass(slots=True)
class OpInstance:
    """An operator with its options; `first` is where its parameters live once applied."""

    op: str
    attrs: Mapping[str, Attr]
    span: Span
    inputs: tuple[Ref, ...] = ()
    first: str | None = None

    @property
    def name(self) -> str:
        return self.op


@dataclass(slots=True)
class BlockInstance:
    """A block with its arguments, waiting for `in`."""

    block: syntax.Block
    home: Module
    arguments: Mapping[str, Value]
    span: Span
    first: str | None = None

    @property
    def name(self) -> str:
        return self.block.name.name


@dataclass(frozen=True, slots=True)
class Missing:
    """The value of a name whose definition failed; using it says nothing more."""


Value = (
    Fraction
    | Quantity
    | Symbol
    | str
    | Ref
    | Several
    | Pieces
    | OpInstance
    | BlockInstance
    | Missing
)


def show_number(value: Fraction | Quantity) -> str:
    """`2.5`, `25ms`: as a user would write it."""
    return str(value) if isinstance(value, Quantity) else format_number(value)


@dataclass
class Module:
    """One file's declarations: constants by value, blocks by name and home."""

    source: syntax.Module
    constants: dict[str, Value] = field(default_factory=dict)
    blocks: dict[str, tuple[syntax.Block, Module]] = field(default_factory=dict)


def describe(value: Value) -> str:
    """What a value is, in a user's words."""
    if isinstance(value, Fraction | Quantity):
        return f"the number {show_number(value)}"
    if isinstance(value, Symbol):
        return f"the word `{value.name}`"
    if isinstance(value, OpInstance):
        return f"the operator `{value.op}`, not yet applied to a stream"
    if isinstance(value, BlockInstance):
        return f"the block `{value.name}`, not yet applied to a stream"
    if isinstance(value, Several | Pieces):
        return "several streams"
    return "a string" if isinstance(value, str) else "a stream"
