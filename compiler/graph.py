"""The graph: values by dotted path, on a networkx multigraph.

A graph is immutable by convention: passes build a new one with `Graph.rewrite`. The only legal
cycles pass through a `delay` (or, along a finite axis, an `ahead`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import cast

import networkx as nx

from .budgets import Budget
from .diagnostics import AsrcError, Diagnostic, diagnostic
from .source import Span
from .types import Type
from .units import Quantity

Attr = int | bool | str | Fraction | Quantity | Type | tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Node:
    """One value. `inputs` are the paths of the values it reads, in order.

    `owner` names the value whose parameters this one uses, when an instance is shared.
    """

    path: str
    op: str
    inputs: tuple[str, ...] = ()
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    span: Span | None = field(default=None, compare=False)
    owner: str | None = None

    def with_attrs(self, **attrs: Attr) -> Node:
        return replace(self, attrs={**self.attrs, **attrs})


@dataclass(frozen=True, slots=True)
class Scope:
    """A block instance, repeat or net: where a stretch of the graph came from."""

    path: str
    kind: str
    name: str
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Graph:
    """Values in program order, with the names that a user knows them by.

    `outputs` maps `encoder` or `joint.tokens` to a value; `names` maps every binding
    (`encoder.high`) to its value; `losses` are training terms. The inputs of the model are
    the values with op `input`. A graph marked for streaming has the length of its `step`, in
    seconds.
    """

    name: str
    nodes: Mapping[str, Node]
    outputs: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    scopes: Mapping[str, Scope] = field(default_factory=dict)
    losses: Mapping[str, str] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()
    provenance: tuple[str, ...] = ()
    step: Fraction | None = None

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, path: str) -> Node:
        return self.nodes[path]

    @cached_property
    def network(self) -> nx.MultiDiGraph[str]:
        """The values as a networkx graph; an edge carries the input slot it feeds."""
        network: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        network.add_nodes_from(self.nodes)
        for node in self:
            network.add_edges_from(
                (source, node.path, {"slot": slot}) for slot, source in enumerate(node.inputs)
            )
        return network

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """Value -> the values that read it, in program order, each once."""
        found: dict[str, dict[str, None]] = {path: {} for path in self.nodes}
        for node in self:
            for source in node.inputs:
                found[source][node.path] = None
        return {path: tuple(paths) for path, paths in found.items()}

    @cached_property
    def order(self) -> tuple[str, ...]:
        """A topological order in which shifts inside cycles do not count as dependencies."""
        forward: nx.DiGraph[str] = nx.DiGraph()
        forward.add_nodes_from(self.nodes)
        cut = self.cycle_shifts
        forward.add_edges_from((s, n.path) for n in self if n.path not in cut for s in n.inputs)
        rank = {path: index for index, path in enumerate(self.nodes)}
        try:
            return tuple(nx.lexicographical_topological_sort(forward, key=rank.__getitem__))
        except nx.NetworkXUnfeasible:
            raise AsrcError(*self._shiftless(forward)) from None

    def _shiftless(self, forward: nx.DiGraph[str]) -> Iterator[Diagnostic]:
        """Why there is no order: values that need their own frame."""
        for group in nx.strongly_connected_components(forward):
            if len(group) > 1 or any(forward.has_edge(path, path) for path in group):
                first = next(path for path in self.nodes if path in group)
                yield diagnostic(
                    "E0305",
                    f"`{first}` depends on its own frame",
                    self.nodes[first].span,
                    help="a recurrence reads an earlier frame: `h[t-1]`",
                )

    @cached_property
    def waves(self) -> tuple[tuple[str, ...], ...]:
        """The values in dependency order; those of one recurrence together, its shifts first."""
        if not self.cycles:
            return tuple((path,) for path in self.order)
        rank = {path: n for n, path in enumerate(self.order)}
        folded = nx.condensation(self.network)
        members = {n: sorted(folded.nodes[n]["members"], key=rank.__getitem__) for n in folded}
        order = nx.lexicographical_topological_sort(folded, key=lambda n: rank[members[n][0]])
        return tuple(tuple(members[n]) for n in order)

    @cached_property
    def looped(self) -> frozenset[str]:
        """The values inside recurrences."""
        return frozenset[str]().union(*self.cycles)

    @cached_property
    def cycle_shifts(self) -> frozenset[str]:
        """The shifts that close a cycle: `delay`, `ahead` and windows of the past alone."""
        return frozenset(p for c in self.cycles for p in c if is_shift(self.nodes[p]))

    @cached_property
    def cycles(self) -> tuple[frozenset[str], ...]:
        """The recurrences: groups of values that depend on each other."""
        found = nx.strongly_connected_components(self.network)
        looped = (c for c in found if len(c) > 1 or _reads_itself(self.nodes[next(iter(c))]))
        return tuple(frozenset(c) for c in looped)

    def resolve(self, name: str) -> str | None:
        """The value that a user's name stands for, or `None`."""
        if name in self.outputs:
            return self.outputs[name]
        return self.names.get(name) or (name if name in self.nodes else None)

    def ancestors(self, paths: Iterable[str]) -> set[str]:
        """The values that `paths` depend on, themselves included."""
        found: set[str] = set()
        stack = list(paths)
        while stack:
            path = stack.pop()
            if path not in found:
                found.add(path)
                stack.extend(self.nodes[path].inputs)
        return found

    def rewrite(self, nodes: Iterable[Node], renamed: Mapping[str, str] | None = None) -> Graph:
        """A graph with other nodes; `renamed` redirects every use of a value that went away."""
        moved = renamed or {}

        def final(path: str) -> str:
            while path in moved:
                path = moved[path]
            return path

        kept = {n.path: _redirect(n, final) for n in nodes}
        names = {k: final(v) for k, v in self.names.items() if final(v) in kept}
        outputs = {k: final(v) for k, v in self.outputs.items()}
        losses = {k: final(v) for k, v in self.losses.items()}
        made = replace(self, nodes=kept, names=names, outputs=outputs, losses=losses)
        return self._hand_on(made) if _same_shape(self.nodes, kept) else made

    def noted(self, line: str) -> Graph:
        """The same graph with one more line of provenance."""
        return self._hand_on(replace(self, provenance=(*self.provenance, line)))

    def _hand_on(self, made: Graph) -> Graph:
        """What is known of the structure holds for a graph of the same structure."""
        made.__dict__.update({k: v for k, v in self.__dict__.items() if k in _STRUCTURE})
        return made


_STRUCTURE = frozenset({"network", "readers", "order", "waves", "looped", "cycle_shifts", "cycles"})


def _same_shape(old: Mapping[str, Node], new: Mapping[str, Node]) -> bool:
    """Whether the same values read the same values, shifts being the same shifts."""
    return len(old) == len(new) and all(
        a.path == b.path and a.inputs == b.inputs and a.op == b.op and is_shift(a) == is_shift(b)
        for a, b in zip(old.values(), new.values(), strict=True)
    )


def is_shift(node: Node) -> bool:
    """Whether a value reads other frames only, so that a cycle may close through it."""
    if node.op == "window":
        return cast(int, node.attrs["future"]) < 0
    return node.op in ("delay", "ahead")


def _reads_itself(node: Node) -> bool:
    return node.path in node.inputs


def _redirect(node: Node, final: Callable[[str], str]) -> Node:
    inputs = tuple(final(path) for path in node.inputs)
    return node if inputs == node.inputs else replace(node, inputs=inputs)
