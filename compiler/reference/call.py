"""One application of an operator: what a rule is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import cast

import numpy as np

from ..graph import Node
from ..types import Clock, Finite, Stream, Type, base_clock, frame_period
from ..units import Quantity
from .value import Array, Index, Value, broadcast, common_index, frame_shape


@dataclass(frozen=True, slots=True)
class Extent:
    """How long the utterance is: seconds of audio, and labels."""

    seconds: Fraction
    labels: int

    def steps(self, clock: Clock) -> int:
        """The most steps that the innermost axis of a clock has in this utterance."""
        if isinstance(clock, Finite):
            return clock.size or 1
        period = frame_period(clock)
        if period is not None:
            return int(self.seconds / period)
        return self.labels


@dataclass(frozen=True)
class Call:
    """A node with its inputs, their types and its own.

    `reach` is the greatest distance between two positions that any attention meets.
    """

    node: Node
    kinds: tuple[Type, ...]
    out: Type
    ins: tuple[Value, ...]
    weights: Mapping[str, Array]
    extent: Extent
    reach: int

    @property
    def x(self) -> Value:
        return self.ins[0]

    @property
    def kind(self) -> Type:
        return self.kinds[0]

    def count(self, name: str) -> int:
        return cast(int, self.node.attrs[name])

    def real(self, name: str) -> float:
        return float(cast(Fraction, self.node.attrs[name]))

    def frames_in(self, name: str, clock: Clock) -> int | None:
        """A time or count among the options, in frames of `clock`."""
        value = self.node.attrs[name]
        if not isinstance(value, Quantity):
            return cast("int | None", value)
        return int(value.value / cast(Stream, base_clock(clock)).period)

    def param(self, name: str) -> Array:
        return self.weights[f"{self.node.owner or self.node.path}.{name}"]

    @cached_property
    def joined(self) -> tuple[Value, ...]:
        """All inputs on the frames of the result."""
        clocks = [kind.clock for kind in self.kinds]
        if len(self.ins) == 1 and clocks[0] == self.out.clock:
            return self.ins
        index = common_index(self.ins, clocks, self.out.clock)
        return tuple(
            broadcast(x, clock, self.out.clock, index)
            for x, clock in zip(self.ins, clocks, strict=True)
        )

    @property
    def index(self) -> Index:
        return self.joined[0].present.shape

    @property
    def data(self) -> tuple[Array, ...]:
        return tuple(x.data for x in self.joined)

    def framed(self, data: Array) -> Array:
        """The result with the feature axes that its type says."""
        return data.reshape(self.index + frame_shape(self.out))


Rule = Callable[[Call], Value]


def framewise(compute: Callable[[Call], Array]) -> Rule:
    """The rule of an operator whose frame is there when that frame of every input is."""

    def rule(call: Call) -> Value:
        present = np.logical_and.reduce([x.present for x in call.joined])
        return Value(compute(call), np.asarray(present))

    return rule
