"""Type rules of attention: widths, heads, masks and which clocks meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import cast

from ..graph import Node
from ..types import Finite, Label, Lattice, Static, Stream, Type, encloses
from ..units import Quantity, format_period
from .clock_rules import STATIC, join, whole_chunk
from .rule_error import RuleError

Types = Sequence[Type | None]


def positions_type(node: Node, ins: Types) -> Type | None:
    """`[n]` over the axis `offset`, as long as the attention that reads it sees far."""
    return Type((cast(int, node.attrs["n"]),), Finite("offset", None, STATIC))


def attend_type(node: Node, ins: Types) -> Type | None:
    """Values as wide as those attended to, on the clock of the queries."""
    q, k, v = ins[:3]
    if q is None or k is None or v is None:
        return None
    _check_widths(node, q, k, v)
    if k.clock != v.clock:
        raise RuleError(
            "E0208", f"keys {k} and values {v} come from different places", slots={1: "keys"}
        )
    if len(ins) == 4:
        raise RuleError("E0106", "`attend` takes (q, k, v) or (q, k, v, q', r)")
    if len(ins) == 5:
        _check_relative(q, k, ins[3], ins[4])
    _check_clocks(node, q, k)
    _check_mask(node, q, k)
    return replace(q, dims=v.dims, taps=None)


def _check_widths(node: Node, q: Type, k: Type, v: Type) -> None:
    heads = cast(int, node.attrs["heads"])
    for slot, x in enumerate((q, k, v)):
        if len(x.dims) != 1 or x.taps is not None:
            raise RuleError(
                "E0207",
                f"`attend` takes vectors, not {x.shape_text()}",
                help="`flatten` or `dense` it first",
                slots={slot: x.shape_text()},
            )
        if x.dims[0] % heads:
            raise RuleError(
                "E0207",
                f"{heads} heads do not divide a width of {x.dims[0]}",
                help=f"make the width a multiple of {heads}",
                slots={slot: x.shape_text()},
            )
    if q.dims != k.dims:
        raise RuleError(
            "E0201",
            f"queries are {q.shape_text()}, keys {k.shape_text()}",
            slots={0: "queries", 1: "keys"},
        )


def _check_relative(q: Type, k: Type, q2: Type | None, r: Type | None) -> None:
    if k.clock != q.clock:
        raise RuleError(
            "E0208",
            f"relative positions need keys on the clock of the queries, these are {k}",
            help="a catalogue has no order: `attend(q, k, v)`",
            slots={0: str(q), 1: str(k)},
        )
    if q2 is not None and q2.dims != q.dims:
        raise RuleError("E0201", f"position queries {q2.shape_text()}, queries {q.shape_text()}")
    offsets = r is None or (isinstance(r.clock, Finite) and r.clock.axis == "offset")
    if r is not None and (r.dims != q.dims or not offsets):
        raise RuleError(
            "E0201",
            f"relative positions are [{q.dims[0]}] over offset, not {r}",
            help="`positions(n) |> dense(n, bias=false)` makes them",
        )


def _check_clocks(node: Node, q: Type, k: Type) -> None:
    """Self-attention is on one clock; a catalogue's entries may be read from any clock."""
    if k.clock == q.clock and not isinstance(k.clock, Static | Lattice):
        return
    if isinstance(k.clock, Finite) and (
        encloses(k.clock.outer, q.clock) or isinstance(k.clock.outer, Static)
    ):
        return
    join((q, k))  # names the two clocks when they clash
    raise RuleError(
        "E0208",
        f"keys {k} are neither on the clock of the queries {q} nor a catalogue",
        slots={0: str(q), 1: str(k)},
    )


def _check_mask(node: Node, q: Type, k: Type) -> None:
    mask, same = node.attrs["mask"], q.clock == k.clock
    _check_context(node)
    if mask == "chunk" and node.attrs["chunk"] is None:
        raise RuleError("E0106", "a chunk mask needs `chunk=`", help="for example `chunk=320ms`")
    if isinstance(q.clock, Label) and same:
        _check_label_mask(node)
    if isinstance(q.clock, Stream) and same:
        if mask == "chunk":
            whole_chunk(node, q.clock)
        for name in ("left", "right"):
            context_frames(node, name, q.clock)
    if mask == "chunk" and not (isinstance(q.clock, Stream) and same):
        raise RuleError("E0204", "a chunk mask needs a stream of frames that attends to itself")


_TAKES = {
    "full": frozenset[str](),
    "causal": frozenset({"left"}),
    "chunk": frozenset({"chunk", "left"}),
    "limited": frozenset({"left", "right"}),
}
"""The lengths that each mask takes."""


def _check_context(node: Node) -> None:
    """A length that the mask has no use for would be read past."""
    mask = cast(str, node.attrs["mask"])
    for name, meant in (("chunk", "chunk"), ("right", "limited"), ("left", "causal")):
        if node.attrs[name] is not None and name not in _TAKES[mask]:
            raise RuleError(
                "E0106", f"a {mask} mask takes no `{name}=`", help=f"`mask={meant}` does"
            )


def _check_label_mask(node: Node) -> None:
    if node.attrs["mask"] not in ("full", "causal"):
        raise RuleError("E0307", "over labels, attention sees the past only: use mask=causal")
    if isinstance(node.attrs["left"], Quantity):
        raise RuleError("E0206", "labels have no milliseconds", help="give `left=` in labels")


def context_frames(node: Node, name: str, clock: Stream) -> int | None:
    """`left` or `right` in frames; a time must be a whole number of frames here."""
    value = node.attrs[name]
    if not isinstance(value, Quantity):
        return cast("int | None", value)
    frames = Fraction(value.value) / clock.period
    if frames.denominator != 1:
        raise RuleError(
            "E0204",
            f"{name}={value} is {float(frames):.4g} frames of {format_period(clock.period)}",
            help=f"use a multiple of {format_period(clock.period)}",
        )
    return int(frames)
