"""Builds a graph value by value; every value is typed as it is added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import cast

from ..compiler.budgets import Budget
from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ..compiler.facts.params import LEARNED
from ..compiler.facts.rule_error import RuleError
from ..compiler.facts.shape import explain_refusal, rule_type
from ..compiler.graph import Attr, Graph, Node, Scope
from ..compiler.ops import OPS
from ..compiler.source import Span
from ..compiler.types import Type

MAX_VALUES = 100_000


class Builder:
    """A graph in the making. Recurrences are open until their name is bound."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.types: dict[str, Type | None] = {}
        self.names: dict[str, str] = {}
        self.scopes: dict[str, Scope] = {}
        self.outputs: dict[str, str] = {}
        self.losses: dict[str, str] = {}
        self._taken: set[str] = set()
        self._shares: list[tuple[str, str]] = []
        self._open: dict[str, int] = {}
        self._full = False

    # --- paths ---

    def claim(self, wanted: str) -> str:
        """`wanted`, or `wanted_2` and so on where that is taken."""
        path, count = wanted, 1
        while path in self._taken:
            count += 1
            path = f"{wanted}_{count}"
        self._taken.add(path)
        return path

    def scope(self, path: str, kind: str, name: str, span: Span) -> None:
        self.scopes[path] = Scope(path, kind, name, span)

    @contextmanager
    def sharing(self, here: str, first: str) -> Iterator[None]:
        """Values made below `here` use the parameters made below `first`."""
        self._shares.append((here, first))
        try:
            yield
        finally:
            self._shares.pop()

    def _owner(self, path: str, op: str) -> str | None:
        if op not in LEARNED:
            return None
        for here, first in self._shares:
            if here != first and (path == here or path.startswith(here + ".")):
                owner = self.nodes[first + path[len(here) :]]
                return owner.owner or owner.path
        return None

    # --- values ---

    def add(
        self, path: str, op: str, inputs: tuple[str, ...], attrs: Mapping[str, Attr], span: Span
    ) -> str:
        """A new value at a path that has been claimed. Raises AsrcError where it cannot be."""
        self._make_room(span)
        node = Node(path, op, inputs, complete(op, attrs), span, self._owner(path, op))
        self.types[path] = self._type(node)
        self.nodes[path] = node
        return path

    def _make_room(self, span: Span) -> None:
        """Refuse more values than a model may have, aloud the first time only."""
        if len(self.nodes) >= MAX_VALUES:
            found = () if self._full else (_too_large(span),)
            self._full = True
            raise AsrcError(*found)

    def add_open(
        self, path: str, op: str, attrs: Mapping[str, Attr], span: Span, extra: tuple[str, ...]
    ) -> str:
        """A shift whose source is bound later; see `close`. `extra` are its other inputs."""
        self._open[path] = len(self.nodes)
        self.nodes[path] = Node(path, op, ("", *extra), complete(op, attrs), span)
        self.types[path] = None
        return path

    def close(self, path: str, source: str) -> None:
        """The source of an open shift is known: check everything since then once more."""
        node = self.nodes[path]
        self.nodes[path] = replace(node, inputs=(source, *node.inputs[1:]))
        since = list(islice(reversed(self.nodes), len(self.nodes) - self._open.pop(path)))[::-1]
        for _ in range(2):
            for name in since:
                self.types[name] = self._retype(self.nodes[name])

    def drop_open(self, path: str) -> None:
        """Forget an open shift whose source failed."""
        self._open.pop(path, None)

    def _type(self, node: Node) -> Type | None:
        try:
            return rule_type(node, [self.types.get(p) for p in node.inputs])
        except RuleError as error:
            raise AsrcError(explain_refusal(self.nodes, node, error)) from None

    def _retype(self, node: Node) -> Type | None:
        try:
            return self._type(node)
        except AsrcError as error:
            raise AsrcError(*(_recurrent(d) for d in error.diagnostics)) from None

    def graph(self, name: str, budgets: tuple[Budget, ...]) -> Graph:
        """The finished graph: values in the order in which they were written.

        What hangs on a recurrence that was never closed, because of a mistake, is left out.
        """
        nodes = self._sound()

        def kept(names: Mapping[str, str]) -> dict[str, str]:
            return {name: path for name, path in names.items() if path in nodes}

        outputs, known, losses = kept(self.outputs), kept(self.names), kept(self.losses)
        return Graph(name, nodes, outputs, known, dict(self.scopes), losses, budgets)

    def _sound(self) -> dict[str, Node]:
        lost = {path for path, node in self.nodes.items() if "" in node.inputs}
        growing = bool(lost)
        while growing:
            more = {p for p, n in self.nodes.items() if p not in lost and lost & {*n.inputs}}
            growing = bool(more)
            lost |= more
        return {path: node for path, node in self.nodes.items() if path not in lost}


def complete(op: str, attrs: Mapping[str, Attr]) -> dict[str, Attr]:
    """All options of an operator, with defaults where none is given."""
    options = OPS[op].options.items()
    return {name: attrs[name] if name in attrs else cast(Attr, o.default) for name, o in options}


def _recurrent(found: Diagnostic) -> Diagnostic:
    """A clash of periods that only the closed recurrence shows."""
    if found.code != "E0202":
        return found
    return replace(found, code="E0403", message=f"state is read at two rates: {found.message}")


def _too_large(span: Span) -> Diagnostic:
    return diagnostic(
        "E0006",
        f"the model has more than {MAX_VALUES:,} values",
        span,
        help="lower the counts of `repeat`",
    )
