"""Where names live while a model is elaborated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..compiler.source import Span
from . import syntax
from .values import Module, Value


@dataclass(frozen=True, slots=True)
class Place:
    """Where values of an expression are put.

    Values go below `prefix`; the outermost one takes `name` itself when that is given.
    """

    prefix: str
    name: str | None = None

    def below(self) -> Place:
        """The place of a sub-expression."""
        return Place(self.name or self.prefix)


@dataclass
class Scope:
    """One body: its names, what `in` is, and which names are bound further down."""

    module: Module
    path: str
    names: dict[str, Value] = field(default_factory=dict)
    incoming: Value | None = None
    later: Mapping[str, Span] = field(default_factory=dict)
    pending: dict[str, list[str]] = field(default_factory=dict)
    nets: Mapping[str, Value] = field(default_factory=dict)

    def lookup(self, name: str) -> Value | None:
        """A name's value: locals, then nets, then the file's constants."""
        for names in (self.names, self.nets, self.module.constants):
            if name in names:
                return names[name]
        return None

    def block(self, name: str) -> tuple[syntax.Block, Module] | None:
        return self.module.blocks.get(name)

    def nested(self, names: Mapping[str, Value]) -> Scope:
        """The same body with more names, as inside `repeat(b in 1..6)`."""
        return Scope(
            self.module,
            self.path,
            {**self.names, **names},
            self.incoming,
            self.later,
            self.pending,
            self.nets,
        )
