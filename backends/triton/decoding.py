"""A lowered transducer as the kernels of greedy decoding read it: its joint, and its predictor."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from ...compiler.facts import Facts
from ...compiler.graph import Graph, Node
from ...compiler.reference import index_rank
from ...compiler.types import Label, Stream, base_clock
from ..torch.leaves import Dense
from ..torch.lowered import Lowered
from ..torch.stepmodule import empty_states
from ..torch.stepping import UNENDED
from .kernels.greedy import Joint
from .modules import Packing

_JOINT = ("log_softmax", "dense", "tanh", "add")
"""The last operator first."""
_SEEN_THROUGH = ("lattice", "dropout")
"""What changes no number in inference."""


def joint_of(lowered: Lowered) -> Joint | None:
    """The last layer of a joint `log_softmax(W tanh(e + p) + b)`, or None for any other joint.

    `e` is the one value of a frame that it reads and `p` the predictor's output, both as wide as
    W. A float weight and the bias are the model's own; a weight of few bits is packed as it is
    now.
    """
    found = _layer(lowered)
    if found is None:
        return None
    leaf, summands = found
    if leaf.groups > 1 or not _meet(lowered.facts, summands, leaf.weight.shape[1]):
        return None
    return Joint(Packing(leaf)(getattr(lowered, "precision", None)), leaf.bias)


class SlotPredictor:
    """The predictor of a lowered model, whatever it is made of, for `streams` streams.

    Its states are `[streams + 1, ...]`, the spare slot last, and stay in the same memory, so that
    a CUDA graph can hold a step. `given` are values known for whole utterances, for one stream.
    """

    @torch.no_grad()
    def __init__(
        self, lowered: Lowered, streams: int, given: Mapping[str, Tensor] | None = None
    ) -> None:
        self.turn = lowered.step("labels")
        self.given = tuple((given or {})[port.name] for port in self.turn.given)
        self.cached = self.turn.prepare(lowered.like) if self.turn.cached else ()
        self.states = tuple(empty_states(self.turn, streams + 1, lowered.like).values())
        self.age = lowered.like.new_zeros(streams + 1, dtype=torch.int64)
        self.place = [made.name for made in self.turn.outputs].index(_said(lowered))

    def begin(self, slots: Tensor) -> None:
        """The states in the slots `[B]` are those before the first label."""
        for each in (*self.states, self.age):
            each.index_fill_(0, slots, 0)

    @torch.no_grad()
    def step(self, labels: Tensor, slots: Tensor) -> Tensor:
        """`[B, D]` after one more label each, `[B]` (int64); moves the states on."""
        age = self.age.index_select(0, slots)
        found = self.turn.module(
            age,
            labels.view(-1, 1, 1),
            torch.full_like(age, UNENDED),
            *(x.expand(len(labels), *x.shape[1:]) for x in self.given),
            *self.cached,
            *(state.index_select(0, slots) for state in self.states),
        )
        after = found[2 * len(self.turn.outputs) :]
        for kept, x in zip((*self.states, self.age), (*after, age + 1), strict=True):
            kept.index_copy_(0, slots, x.to(kept.dtype))
        output: Tensor = found[self.place][:, 0]
        return output


def _layer(lowered: Lowered) -> tuple[Dense, frozenset[str]] | None:
    """The last layer, and the values whose sum is in front of it: all that the joint reads."""
    lattice, graph = lowered.parts.get("lattice"), lowered.facts.graph
    if lattice is None or len(lattice.outputs) != 1:
        return None
    chain = _chain(graph, lattice.outputs[0].path)
    if chain is None:
        return None
    leaf = lowered.leaves[chain[1].owner or chain[1].path]
    summands = frozenset(_behind(graph, path) for path in chain[-1].inputs)
    read = {port.path for port in lattice.inputs if port.kind == "value"}
    return (leaf, summands) if isinstance(leaf, Dense) and summands == read else None


def _chain(graph: Graph, path: str) -> list[Node] | None:
    """The operators of such a joint, if these are they and no value is rounded."""
    found = []
    for op in _JOINT:
        node = graph[_behind(graph, path)]
        if node.op != op or "number" in node.attrs:
            return None
        found.append(node)
        path = node.inputs[0]
    return found


def _behind(graph: Graph, path: str) -> str:
    while graph[path].op in _SEEN_THROUGH:
        path = graph[path].inputs[0]
    return path


def _meet(facts: Facts, paths: Collection[str], width: int) -> bool:
    """Whether they are one vector of a frame and one of a label, of this width."""
    kinds = [facts.types[path] for path in paths]
    clocks = {type(base_clock(kind.clock)) for kind in kinds}
    flat = all(kind.dims == (width,) and index_rank(kind.clock) == 1 for kind in kinds)
    return len(kinds) == 2 and clocks == {Stream, Label} and flat


def _said(lowered: Lowered) -> str:
    """The name of the predictor's output that the joint reads."""
    types = lowered.facts.types
    (found,) = (
        port.name
        for port in lowered.parts["lattice"].inputs
        if port.kind == "value" and isinstance(base_clock(types[port.path].clock), Label)
    )
    return found
