"""`quantize`: numbers of few bits in place of float ones.

`quantize()`                                 int8 weights, a scale a row, and int8 values
`quantize(weights=5)`                        weights of 32 values, on the grid of int8
`quantize(weights=5, coded=4)`               of as many, but 4 bits each in the weight stream
`quantize(weights=5, coded=5)`               Lloyd-Max values, however the stream codes them
`quantize(weights=1)`                        of less than a bit there: three values, most zero
`quantize(weights=1, coded=1)`               of two values
`quantize(encoder, weights=4)`               a part alone, or otherwise than the rest
`quantize(weights=8, activations=false)`     weights alone
`quantize(per=tensor)`                       one scale for a weight in place of one for each row
`quantize(scales=learned)`                   scales and ranges that a training moves

Values of the accelerator's side get a number format, and so does what they read of the host's:
int8, but int16 for a recurrence that only adds up, such as an LSTM's cell, and for its summands.
The numbers themselves, ranges and scales and codebooks, are buffers beside the weights; they are
taken from real audio (`backends/nna/calibrate.py`), and stay so unless `scales=learned`. Codebooks
are those of papers/s8bqat.md, A and B; training passes gradients straight through, that page's
plain baseline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.facts.numbers import FEWEST_CODED, MOVED, WEIGHTED
from ..compiler.graph import Attr, Graph, Node
from ..compiler.placement import HOST, readers
from ..compiler.protocol import Weights
from ..compiler.select import select
from ..compiler.spec import OptionError


@dataclass(frozen=True)
class Quantize:
    """Notes number formats and bits of weights; a later call for the same values counts."""

    name: ClassVar[str] = "quantize"
    keeps: ClassVar[frozenset[str]] = frozenset({"lookahead", "rate", "shapes", "parameters"})

    on: str | None = None
    weights: int = 8
    coded: Fraction | None = None
    activations: bool = True
    per: str = "row"
    scales: str = "frozen"

    def __post_init__(self) -> None:
        """Raises AsrcError E0805 for bits that no codebook has."""
        if not 1 <= self.weights <= 8:
            message = f"`weights` is 1 to 8 bits, not {self.weights}"
            raise OptionError("weights", AsrcError(diagnostic("E0805", message)))
        if self.coded is not None and not FEWEST_CODED <= self.coded <= self.weights < 8:
            message = "`coded` is 0.5 or more and at most `weights`, of which there are 1 to 7 then"
            raise OptionError("coded", AsrcError(diagnostic("E0805", message)))

    def run(self, graph: Graph, weights: Weights | None) -> tuple[Graph, Weights | None]:
        """Raises AsrcError E0803 where there is nothing to quantise."""
        try:
            chosen = select(graph, self.on) if self.on is not None else list(graph.nodes)
            mine = [path for path in chosen if graph[path].op not in HOST]
            if not mine:
                message = f"`{self.on}` has nothing to quantise: the host computes all of it"
                raise AsrcError(diagnostic("E0803", message))
        except AsrcError as error:
            raise OptionError("on", error) from None
        noted = self._numbers(graph, mine) if self.activations else {}
        weighted = {path for path in mine if graph[path].op in {*WEIGHTED, "batchnorm"}}
        notes: dict[str, dict[str, Attr]] = {p: {"number": x} for p, x in noted.items()}
        for path in weighted:
            bits, coded = widths(self.weights, self.coded)
            limit = None if coded is None else Fraction(coded)
            how = {"weights": bits, "coded": limit, "per": self.per}
            notes[path] = {**notes.get(path, {}), **how}
        for path in notes:
            notes[path]["scales"] = self.scales
        return graph.rewrite(_noted(node, notes.get(node.path, {})) for node in graph), weights

    def _numbers(self, graph: Graph, mine: list[str]) -> dict[str, str]:
        """The format of every value, and of what they read."""
        wide = accumulators(graph)
        every = {*mine, *(p for path in mine for p in graph[path].inputs)}
        while (
            behind := {p for path in every if graph[path].op in MOVED for p in graph[path].inputs}
            - every
        ):
            every |= behind
        return {path: _number(graph, path, wide) for path in every}


def widths(bits: int, coded: Fraction | None) -> tuple[int, Fraction | None]:
    """Bits of an index, and of the coded stream, of weights that are to have so many.

    Of two values that both are common no stream takes less than a bit and its headers; three of
    which zero is the commonest take less, with about as much noise."""
    return (2, Fraction(1)) if bits == 1 and coded is None else (bits, coded)


def as_noted(node: Node, before: Node) -> Node:
    """With the notes that were there; a codebook that is there already is not held to a limit."""
    attrs = {**node.attrs, **before.attrs}
    if "weights" in before.attrs and "coded" not in before.attrs:
        attrs.pop("coded", None)
    return replace(node, attrs=attrs)


_USUAL = {"coded": None, "per": "row", "scales": "frozen"}
"""What goes without a note."""


def _noted(node: Node, notes: Mapping[str, Attr]) -> Node:
    noted = {**node.attrs, **notes}
    usual = {name for name, x in _USUAL.items() if noted.get(name, x) == x}
    attrs = {name: x for name, x in noted.items() if name not in usual}
    return replace(node, attrs=attrs) if attrs != node.attrs else node


def _number(graph: Graph, path: str, wide: frozenset[str]) -> str:
    while graph[path].op in MOVED:
        path = graph[path].inputs[0]
    return "int16" if path in wide else "int8"


def accumulators(graph: Graph) -> frozenset[str]:
    """Recurrent values that enter no sum of products, and what is added up to them."""
    states = {
        graph[shift].inputs[0]
        for shift in graph.cycle_shifts
        if not any(reader.op == "dense" for reader in readers(graph, shift))
    }
    return frozenset(states | {path for state in states for path in _summands(graph, state)})


def _summands(graph: Graph, state: str) -> Iterator[str]:
    for path in graph[state].inputs:
        if graph[path].op == "mul" and {r.path for r in readers(graph, path)} == {state}:
            yield path
