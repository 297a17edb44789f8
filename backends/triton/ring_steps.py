"""Streaming steps that keep windows as rings: they write what is new, and copy nothing.

A step in PyTorch puts the frames that a state has before the new ones, and its new state is the
end of that. Where all that reads such a window are kernels that take it in two pieces, the state
becomes a ring: the step gives the new frames alone, and `RingStep` writes them where the oldest
were. Nothing else changes: a state has the same numbers in other places, which follow from the
stream's age, and steps of any number of quanta agree on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from ...compiler.facts.schedule import Line
from ..torch.leaves import Dense
from ..torch.step import State
from ..torch.stepmodule import StepModule
from .kernels.linear import WIDEST_NORMED
from .kernels.rings import keep_all
from .modules import Gated, Norm
from .rewrite import Made, Pending, Placed, Rewriter, value_of
from .ring_modules import RingAttention, RingFilters, Turn, Unrolled
from .ring_windows import Attended, Filtered, Turns, Windows


@dataclass(frozen=True)
class RingStep(StepModule):
    """A step whose module gives the new frames alone of the states in `turns`; those of the states
    in `gated` come before their gate."""

    turns: Turns
    gated: frozenset[str]

    def moved(
        self,
        age: Tensor,
        old: Mapping[str, Tensor],
        new: Sequence[Tensor],
        moving: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Rings stay where they are; those that are alike are written at once."""
        frames = {state.name: x for state, x in zip(self.states, new, strict=True)}
        alike: dict[tuple[object, ...], list[str]] = {}
        for name, turn in self.turns.items():
            ring, x = old[name], frames[name]
            kind = turn, name in self.gated, x.shape, x.dtype, ring.shape, ring.stride(), ring.dtype
            alike.setdefault(kind, []).append(name)
        for names in alike.values():
            rings, news = [old[name] for name in names], [frames[name] for name in names]
            moment = self.turns[names[0]].at(age)
            keep_all(rings, news, moment, moving, gated=names[0] in self.gated)
        return super().moved(age, old, new, moving)

    def _after(
        self, state: State, age: Tensor, old: Tensor, new: Tensor, moving: Tensor | None
    ) -> Tensor:
        if state.name in self.turns:
            return old
        return super()._after(state, age, old, new, moving)


def ring_turns(step: StepModule, lines: Mapping[str, Line]) -> Turns:
    """The states of a step of one quantum that become rings: all that reads them can."""
    turns = {s.name: turn for s in step.states if (turn := _turn(s, lines[s.path])) is not None}
    while True:
        windows = Windows(step, turns)
        left = {name: turn for name, turn in turns.items() if windows.are_all_read(name)}
        if left == turns:
            return turns
        turns = left


def _turn(state: State, line: Line) -> Turn | None:
    """Of a state that has the newest frames of a value of which a step makes every one."""
    capacity = len(state.frames)
    newest = state.frames == tuple(range(line.start - capacity, line.start))
    if state.kind != "history" or state.elem != "real" or not newest or not all(line.wanted):
        return None
    return Turn(line.count, line.start, capacity)


def with_rings(step: StepModule, turns: Turns) -> tuple[RingStep, tuple[Placed, ...]]:
    """The step on kernels, and which of them make its values."""
    work = RingRewriter(step, turns)
    module = work.run()
    held = {name: x for name, x in vars(step).items() if name != "module"}
    made = RingStep(**held, module=module, turns=turns, gated=frozenset(work.gates))
    return made, tuple(work.placed)


class RingRewriter(Rewriter):
    """As `Rewriter`; what reads rings reads them in two pieces."""

    def __init__(self, step: StepModule, turns: Turns) -> None:
        super().__init__(step.module)
        self.windows, self.turns = Windows(step, turns), turns
        self.passed_by = self.windows.unneeded
        self.age = next(node for node in step.module.graph.nodes if node.op == "placeholder")
        self.gates: dict[str, fx.Node] = {}
        """What comes before the gate of a ring."""

    def _make(self, node: fx.Node) -> Made:
        match self.windows.readers.get(node):
            case Attended() as found:
                return self._attended(node, found)
            case Filtered() as found:
                return self._filtered(node, found)
        if node in self.windows.names:
            return self._unrolled(node)
        return self._written(node) if node.op == "output" else super()._make(node)

    def norm_before(self, node: fx.Node) -> Pending | None:
        """What only products read; each of them norms the few rows of a step."""
        x = node.args[0]
        if len(node.args) != 1 or not isinstance(x, fx.Node):
            return None
        found = self.made[x]
        norm = found.module if isinstance(found, Pending) and not found.chain else None
        narrow = isinstance(norm, Norm) and norm.flat and norm.leaf.weight.numel() <= WIDEST_NORMED
        alone = narrow and all(map(self._is_product, x.users))
        return found if alone and isinstance(found, Pending) else None

    def _is_product(self, node: fx.Node) -> bool:
        if node.op != "call_module" or node.args[1:] or node.kwargs.get("window") is not None:
            return False
        leaf = self.old.get_submodule(str(node.target))
        return isinstance(leaf, Dense) and leaf.groups == 1

    def _attended(self, node: fx.Node, found: Attended) -> Made:
        q, _, _, heads, spans, there, _ = node.args
        turn = self.turns[self.windows.names[found.keys]]
        module = RingAttention(heads, spans, found.low, turn)  # type: ignore[arg-type]
        (keys, k), (values, v) = found.keys.args, found.values.args
        between = k, v, keys, values, there
        age = self.argument(self.age)
        return self.attended(node, module, (age,), q, between, found.positions)

    def _filtered(self, node: fx.Node, found: Filtered) -> Made:
        (ring, new), name = found.window.args, self.windows.names[found.window]
        gate = self._gate(found, new)
        module = RingFilters(found.leaf, found.taps, gate is not None, self.turns[name])
        if gate is None:
            return self.by(node, module, self.age, new, ring, found.there)
        age, held, there = (self.argument(x) for x in (self.age, ring, found.there))
        self.gates[name] = gate.args[0]
        return Pending(module, [age, gate.args[0], held, there], [*gate.values, value_of(node)])

    def _gate(self, found: Filtered, new: Any) -> Pending | None:
        """The gated linear unit behind which nobody but the filter reads."""
        before = self.open_end(new)
        if before is None or before.chain or found.window not in self.passed_by:
            return None
        flat = found.leaf.weight.ndim == 2
        gated = isinstance(before.module, Gated) and before.module.axis == -1
        return before if flat and gated else None

    def _unrolled(self, node: fx.Node) -> fx.Node:
        (ring, new), turn = node.args, self.turns[self.windows.names[node]]
        module = Unrolled(turn)
        return self._called(module, [self.argument(x) for x in (self.age, ring, new)])

    def _written(self, node: fx.Node) -> fx.Node:
        """The outputs, with what is new in place of a ring."""
        found: fx.Node = self.graph.output(tuple(self._outputs()))
        return found

    def _outputs(self) -> Iterator[fx.Node]:
        for name, old in self.windows.outputs:
            if name in self.gates:
                yield self.gates[name]
            else:
                yield self.value(self.windows.new[name] if name in self.turns else old)
