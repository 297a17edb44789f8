"""Every value of a transducer in PyTorch: of the frames, of the labels, and where both meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..backends.nna.formats import SQUASHED
from ..backends.nna.program import Array
from ..backends.nna.recipes import FUNCTIONS
from ..backends.nna.rows import ROWS
from ..backends.torch.lowered import Lowered
from ..backends.torch.ports import value_name
from ..backends.torch.weights import load_weights
from ..compiler.facts import Facts
from ..compiler.graph import Graph, Node
from ..compiler.placement import readers
from ..compiler.types import Label, Lattice, Static, Type, base_clock
from ..passes.fold_norm import FoldNorm
from .samples import Samples
from .transducer import find_roles

Values = Mapping[str, Array]

SHOWN = {*ROWS, "cmvn", "embed"}
"""Operators of values that a program has, or is given."""


class Opened:
    """A model, all of whose values on the way to its head are shown, by path; `facts` are those of
    the model as it was, for what is shown is scheduled otherwise."""

    def __init__(self, lowered: Lowered) -> None:
        self.roles = find_roles(lowered)
        self.facts = facts = lowered.facts
        graph = facts.graph
        way = graph.ancestors([path_of(lowered, self.roles.heads[0])])
        on_way = (p for p in graph.order if p in way and graph[p].op in SHOWN)
        places = {p: place_of(facts.types[p]) for p in on_way}
        self.places = {p: place for p, place in places.items() if place is not None}
        outputs = {**graph.outputs, **{f"value.{n}": p for n, p in enumerate(self.places)}}
        self.lowered = Lowered(Facts(replace(graph, outputs=outputs)))
        load_weights(self.lowered, lowered.tensors())
        self.lowered.eval()

    def heard(self, samples: Samples) -> dict[str, Array]:
        """Values of the encoder on a whole utterance, `[frames, *dims]`."""
        return self._part("frames", samples, [0])

    def said(self, labels: Sequence[int]) -> dict[str, Array]:
        """Values of the predictor on the labels before each, `[labels, *dims]`."""
        return self._part("labels", np.zeros(1, np.float32), labels)

    @torch.no_grad()
    def met(self, rows: Values) -> dict[str, Array]:
        """Values of the joint for pairs of a frame and a label, `[pairs, *dims]`: `rows` are what
        it reads, by path."""
        lattice, given = self.lowered.parts["lattice"], {}
        for port in lattice.inputs:
            of = torch.from_numpy(rows[port.path])
            ones = torch.ones(len(of), dtype=torch.int64)
            given[port.name] = of[:, None] if port.kind == "value" else ones
        made = lattice(given)
        return {p: made[self._name(p)][:, 0, 0].numpy() for p in self._of("lattice")}

    @torch.no_grad()
    def _part(self, part: str, samples: Samples, labels: Sequence[int]) -> dict[str, Array]:
        given = {
            self.roles.audio: torch.from_numpy(samples)[None, :, None],
            self.roles.previous: torch.tensor([labels]),
        }
        made = self.lowered(given, {"frames", "labels", "lattice"} - {part})
        return {p: made[self._name(p)][0].numpy() for p in self._of(part)}

    def _of(self, part: str) -> Iterable[str]:
        return (path for path, place in self.places.items() if place == part)

    def _name(self, path: str) -> str:
        return value_name(self.lowered.facts.graph, path)


def path_of(lowered: Lowered, name: str) -> str:
    """Which value a part hands on by a name."""
    ports = (port for part in lowered.parts.values() for port in part.outputs)
    return next(port.path for port in ports if port.name == name)


def place_of(kind: Type) -> str | None:
    """The part that computes it, none for what is known before the utterance."""
    base = base_clock(kind.clock)
    if isinstance(base, Static):
        return None
    if isinstance(base, Lattice):
        return "lattice"
    return "labels" if isinstance(base, Label) else "frames"


def folded(lowered: Lowered) -> Lowered:
    """The same function, batch norms in the weights before them, as a compiled model has them."""
    weights = {n: x.detach().float().cpu().numpy() for n, x in lowered.tensors().items()}
    graph, new = FoldNorm("batchnorm").run(lowered.facts.graph, weights)
    assert new is not None
    found = Lowered(Facts(graph))
    load_weights(found, {n: torch.from_numpy(np.array(x)) for n, x in new.items()})
    return found.eval()


def rectified(graph: Graph) -> frozenset[str]:
    """Values of which nothing below zero is of interest: rectifiers, and what these alone read."""
    found = {node.path: [reader.op for reader in readers(graph, node.path)] for node in graph}
    return frozenset(p for p, kinds in found.items() if graph[p].op == "relu" or _all_relu(kinds))


def _all_relu(kinds: Sequence[str]) -> bool:
    return {*kinds} == {"relu"}


def bounds(graph: Graph) -> dict[str, tuple[float, float]]:
    """Values that are clipped on purpose, and where: rectified ones, and what sigmoids and tanhs
    alone read."""
    flat = (node.path for node in graph if _squashed(graph, node.path))
    found = dict.fromkeys(flat, (-SQUASHED, SQUASHED))
    return {**found, **dict.fromkeys(rectified(graph), (0.0, np.inf))}


def _squashed(graph: Graph, path: str) -> bool:
    """Whether sigmoids and tanhs alone read a value, or its slices."""
    found = [r for one in readers(graph, path) for r in _sliced(graph, one)]
    return bool(found) and all(reader.op in FUNCTIONS for reader in found)


def _sliced(graph: Graph, reader: Node) -> Iterable[Node]:
    return readers(graph, reader.path) if reader.op == "slice" else [reader]
