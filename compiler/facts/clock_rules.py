"""Type rules of operators that read other frames, change the clock or cross an inner axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import cast

from ..graph import Node
from ..types import (
    Clock,
    Finite,
    Label,
    Lattice,
    Static,
    Stream,
    Type,
    base_clock,
    clock_text,
    join_clocks,
)
from ..units import Quantity, format_period, format_time
from .rule_error import RuleError

STATIC = Static()
SHORTEST, LONGEST = Fraction(1, 10**6), Fraction(3600)
"""Seconds between two frames."""
Types = Sequence[Type | None]


def join(ins: Types) -> Clock:
    """The clock that all known inputs share; refuses two periods, or frames with labels."""
    clock: Clock = STATIC
    seen: dict[int, Clock] = {}
    for slot, x in enumerate(ins):
        if x is None:
            continue
        joined = join_clocks(clock, x.clock)
        if joined is None:
            raise _clash(seen, slot, clock, x.clock)
        seen[slot], clock = x.clock, joined
    return clock


def _clash(seen: dict[int, Clock], slot: int, left: Clock, right: Clock) -> RuleError:
    other = next((s for s, c in seen.items() if c == left), 0)
    slots = {other: clock_text(left), slot: clock_text(right)}
    kinds = {type(base_clock(left)), type(base_clock(right))}
    if kinds == {Stream, Label}:
        return RuleError(
            "E0205",
            "frames and labels meet outside a joint",
            help="only a net that takes both, such as `net joint(e = encoder, p = predictor)`,"
            " combines the two clocks",
            slots=slots,
        )
    if isinstance(left, Stream) and isinstance(right, Stream):
        return RuleError(
            "E0202", _two_periods(left, right), help=_stride_help(left, right), slots=slots
        )
    return RuleError(
        "E0208",
        f"values {clock_text(left)} and {clock_text(right)} have no common clock",
        help="`attend`, `last` or `mean` bring an inner axis to the outer clock",
        slots=slots,
    )


def _two_periods(left: Stream, right: Stream) -> str:
    return f"{format_period(left.period)} and {format_period(right.period)} frames are combined"


def _stride_help(left: Stream, right: Stream) -> str:
    fast, slow = sorted((left.period, right.period))
    ratio = slow / fast
    if ratio.denominator == 1:
        fewer = f"`stride({ratio})` on the {format_period(fast)} stream gives {format_period(slow)}"
        return f"{fewer}; `upsample({ratio})` on the other repeats its frames"
    return "bring both to one period with `stride` and `upsample`"


def stream_of(node: Node, x: Type) -> Stream:
    """The frame clock of an input that must have one."""
    if isinstance(x.clock, Stream):
        return x.clock
    raise RuleError(
        "E0208", f"`{node.op}` needs a stream of frames, this is {x}", slots={0: str(x)}
    )


def logmel_type(node: Node, ins: Types) -> Type | None:
    """`[channels] @ samples` to `[channels, bins] @ hop`; one channel has no axis."""
    (x,) = ins
    if x is None:
        return None
    clock = stream_of(node, x)
    hop, window = (cast(Quantity, node.attrs[n]).value for n in ("hop", "window"))
    for name, length in (("hop", hop), ("window", window)):
        if length <= 0 or (length / clock.period).denominator != 1:
            raise RuleError(
                "E0204",
                f"{name}={format_time(length)} is not a whole number of samples"
                f" at {format_period(clock.period)}",
                help=_whole_help(clock),
                slots={0: str(x)},
            )
    if window < hop:
        raise RuleError(
            "E0207",
            f"a window of {format_time(window)} is shorter than its hop of {format_time(hop)}",
            help="no frame would see the samples between",
        )
    _check_bands(node, clock)
    bins = cast(int, node.attrs["bins"])
    channels = () if x.dims == (1,) else x.dims
    return Type((*channels, bins), Stream(hop))


def _whole_help(clock: Stream) -> str:
    """The shortest time of whole milliseconds that is whole samples too: 10ms at 44.1kHz."""
    least = Fraction(clock.period * 1000).numerator
    return f"multiples of {least}ms are whole" if least > 1 else ""


def _check_bands(node: Node, clock: Stream) -> None:
    """Bands lie between 0 Hz and half the sample rate."""
    half = Quantity(1 / (2 * clock.period), "rate")
    low, high = cast(Quantity, node.attrs["low"]), cast(Quantity, node.attrs["high"] or half)
    if not low.value < high.value <= half.value:
        raise RuleError(
            "E0207",
            f"bands from {low} to {high} do not fit a stream at {format_period(clock.period)}",
            help=f"`low` is below `high`, and `high` at most half the sample rate, {half}",
        )


def _timed(node: Node, x: Type) -> None:
    if isinstance(x.clock, Static | Lattice):
        raise RuleError(
            "E0206",
            f"`t` has no meaning for a value {clock_text(x.clock)}",
            help="only streams, labels and inner axes have neighbouring frames",
            slots={0: str(x)},
        )


def refuse_label_future(x: Type, frames: int) -> None:
    """E0307 for what reads `frames` labels ahead."""
    if isinstance(x.clock, Label) and frames > 0:
        raise RuleError(
            "E0307",
            f"`t+{frames}` reads a label that is not decided yet",
            help="a predictor sees only the past: use `t-k`",
        )


def _check_initial(ins: Types) -> None:
    """What absent frames read as: one static value of the same shape, or a number."""
    if len(ins) < 2 or ins[0] is None or ins[1] is None:
        return
    x, initial = ins[0], ins[1]
    if not isinstance(initial.clock, Static):
        raise RuleError(
            "E0208",
            f"an initial value is there before the first frame, this is {initial}",
            help="give a number, a learned constant or a static input",
            slots={1: str(initial)},
        )
    if initial.size != 1 and initial.dims != x.dims:
        raise RuleError(
            "E0201",
            f"the initial value of {x.shape_text()} is {initial.shape_text()}",
            help="give one of the same shape, or a number",
            slots={0: str(x), 1: str(initial)},
        )


def shift_type(node: Node, ins: Types) -> Type | None:
    """`delay` and `ahead`: the type of what is shifted."""
    x = ins[0]
    if x is None:
        return None
    _timed(node, x)
    _check_initial(ins)
    if node.op == "ahead":
        refuse_label_future(x, cast(int, node.attrs["frames"]))
    return x


def window_type(node: Node, ins: Types) -> Type | None:
    """`[dims]` to `[dims; past + future + 1]`."""
    x = ins[0]
    if x is None:
        return None
    _timed(node, x)
    _check_initial(ins)
    past, future = (cast(int, node.attrs[n]) for n in ("past", "future"))
    refuse_label_future(x, future)
    if past + future < 0:
        raise RuleError(
            "E0207",
            f"the window t{-past:+d}..t{future:+d} is empty",
            help="the oldest frame comes first",
        )
    if x.taps is not None:
        raise RuleError(
            "E0207",
            f"{x.shape_text()} is a window already",
            help="`flatten` or `dense` its taps first",
        )
    if isinstance(x.clock, Stream):
        whole_chunk(node, x.clock)
    return replace(x, taps=past + future + 1)


def whole_chunk(node: Node, clock: Stream) -> None:
    """A chunk must hold a whole number of frames at this point."""
    chunk = node.attrs.get("chunk")
    if isinstance(chunk, Quantity):
        frames = chunk.value / clock.period
        if frames.denominator != 1 or frames < 1:
            raise RuleError(
                "E0204",
                f"a chunk of {chunk} is {_approximate(frames)} frames of"
                f" {format_period(clock.period)}",
                help=f"use a multiple of {format_period(clock.period)}",
            )


def _approximate(frames: Fraction) -> str:
    return f"{float(frames):.4g}"


def stride_type(node: Node, ins: Types) -> Type | None:
    """`@ p` to `@ p * factor`."""
    (x,) = ins
    if x is None:
        return None
    return replace(x, clock=_clock(stream_of(node, x).period * cast(int, node.attrs["factor"])))


def upsample_type(node: Node, ins: Types) -> Type | None:
    """`@ p` to `@ p / factor`."""
    (x,) = ins
    if x is None:
        return None
    return replace(x, clock=_clock(stream_of(node, x).period / cast(int, node.attrs["factor"])))


def _clock(period: Fraction) -> Stream:
    """A frame clock between a microsecond and an hour, the bounds of written periods too."""
    if SHORTEST <= period <= LONGEST:
        return Stream(period)
    raise RuleError("E0005", f"frames of {format_period(period)} are out of range: 1us to 3600s")


def lattice_type(node: Node, ins: Types) -> Type | None:
    """`@ p` to `@ p x label`."""
    (x,) = ins
    return None if x is None else replace(x, clock=Lattice(stream_of(node, x)))


def unfold_type(node: Node, ins: Types) -> Type | None:
    """`[..., bands]` to `[..., size] over axis`; bands that fill no piece are left out."""
    (x,) = ins
    if x is None:
        return None
    size, step = (cast(int, node.attrs[n]) for n in ("size", "step"))
    bands = x.dims[-1]
    if size > bands:
        raise RuleError("E0207", f"pieces of {size} bands do not fit {bands} bands")
    steps = (bands - size) // step + 1
    clock = Finite(cast(str, node.attrs["axis"]), steps, x.clock)
    return replace(x, dims=(*x.dims[:-1], size), clock=clock)


def _inner(node: Node, x: Type) -> Finite:
    if isinstance(x.clock, Finite):
        return x.clock
    raise RuleError(
        "E0208",
        f"`{node.op}` works along an inner axis, and {x} has none",
        help="use it inside `along(axis) { ... }`",
        slots={0: str(x)},
    )


def collect_type(node: Node, ins: Types) -> Type | None:
    """`[dims] over axis(k)` to `[dims; k]` on the outer clock."""
    (x,) = ins
    if x is None:
        return None
    inner = _inner(node, x)
    if x.taps is not None:
        raise RuleError("E0207", f"{x.shape_text()} is a window already", help="`flatten` it")
    return replace(x, clock=inner.outer, taps=inner.size or 1)


def pick_type(node: Node, ins: Types) -> Type | None:
    """`first` and `last`: the type of an entry, on the outer clock."""
    (x,) = ins
    return None if x is None else replace(x, clock=_inner(node, x).outer)


def reduce_type(node: Node, ins: Types) -> Type | None:
    """`mean` and `max`: of an inner axis on the outer clock; of a whole stream static."""
    (x,) = ins
    if x is None:
        return None
    if isinstance(x.clock, Finite):
        return replace(x, clock=x.clock.outer)
    if isinstance(x.clock, Stream):
        return replace(x, clock=STATIC)
    raise RuleError("E0208", f"`{node.op}` has nothing to run over in {x}", slots={0: str(x)})


def append_type(node: Node, ins: Types) -> Type | None:
    """`over axis(k)` to `over axis(k + 1)`."""
    x, entry = ins
    if x is None or entry is None:
        return x
    inner = _inner(node, x)
    fits = entry.size == x.size and entry.dims[-len(x.dims) :] == x.dims
    if not fits or not isinstance(entry.clock, Static):
        raise RuleError(
            "E0201",
            f"an entry of {x.shape_text()} is appended, not {entry}",
            slots={0: str(x), 1: str(entry)},
        )
    return replace(x, clock=replace(inner, size=(inner.size or 0) + 1))
