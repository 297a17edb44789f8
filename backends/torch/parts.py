"""The parts of a model by what makes them run: once an utterance, with frames, with labels, and
where frames and labels meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...compiler.facts.reads import timeline
from ...compiler.graph import Graph, Node
from ...compiler.types import Label, Lattice, Static, Type, base_clock

PARTS = ("static", "frames", "labels", "lattice")


@dataclass(frozen=True, slots=True)
class Part:
    """`members` are the values that the part computes, `inputs` those it is given (a model's own
    inputs among them), `outputs` those that others or the user want (inputs among them, where
    the model shows them). `free` values depend on
    parameters alone; each part computes those it reads."""

    name: str
    members: frozenset[str]
    free: frozenset[str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def split(graph: Graph, types: Mapping[str, Type]) -> tuple[Part, ...]:
    """The parts that a model has, in the order in which they run."""
    place = _places(graph, types)
    roots = {*graph.outputs.values(), *graph.losses.values()}
    found = []
    for name in PARTS:
        here = frozenset(p for p, part in place.items() if part == name)
        mine = frozenset(p for p in here if graph[p].op != "input")
        fixed = {p for p in roots if name == "static" and place[p] == "free"}
        if mine or fixed or here & roots:
            found.append(_part(graph, name, mine, place, roots, fixed))
    return tuple(found)


def _places(graph: Graph, types: Mapping[str, Type]) -> dict[str, str]:
    """Value -> part; `free` for what depends on no input. A recurrence is in one place."""
    wanted = graph.ancestors([*graph.outputs.values(), *graph.losses.values()])
    place: dict[str, str] = {}
    for group in graph.waves:
        nodes = [graph[p] for p in group if p in wanted]
        above = {place[s] for n in nodes for s in n.inputs if s not in group}
        place |= {n.path: _place(n, types[n.path], above) for n in nodes}
    return place


def _place(node: Node, kind: Type, above: set[str]) -> str:
    base = base_clock(kind.clock)
    if isinstance(base, Lattice):
        return "lattice"
    if timeline(kind) is not None:
        return "labels" if isinstance(base, Label) else "frames"
    later = [name for name in PARTS[1:] if name in above]
    if later:
        return later[-1]
    return "static" if node.op == "input" or "static" in above else "free"


def _part(
    graph: Graph,
    name: str,
    mine: frozenset[str],
    place: Mapping[str, str],
    roots: set[str],
    fixed: set[str],
) -> Part:
    """`fixed` are outputs that depend on parameters alone."""
    free = frozenset(_free(graph, mine, place, fixed))
    read = {s: None for p in graph.order if p in mine for s in graph[p].inputs}
    shown = {p for p in roots if graph[p].op == "input" and place[p] == name}
    read |= {p: None for p in graph.order if p in shown}
    inputs = tuple(p for p in read if p not in mine and p not in free)
    outside = (n for n in graph if place.get(n.path) not in (name, None, "free"))
    handed_on = {s for n in outside for s in n.inputs if s in mine}
    wanted = (mine & (roots | handed_on)) | shown | fixed
    outputs = tuple(p for p in graph.order if p in wanted)
    return Part(name, mine, free, inputs, outputs)


def _free(
    graph: Graph, mine: frozenset[str], place: Mapping[str, str], fixed: set[str]
) -> Iterator[str]:
    """What the part computes of parameters alone."""
    reads = [s for p in mine for s in graph[p].inputs if place[s] == "free"]
    yield from graph.ancestors([*reads, *fixed])


def streamed(graph: Graph, part: Part) -> Part:
    """The part without what only training reads: a loss is no value of a stream."""
    wanted = graph.ancestors(graph.outputs.values())
    members = part.members & wanted
    read = {s for p in members for s in graph[p].inputs}
    inputs = tuple(p for p in part.inputs if p in read or p in part.outputs)
    outputs = tuple(p for p in part.outputs if p in wanted)
    return Part(part.name, members, part.free & wanted, inputs, outputs)


def is_static(kind: Type) -> bool:
    return isinstance(base_clock(kind.clock), Static)
