"""Questions about syntax: does a block use `in`, which names does a body bind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..compiler.source import Span
from . import syntax


def walk(node: object) -> Iterator[syntax.Syntax]:
    """A node and everything below it, in source order."""
    stack: list[object] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack.extend(reversed(item))
        elif isinstance(item, syntax.Syntax):
            yield item
            stack.extend(getattr(item, name) for name in reversed(parts(item)))


def parts(node: syntax.Syntax) -> tuple[str, ...]:
    """The fields of a node that may hold other nodes."""
    return tuple(name for name in type(node).__dataclass_fields__ if name != "span")


def uses_incoming(block: syntax.Block) -> bool:
    """Whether a block takes something through the pipe."""
    return any(isinstance(node, syntax.Incoming) for node in walk(block.body))


IGNORED = "_"
"""A target of this name binds nothing: `first, _, _ = x |> split(3)`."""


def bound_names(body: Sequence[syntax.Statement]) -> dict[str, Span]:
    """The names that a body binds, each with the place of its first binding."""
    found: dict[str, Span] = {}
    for statement in body:
        if isinstance(statement, syntax.Bind):
            for target in statement.targets:
                found.setdefault(target.name.name, target.name.span)
    found.pop(IGNORED, None)
    return found
