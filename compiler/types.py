"""Clocks and stream types.

A value is a stream of frames on one clock. Four clocks: `Stream` has a period in seconds,
`Label` ticks once per emitted label, `Static` once per utterance, and `Finite` is an inner axis
(the characters of a phrase, the bands of a frame) inside an outer clock. `Lattice` is where a
joint evaluates: every frame against every label.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .units import format_period


@dataclass(frozen=True, slots=True)
class Stream:
    """Frame `i` covers `[i * period, (i + 1) * period)` seconds."""

    period: Fraction

    def __str__(self) -> str:
        return format_period(self.period)


@dataclass(frozen=True, slots=True)
class Label:
    """Tick `i` is the `i`-th emitted label; it has no time."""

    def __str__(self) -> str:
        return "label"


@dataclass(frozen=True, slots=True)
class Static:
    """Known for a whole utterance."""

    def __str__(self) -> str:
        return "static"


@dataclass(frozen=True, slots=True)
class Lattice:
    """Every frame of `frames` against every label."""

    frames: Stream

    def __str__(self) -> str:
        return f"{self.frames} x label"


@dataclass(frozen=True, slots=True)
class Finite:
    """An axis of at most `size` steps (`None`: as many as an attention mask needs)."""

    axis: str
    size: int | None
    outer: Clock

    def __str__(self) -> str:
        size = "" if self.size is None else f"({self.size})"
        tail = "" if isinstance(self.outer, Static) else f" @ {self.outer}"
        if isinstance(self.outer, Finite):
            tail = f", {self.outer}"
        return f"{self.axis}{size}{tail}"


Clock = Stream | Label | Static | Lattice | Finite


@dataclass(frozen=True, slots=True)
class Type:
    """What one frame of a value is: `[dims; taps] @ clock`.

    `dims` are feature axes, channels first (`[64, 40]` is 64 channels of 40 bands); `taps` is the
    number of frames that a window holds, else `None`. `elem` is `real`, `token` (an integer below
    `vocab`) or `flag`; one number a frame is `[1]`, whatever its element.
    """

    dims: tuple[int, ...]
    clock: Clock
    taps: int | None = None
    elem: str = "real"
    vocab: int | None = None

    @property
    def size(self) -> int:
        """Numbers in one frame."""
        count = self.taps or 1
        for dim in self.dims:
            count *= dim
        return count

    def __str__(self) -> str:
        return f"{self.shape_text()} {clock_text(self.clock)}"

    def shape_text(self) -> str:
        """The type without its clock: `[64, 40; 3]`, `token[2500]`, `flag`."""
        if self.elem == "token":
            return f"token[{self.vocab}]"
        if self.elem == "flag":
            return "flag"
        taps = f"; {self.taps}" if self.taps is not None else ""
        return f"[{', '.join(map(str, self.dims))}{taps}]"


def clock_text(clock: Clock) -> str:
    """`@ 40ms`, `@ label`, `over phrases(300)`."""
    return f"over {clock}" if isinstance(clock, Finite) else f"@ {clock}"


def base_clock(clock: Clock) -> Clock:
    """The clock without its inner axes."""
    while isinstance(clock, Finite):
        clock = clock.outer
    return clock


def frame_period(clock: Clock) -> Fraction | None:
    """The period in seconds of the frames under a clock; `None` on the label or static clock."""
    base = base_clock(clock)
    if isinstance(base, Lattice):
        return base.frames.period
    return base.period if isinstance(base, Stream) else None


def inner_steps(clock: Clock) -> int:
    """How many steps the inner axes hold for each tick of the base clock."""
    steps = 1
    while isinstance(clock, Finite):
        steps *= clock.size or 1
        clock = clock.outer
    return steps


def encloses(outer: Clock, inner: Clock) -> bool:
    """Whether a value on `outer` is constant along `inner`, so that it may join it."""
    if outer == inner or isinstance(outer, Static):
        return True
    if isinstance(inner, Finite):
        return encloses(outer, inner.outer)
    if isinstance(inner, Lattice):
        return outer == inner.frames or isinstance(outer, Label)
    return False


def join_clocks(left: Clock, right: Clock) -> Clock | None:
    """The clock on which both values are defined, or `None`. Never makes a lattice by itself."""
    if encloses(left, right):
        return right
    return left if encloses(right, left) else None
