"""Which operators of a step's graph read the window of a ring, old frames and new ones.

Two do: an attention, whose keys and values are whole windows, and a filter for each channel, whose
taps are cut out of a window in which absent frames are zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import fx

from ..torch import stepping
from ..torch.leaves import Depthwise
from ..torch.recurrent import select
from ..torch.stepmodule import StepModule
from .kernels.depthwise import Taps
from .rewrite import relative_positions
from .ring_modules import Turn

Turns: TypeAlias = Mapping[str, Turn]
"""Rings, by the names of states."""


@dataclass(frozen=True, slots=True)
class Attended:
    """An attention over two windows; `positions` and `low` as in `relative_positions`."""

    keys: fx.Node
    values: fx.Node
    positions: tuple[Any, ...]
    low: int | None

    @property
    def inside(self) -> Set[fx.Node]:
        return {self.keys, self.values}


@dataclass(frozen=True, slots=True)
class Filtered:
    """A filter over the frames of a window that are `there`; nodes `inside` are nothing else's."""

    leaf: Depthwise
    window: fx.Node
    there: fx.Node
    taps: Taps
    inside: Set[fx.Node]


Reader: TypeAlias = Attended | Filtered


class Windows:
    """Of a step, where the states in `turns` are rings.

    `names` has the windows and the states that they are of, `new` the new frames of each state,
    `readers` what can take windows in pieces, and `unneeded` what is then left over. `outputs`
    are the step's, those that are states with their names.
    """

    def __init__(self, step: StepModule, turns: Turns) -> None:
        self.module, self.turns, graph = step.module, turns, step.module.graph
        held = [node for node in graph.nodes if node.op == "placeholder"]
        states = [state.name for state in step.states]
        pairs = zip(states, held[len(held) - len(states) :], strict=True)
        self.names = {x: name for name, ring in pairs if name in turns for x in _windows(ring)}
        self.new: dict[str, Any] = {name: x.args[1] for x, name in self.names.items()}
        self.readers = dict(self._readers())
        (made,) = next(node for node in graph.nodes if node.op == "output").args
        self.outputs = tuple(zip(("",) * (len(made) - len(states)) + (*states,), made, strict=True))
        self.unneeded = self._unneeded()

    def are_all_read(self, name: str) -> bool:
        """Whether a state is read, and always in pieces."""
        own = {window for window, of in self.names.items() if of == name}
        return bool(own) and own <= self.unneeded

    def _readers(self) -> Iterator[tuple[fx.Node, Reader]]:
        for node in self.module.graph.nodes:
            found: Reader | None = None
            if node.target is stepping.attend_window:
                found = self._attention(node)
            elif node.op == "call_module":
                leaf = self.module.get_submodule(str(node.target))
                found = self._filter(node, leaf) if isinstance(leaf, Depthwise) else None
            if found is not None:
                yield node, found

    def _unneeded(self) -> Set[fx.Node]:
        """What is between rings and their readers, and what would be the next states."""
        kept = {x for name, x in self.outputs if name in self.turns}
        kept -= {x for name, x in self.outputs if name not in self.turns}
        inside = kept.union(*(reader.inside for reader in self.readers.values()))
        found: set[fx.Node] = set()
        for node in reversed(self.module.graph.nodes):
            ends = (x in found or x in self.readers or x.op == "output" for x in node.users)
            if node in inside and all(ends):
                found.add(node)
        return found

    def _attention(self, node: fx.Node) -> Attended | None:
        q, k, v, _, _, there, bias = node.args
        turns = [self._turn(x) for x in (k, v)]
        found = relative_positions(bias)
        if None in turns or turns[0] != turns[1] or {q, there} & {k, v} or isinstance(found, str):
            return None
        return Attended(k, v, *found)  # type: ignore[arg-type]

    def _turn(self, x: object) -> Turn | None:
        name = self.names.get(x) if isinstance(x, fx.Node) else None
        return None if name is None else self.turns[name]

    def _filter(self, node: fx.Node, leaf: Depthwise) -> Filtered | None:
        stacked = node.args[0]
        cuts = _calls(_args_of(stacked, torch.stack)[:1], stepping.cut)
        frames = {cut.args[0] for cut in cuts}
        taps = _taps([cut.args[1:] for cut in cuts])
        if len(frames) != 1 or taps is None or node.kwargs.get("window") is not None:
            return None
        (masked,) = frames
        there, window, absent = _args_of(masked, select) or (None, None, None)
        if self._turn(window) is None or absent != 0:
            return None
        return Filtered(leaf, window, there, taps, {stacked, *cuts, masked, window})  # type: ignore[arg-type]


def _windows(ring: fx.Node) -> list[fx.Node]:
    """What has a state and the new frames behind it."""
    assert all(x.target is stepping.after and x.args[0] is ring for x in ring.users), ring
    return list(ring.users)


def _args_of(node: object, function: object) -> tuple[Any, ...]:
    """Of a call of this function; of anything else, none."""
    known = isinstance(node, fx.Node) and node.target is function
    return node.args if known and isinstance(node, fx.Node) else ()


def _calls(given: Sequence[Any], function: object) -> list[fx.Node]:
    """The nodes of a list, if each calls this function."""
    nodes = list(given[0]) if given else []
    return nodes if all(_args_of(node, function) for node in nodes) else []


def _taps(cuts: Sequence[tuple[Any, ...]]) -> Taps | None:
    """Of cuts, each with its first frame, their number and the stride, if they are evenly apart."""
    if len({cut[1:] for cut in cuts}) != 1:
        return None
    first, (made, stride) = [cut[0] for cut in cuts], cuts[0][1:]
    by = first[1] - first[0] if len(first) > 1 else 1
    even = first == [first[0] + n * by for n in range(len(first))]
    return Taps(first[0], made, by, stride) if even else None
