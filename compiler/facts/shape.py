"""Types: the shape and clock of every value, one rule an operator.

A rule gets the node and the types of its inputs and returns the type of the value. An input
type is `None` while a recurrence through it is still open; a rule then says what it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from ..diagnostics import AsrcError, Diagnostic, Label
from ..graph import Graph, Node
from ..ops import BINARY, UNARY
from ..types import Type
from . import clock_rules as clocks
from .attend_rules import attend_type, positions_type
from .rule_error import RuleError

Types = Sequence[Type | None]
Rule = Callable[[Node, Types], Type | None]


def int_attr(node: Node, name: str) -> int:
    return cast(int, node.attrs[name])


def _elementwise(node: Node, ins: Types) -> Type | None:
    (x,) = ins
    return x


def _binary(node: Node, ins: Types) -> Type | None:
    left, right = ins
    if left is None or right is None:
        return left or right
    clock = clocks.join(ins)
    if left.dims == right.dims and left.taps == right.taps:
        return replace(left, clock=clock)
    for wide, narrow in ((left, right), (right, left)):
        if _broadcasts(narrow, wide):
            return replace(wide, clock=clock)
    raise RuleError(
        "E0201",
        f"{left.shape_text()} and {right.shape_text()} do not fit element by element",
        help="`dense(n)` maps one width to the other",
        slots={0: left.shape_text(), 1: right.shape_text()},
    )


def _broadcasts(narrow: Type, wide: Type) -> bool:
    """One number meets all; `[C]` meets `[C, F]` and `[C; k]` channel by channel."""
    if narrow.size == 1:
        return True
    leading = wide.dims[: len(narrow.dims)]
    return narrow.taps is None and leading == narrow.dims


def _dense(node: Node, ins: Types) -> Type | None:
    known = [x for x in ins if x is not None]
    if int_attr(node, "groups") > 1:
        _check_groups(node, known)
    return Type((int_attr(node, "n"),), clocks.join(ins)) if known else None


def _check_groups(node: Node, known: Sequence[Type]) -> None:
    groups, n = int_attr(node, "groups"), int_attr(node, "n")
    if len(node.inputs) > 1:
        raise RuleError("E0207", "groups divide one input, not several", help="`concat` them")
    for x in known:
        if x.dims[0] % groups or n % groups:
            raise RuleError(
                "E0207",
                f"{groups} groups do not divide {x.dims[0]} inputs and {n} outputs",
                slots={0: x.shape_text()},
            )


def _concat(node: Node, ins: Types) -> Type | None:
    known = [x for x in ins if x is not None]
    if len(known) < len(ins):
        return None
    first, clock = known[0], clocks.join(ins)
    for slot, x in enumerate(known):
        if (x.dims[1:], x.taps) != (first.dims[1:], first.taps):
            raise RuleError(
                "E0201",
                f"{first.shape_text()} and {x.shape_text()} differ beyond the first axis",
                help="`flatten` makes one feature axis of everything",
                slots={0: first.shape_text(), slot: x.shape_text()},
            )
    return Type((sum(x.dims[0] for x in known), *first.dims[1:]), clock, first.taps)


def _stack(node: Node, ins: Types) -> Type | None:
    known = [x for x in ins if x is not None]
    if len(known) < len(ins):
        return None
    clock = clocks.join(ins)
    for slot, x in enumerate(known):
        if (x.dims, x.taps) != (known[0].dims, known[0].taps):
            raise RuleError(
                "E0201",
                f"`stack` needs equal shapes, not {known[0].shape_text()} and {x.shape_text()}",
                slots={0: known[0].shape_text(), slot: x.shape_text()},
            )
    return Type((len(known), *known[0].dims), clock, known[0].taps)


def _flatten(node: Node, ins: Types) -> Type | None:
    (x,) = ins
    return None if x is None else Type((x.size,), x.clock)


def _slice(node: Node, ins: Types) -> Type | None:
    (x,) = ins
    if x is None:
        return None
    parts, index = int_attr(node, "parts"), int_attr(node, "index")
    if index >= parts:
        raise RuleError("E0207", f"there is no part {index} of {parts}, counting from zero")
    if x.dims[0] % parts:
        raise RuleError(
            "E0207",
            f"{x.dims[0]} features do not split into {parts} equal parts",
            help=f"make the width a multiple of {parts}",
            slots={0: x.shape_text()},
        )
    width = x.dims[0] // parts
    drop = width == 1 and len(x.dims) > 1
    return replace(x, dims=x.dims[1:] if drop else (width, *x.dims[1:]))


def _glu(node: Node, ins: Types) -> Type | None:
    (x,) = ins
    if x is None:
        return None
    if x.dims[0] % 2:
        raise RuleError(
            "E0207",
            f"`glu` halves its input, and {x.dims[0]} is odd",
            help=f"give it {x.dims[0] + 1} features",
            slots={0: x.shape_text()},
        )
    return replace(x, dims=(x.dims[0] // 2, *x.dims[1:]))


def _embed(node: Node, ins: Types) -> Type | None:
    (x,) = ins
    if x is not None and x.elem != "token":
        raise RuleError(
            "E0207",
            f"`embed` looks tokens up, this is {x.shape_text()}",
            help="`dense(n)` maps numbers to numbers",
            slots={0: x.shape_text()},
        )
    return None if x is None else Type((int_attr(node, "n"),), x.clock)


def _convf(node: Node, ins: Types) -> Type | None:
    (x,) = ins
    if x is None:
        return None
    if len(x.dims) > 2:
        raise RuleError("E0207", f"`convf` takes [bands] or [channels, bands], not {x}")
    channels, bands = ((1, *x.dims) if len(x.dims) == 1 else x.dims)[-2:]
    kernel, out, groups = (int_attr(node, n) for n in ("kernel", "channels", "groups"))
    _check_convf(channels, bands, kernel, out, groups)
    return Type((out, -(-bands // int_attr(node, "stride"))), x.clock)


def _check_convf(channels: int, bands: int, kernel: int, out: int, groups: int) -> None:
    if kernel > bands:
        raise RuleError(
            "E0207",
            f"a kernel of {kernel} bands is wider than the {bands} bands it slides over",
            help=f"use kernel={bands if bands % 2 else max(bands - 1, 1)} or smaller",
        )
    if kernel % 2 == 0:
        raise RuleError(
            "E0207",
            f"a kernel of {kernel} bands has no centre",
            help=f"use an odd kernel: {kernel - 1} or {kernel + 1}",
        )
    if channels % groups or out % groups:
        raise RuleError(
            "E0207", f"{groups} groups must divide {channels} input and {out} output channels"
        )


def _depthwise(node: Node, ins: Types) -> Type | None:
    (x,) = ins
    if x is None:
        return None
    if x.taps is None:
        raise RuleError(
            "E0207",
            f"`depthwise` filters the taps of a window, and {x.shape_text()} has none",
            help="take a window first: `x[t-14..t] |> depthwise`",
            slots={0: x.shape_text()},
        )
    return replace(x, taps=None)


def _source(node: Node, ins: Types) -> Type | None:
    return cast(Type, node.attrs["type"])


def _weight(node: Node, ins: Types) -> Type | None:
    return Type(cast("tuple[int, ...]", node.attrs["dims"]), clocks.STATIC)


def _constant(node: Node, ins: Types) -> Type | None:
    return Type((1,), clocks.STATIC)


def _present(node: Node, ins: Types) -> Type | None:
    (x,) = ins
    return None if x is None else Type((1,), x.clock)


def _switch(node: Node, ins: Types) -> Type | None:
    flag, on, off = ins
    if flag is not None and flag.elem != "flag":
        raise RuleError(
            "E0207",
            f"a switch reads a flag, this is {flag.shape_text()}",
            help="declare `input g: flag @ 40ms`",
            slots={0: flag.shape_text()},
        )
    if on is None or off is None:
        return on or off
    if on != off:
        raise RuleError(
            "E0312",
            f"the branches of a switch differ: {on} and {off}",
            help="close the gap with a projection such as `dense(n)` in one branch",
            slots={1: str(on), 2: str(off)},
        )
    return replace(on, clock=clocks.join(ins))


RULES: dict[str, Rule] = {
    "input": _source,
    "weight": _weight,
    "constant": _constant,
    "positions": positions_type,
    "logmel": clocks.logmel_type,
    "cmvn": _elementwise,
    "delay": clocks.shift_type,
    "ahead": clocks.shift_type,
    "window": clocks.window_type,
    "stride": clocks.stride_type,
    "upsample": clocks.upsample_type,
    "lattice": clocks.lattice_type,
    "dense": _dense,
    "convf": _convf,
    "depthwise": _depthwise,
    "embed": _embed,
    **dict.fromkeys(UNARY, _elementwise),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(("softmax", "log_softmax", "layernorm", "rmsnorm", "batchnorm"), _elementwise),
    "dropout": _elementwise,
    "present": _present,
    "glu": _glu,
    "slice": _slice,
    "concat": _concat,
    "stack": _stack,
    "flatten": _flatten,
    "unfold": clocks.unfold_type,
    "collect": clocks.collect_type,
    "last": clocks.pick_type,
    "first": clocks.pick_type,
    "mean": clocks.reduce_type,
    "max": clocks.reduce_type,
    "append": clocks.append_type,
    "attend": attend_type,
    "switch": _switch,
}


ANY_ELEMENT = frozenset(
    "delay ahead stride upsample lattice present embed last first append switch".split()
)
"""Operators that take tokens and flags as they are; to all others a flag is the number 0 or 1."""


def rule_type(node: Node, ins: Types) -> Type | None:
    """One value's type by its operator's rule. Raises RuleError."""
    return RULES[node.op](node, ins if node.op in ANY_ELEMENT else _numbers(node, ins))


def _numbers(node: Node, ins: Types) -> Types:
    """The inputs as numbers, which tokens are not."""
    for slot, x in enumerate(ins):
        if x is not None and x.elem == "token":
            raise RuleError(
                "E0207",
                f"`{node.op}` works on numbers, this is {x.shape_text()}",
                help="`embed(n)` turns a token into n numbers",
                slots={slot: x.shape_text()},
            )
    return [x if x is None or x.elem == "real" else replace(x, elem="real") for x in ins]


def infer_types(graph: Graph) -> Mapping[str, Type]:
    """Every value's type. Raises AsrcError where a rule refuses or a recurrence stays open."""
    types: dict[str, Type | None] = dict.fromkeys(graph.nodes)
    for wave in graph.waves:
        changed = _sweep(graph, wave, types)
        if wave[0] in graph.looped and changed:
            _settle(graph, wave, types)
    return cast("Mapping[str, Type]", types)


def _sweep(graph: Graph, paths: Iterable[str], types: dict[str, Type | None]) -> list[str]:
    """Infer some values once; returns those whose type is new, or not known yet."""
    changed = []
    for path in paths:
        found = type_of(graph, graph[path], [types[p] for p in graph[path].inputs])
        if found is None or found != types[path]:
            changed.append(path)
        types[path] = found
    return changed


def _settle(graph: Graph, wave: tuple[str, ...], types: dict[str, Type | None]) -> None:
    """Each sweep over a recurrence carries types through one more of its shifts."""
    for _ in range(2 + sum(path in graph.cycle_shifts for path in wave)):
        changed = _sweep(graph, wave, types)
        if not changed:
            return
    raise AsrcError(_open_recurrence(graph[next(p for p in wave if p in graph.cycle_shifts)]))


def type_of(graph: Graph, node: Node, ins: Types) -> Type | None:
    """One value's type; a refusal becomes a diagnostic at the value's own place."""
    try:
        return rule_type(node, ins)
    except RuleError as error:
        raise AsrcError(explain_refusal(graph.nodes, node, error)) from None


def explain_refusal(nodes: Mapping[str, Node], node: Node, error: RuleError) -> Diagnostic:
    """A rule's refusal with the spans of the node and of the inputs to blame."""
    labels = [Label(node.span)] if node.span else []
    for slot, text in error.slots.items():
        span = nodes[node.inputs[slot]].span if node.inputs[slot] in nodes else None
        if span is not None and span != node.span:
            labels.append(Label(span, text))
    helps = (error.help,) if error.help else ()
    return Diagnostic(error.code, error.message, tuple(labels), help=helps)


def _open_recurrence(node: Node) -> Diagnostic:
    labels = (Label(node.span),) if node.span else ()
    return Diagnostic(
        "E0209",
        "nothing fixes the shape and the clock of this recurrence",
        labels,
        help=("let it read a stream as well: `dense(n)(x, h[t-1])`, `h[t-1] + present(x)`",),
    )
