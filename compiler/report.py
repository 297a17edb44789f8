"""Facts as rows: what `asrc check` and `asrc inspect` show, as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod

from .facts import Facts, Range
from .facts.formats import parameter_format
from .facts.params import buffers
from .measure import holders
from .outline import Entry, outline
from .rows import Row, grouped
from .types import Label, Static, Type, base_clock, inner_steps
from .waits import describe, waiting_rows

Bound = Fraction | None
"""A figure that may have no bound."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What some values need and cost.

    `lookahead` is least and most, in seconds, over the copies of a layer and the branches of
    switches; `None` where there are no frames. State is in bits.
    """

    lookahead: tuple[Bound, Bound] | None
    params: int
    frame: Bound
    step: Bound
    cost: Range


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One line of a table: a stretch of the graph, what it hands on, and its figures."""

    entry: Entry
    types: tuple[Type, ...]
    figures: Figures


def rows(facts: Facts, depth: int = 1) -> list[LayerRow]:
    """The graph folded by path. What is held of an input counts for the nets that read it, as in
    budgets; the row of the input shows it once more."""
    return [_row(facts, entry) for entry in outline(facts.graph, facts.types, depth)]


def net_rows(facts: Facts) -> list[LayerRow]:
    """The nets alone."""
    return [row for row in rows(facts, 0) if row.entry.kind == "net"]


def total(facts: Facts) -> Figures:
    """The whole model. Its look-ahead is that of its slowest output."""
    return figures(facts, facts.graph.nodes, tuple(facts.graph.outputs.values()))


def figures(facts: Facts, members: Iterable[str], outputs: Sequence[str]) -> Figures:
    """The figures of a selection of values."""
    chosen = list(members)
    return Figures(
        _lookahead(facts, outputs),
        facts.param_count(chosen),
        facts.held_bits(chosen, step=False),
        facts.held_bits(chosen, step=True),
        facts.cost(chosen),
    )


def _row(facts: Facts, entry: Entry) -> LayerRow:
    kinds = dict.fromkeys(facts.types[path] for path in entry.outputs)
    is_net = entry.kind == "net"
    members = holders(facts.graph, entry.members) if is_net else entry.members
    return LayerRow(entry, tuple(kinds), figures(facts, members, entry.outputs))


def _lookahead(facts: Facts, outputs: Sequence[str]) -> tuple[Bound, Bound] | None:
    timed = [p for p in outputs if not isinstance(base_clock(facts.types[p].clock), Label | Static)]
    if not timed:
        return None
    best = any(node.op == "switch" for node in facts.graph)
    low = [facts.lookahead(path, best=best) for path in timed]
    high = [facts.lookahead(path) for path in timed]
    return (
        min((x for x in low if x is not None), default=None),
        None if None in high else max(x for x in high if x is not None),
    )


# --- state -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A value that streaming holds: between one-frame steps, between compiled steps, or for an
    utterance (`cached`). `kind` is recurrent, history or static. `frames` and `bits` are `None`
    when they keep growing."""

    figure: str
    path: str
    kind: str
    type: Type
    format: str
    frames: int | None
    bits: int | None
    readers: tuple[str, ...]


def held_rows(facts: Facts) -> list[HeldRow]:
    """Everything that is held, figure by figure."""
    return [*_held(facts, "frame"), *_held(facts, "step"), *_cached(facts)]


def _held(facts: Facts, figure: str) -> Iterator[HeldRow]:
    for item in facts.held_step if figure == "step" else facts.held_frame:
        kind, form = facts.types[item.path], facts.formats[item.path]
        bits = None if item.values is None else item.values * form.bits
        yield HeldRow(
            figure, item.path, item.kind, kind, str(form), item.frames, bits, item.readers
        )


def _cached(facts: Facts) -> Iterator[HeldRow]:
    for path, values in facts.cached.items():
        kind, form = facts.types[path], facts.formats[path]
        offsets, readers = facts.offsets.get(path, 1), facts.graph.readers[path]
        count = None if offsets is None else inner_steps(kind.clock) * offsets
        bits = None if values is None else values * form.bits
        yield HeldRow("cached", path, "static", kind, str(form), count, bits, readers)


# --- parameters ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tensor:
    """A parameter, or a buffer: statistics that come with the weights but are not learned."""

    name: str
    shape: tuple[int, ...]
    format: str
    learned: bool

    @property
    def count(self) -> int:
        return prod(self.shape)


def tensors(facts: Facts) -> Iterator[Tensor]:
    """Everything that a file of weights holds, in program order."""
    for node in facts.graph:
        kinds = (facts.params.get(node.path, {}), buffers(node, facts.types[node.path]))
        for learned, shapes in zip((True, False), kinds, strict=True):
            for name, shape in shapes.items():
                yield Tensor(
                    f"{node.path}.{name}", shape, str(parameter_format(node, name)), learned
                )


# --- look-ahead ------------------------------------------------------------------------------


def waits(facts: Facts, path: str) -> list[Row]:
    """What the worst-case look-ahead of a value is made of, largest first.

    The amounts sum to it; where it has no bound, the rows are the values that wait for ever.
    """
    if facts.lookahead(path) is not None:
        return waiting_rows(facts, path)
    nodes = (facts.graph[item.path] for item in facts.contributors(path))
    return grouped((node, describe(facts, node), Fraction(0)) for node in nodes)
