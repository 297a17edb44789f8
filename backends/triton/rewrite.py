"""A part of a lowered model, its operators by kernels where there are any.

The rewriting goes over the part's `torch.fx` graph once. A value that is about to be made is
pending: what reads it alone, and can be done in the same kernel, becomes part of it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import torch
from torch import fx, nn
from torch.nn import functional

from ..torch import attention, frame, frames, inner, ports, recurrent, stepping
from ..torch.audio import Logmel
from ..torch.dropout import Dropout
from ..torch.emit import attach
from ..torch.leaves import (
    BatchNorm,
    Cmvn,
    Constant,
    Convf,
    Dense,
    Depthwise,
    Embed,
    LayerNorm,
    Number,
    Reach,
    RmsNorm,
)
from ..torch.recurrent import Lstm, Scan
from .beside import bring_together
from .kernels.linear import GLU
from .kernels.norm import WIDEST
from .kernels.pointwise import BINARY, MOST, Link
from .modules import (
    Attention,
    Bands,
    Fast,
    Filters,
    Fixed,
    FrontEnd,
    Gated,
    Linear,
    Listed,
    Norm,
    Pointwise,
    Recurrent,
    Rows,
    RunningSum,
    Softmax,
    SumNorm,
)


@dataclass(frozen=True, slots=True)
class Placed:
    """Which kernel makes a value; none if PyTorch does, `why` says why."""

    value: str
    kernel: str | None
    why: str = ""


UNARY: Mapping[object, str] = {
    torch.sigmoid: "sigmoid",
    torch.tanh: "tanh",
    torch.relu: "relu",
    functional.silu: "swish",
    functional.gelu: "gelu",
    functional.softplus: "softplus",
    torch.abs: "abs",
    torch.exp: "exp",
    torch.log: "log",
    torch.sqrt: "sqrt",
}
PAIRS: Mapping[object, str] = {
    operator.add: "add",
    operator.sub: "sub",
    operator.mul: "mul",
    operator.truediv: "div",
}
_TURNED = {"add": "add", "mul": "mul", "sub": "rsub", "div": "rdiv"}
"""The same with its operands exchanged."""

_BOOKKEEPING = (frames, ports, stepping, inner)
"""Modules whose functions lay numbers out and say which frames are there."""

_MOVES = frozenset(
    {
        *(operator.getitem, torch.stack, torch.cat, torch.minimum, torch.logical_and),
        *(frame.joined, frame.stacked, frame.ones, frame.safe, frame.chosen, frame.raised),
        *(recurrent.select, attention.visible, attention.positions, attention.apart),
    }
)
_COMPUTING = frozenset(
    {stepping.attend_window, stepping.relative_window, frames.mean_over, frames.max_over}
)
"""What these have that is neither."""


@dataclass
class Pending:
    """A module's result, or a value, that operators may still be added to."""

    module: Fast | None
    args: list[Any]
    values: list[str]
    operands: list[fx.Node] = field(default_factory=list)
    chain: list[Link] = field(default_factory=list)

    @property
    def is_sum(self) -> bool:
        """Whether it ends with the addition of another value."""
        return bool(self.chain) and self.chain[-1].kind == "add" and self.chain[-1].place > 0


@dataclass(frozen=True, slots=True)
class Shifted:
    """A value, the row that is added to it, if any, and which values that is."""

    x: Any
    row: fx.Node | None
    values: list[str]


@dataclass(frozen=True, slots=True)
class Later:
    """What is copied if anybody asks for it: kernels read through it."""


Made: TypeAlias = fx.Node | Pending | Later


class Rewriter:
    """Fills a new graph from that of a part."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.old = module
        self.graph, self.root = fx.Graph(), nn.Module()
        self.made: dict[fx.Node, Made] = {}
        self.passed_by: Set[fx.Node] = frozenset()
        """What is not needed here: nobody may ask for it."""
        self.placed: list[Placed] = []
        self.lists: dict[str, fx.Node] = {}

    def run(self) -> fx.GraphModule:
        for node in self.old.graph.nodes:
            if node not in self.passed_by:
                self.made[node] = self._make(node)
        bring_together(self.graph, self.root)
        name = f"Triton{type(self.old).__name__}"
        found = fx.GraphModule(self.root, self.graph, class_name=name)
        found.graph.eliminate_dead_code()
        found.recompile()
        return found

    def _make(self, node: fx.Node) -> Made:
        if node.op == "call_module":
            leaf = self.old.get_submodule(str(node.target))
            row = LEAVES.get(type(leaf))
            return self._copied(node) if row is None else row(self, node, leaf)
        row_of = CALLS.get(node.target) if node.op == "call_function" else None
        return self._copied(node) if row_of is None else row_of(self, node)

    # --- what stays as it is ---

    def _copied(self, node: fx.Node) -> fx.Node:
        """By PyTorch: bookkeeping, or what no kernel computes."""
        if node.op == "call_module":
            leaf = self._kept(node)
            if not isinstance(leaf, Constant | Number):
                self._left(node, _WHY.get(type(leaf), "no kernel computes it"))
        elif node.op == "get_attr":
            owner = str(node.target).rpartition(".")[0]
            attach(self.root, owner, self.old.get_submodule(owner))
        elif node.op == "call_function" and not _is_bookkeeping(node.target):
            self._left(node, _WHY.get(node.target, "no kernel computes it"))
        return self.graph.node_copy(node, self.value)

    def left(self, node: fx.Node, why: str) -> fx.Node:
        """Copied, for a reason of its own."""
        if node.op == "call_module":
            self._kept(node)
        self._left(node, why)
        return self.graph.node_copy(node, self.value)

    def _kept(self, node: fx.Node) -> nn.Module:
        leaf = self.old.get_submodule(str(node.target))
        attach(self.root, str(node.target), leaf)
        return leaf

    def _left(self, node: fx.Node, why: str) -> None:
        self.placed.append(Placed(value_of(node), None, why))

    def listed(self, values: tuple[int, ...], like: fx.Node) -> fx.Node:
        """Numbers as a tensor, where `like` is."""
        written = str(values)  # a flag is equal to a number
        if written not in self.lists:
            place = attach(self.root, f"listed.{len(self.lists)}", Listed(values))
            self.lists[written] = self.graph.call_module(place, (like,))
        return self.lists[written]

    # --- what kernels do ---

    def value(self, node: fx.Node) -> fx.Node:
        """The node in the new graph; what is pending is made now."""
        found = self.made[node]
        if isinstance(found, Pending):
            found = self.made[node] = self._emitted(found)
        elif isinstance(found, Later):
            found = self.made[node] = self.graph.node_copy(node, self.value)
        return found

    def _emitted(self, pending: Pending) -> fx.Node:
        kernels = []
        made = None
        if pending.module is not None:
            made = self._called(pending.module, pending.args)
            kernels.append(pending.module.kernel)
        if pending.chain:
            first = pending.args[0] if made is None else made
            module = Pointwise(pending.chain)
            made = self._called(module, [first, *pending.operands])
            kernels.append(module.kernel)
        assert made is not None
        self.placed += [Placed(value, " + ".join(kernels)) for value in pending.values]
        return made

    def _called(self, module: Fast, args: Sequence[Any]) -> fx.Node:
        place = attach(self.root, f"{module.kernel}.{len(self.graph.nodes)}", module)
        return self.graph.call_module(place, tuple(args))

    def by(self, node: fx.Node, module: Fast, *args: Any) -> Pending:
        """A value by a module."""
        given = fx.node.map_aggregate(args, lambda x: self.argument(x))
        return Pending(module, list(given), [value_of(node)])

    def argument(self, x: Any) -> Any:
        return self.value(x) if isinstance(x, fx.Node) else x

    def open_end(self, x: object) -> Pending | None:
        """What is pending and read here alone."""
        found = self.made.get(x) if isinstance(x, fx.Node) else None
        alone = isinstance(x, fx.Node) and len(x.users) == 1
        return found if alone and isinstance(found, Pending) else None

    def attended(
        self,
        node: fx.Node,
        module: Fast,
        before: tuple[Any, ...],
        q: Any,
        between: tuple[Any, ...],
        positions: Sequence[Any],
    ) -> Pending:
        """An attention, which adds learned rows to queries and positions itself."""
        query, p = self._shifted(q), self._shifted(positions[0] if positions else None)
        r = self.argument(positions[1]) if positions else None
        given = [query.x, *map(self.argument, between), p.x, r, query.row, p.row]
        made = Pending(module, [*before, *given], [*query.values, *p.values])
        made.values.append(value_of(node))
        return made

    def _shifted(self, x: Any) -> Shifted:
        """A pending sum with a learned row as the two."""
        found = self.open_end(x)
        summed = found is not None and found.module is None and len(found.chain) == 1
        if found is None or not summed or not found.is_sum or not self._is_row(found.operands[0]):
            return Shifted(self.argument(x), None, [])
        values, found.values = found.values, []  # said once, were it read again
        return Shifted(found.args[0], found.operands[0], values)

    def _is_row(self, node: fx.Node) -> bool:
        """Whether it is a constant of one axis."""
        while node.target == "unsqueeze":
            node = node.args[0]  # type: ignore[assignment]
        leaf = self.root.get_submodule(str(node.target)) if node.op == "call_module" else None
        return isinstance(leaf, Constant) and leaf.value.ndim == 1

    def norm_before(self, node: fx.Node) -> Pending | None:
        """A norm that a product does itself: none in whole utterances, whose rows are many."""
        return None

    def joined(self, node: fx.Node, x: fx.Node, kind: str, other: object = None) -> Pending:
        """`kind` of a value, and of a number or another value, which may be the same one."""
        pending = None if other is x else self.open_end(x)
        if pending is None or len(pending.operands) + 2 > MOST:
            pending = Pending(None, [self.value(x)], [])
        pending.values.append(value_of(node))
        number = float(other) if isinstance(other, int | float) else None
        operand = self.value(other) if isinstance(other, fx.Node) else None
        module = pending.module
        if not pending.chain and module is not None and module.absorb(kind, number):
            pending.args += [] if operand is None else [operand]
        elif operand is None:
            pending.chain.append(Link(kind, value=number or 0.0))
        else:
            pending.operands.append(operand)
            pending.chain.append(Link(kind, len(pending.operands)))
        return pending

    # --- a sum that is normed ---

    def normed_sum(self, node: fx.Node, total: fx.Node, leaf: LayerNorm | RmsNorm) -> fx.Node:
        """The norm of a pending sum; that one launch also makes the sum for its other readers."""
        pending = self.made[total]
        assert isinstance(pending, Pending)
        pending.chain.pop()
        more = pending.operands.pop()
        values = [pending.values.pop(), value_of(node)]
        x, y, factor, inside = self._summands(pending, more)
        self.placed += [Placed(value, SumNorm.kernel) for value in (*inside, *values)]
        made = self._called(SumNorm(leaf, factor), (x, y))
        self.made[total] = self._item(made, 1)
        return self._item(made, 0)

    def _summands(
        self, rest: Pending, more: fx.Node
    ) -> tuple[fx.Node, fx.Node, float, Sequence[str]]:
        """`x`, `more` and its factor, and the values of `rest` that the norm's kernel makes."""
        bare = rest.module is None
        if bare and not rest.chain:
            return rest.args[0], more, 1.0, ()
        if bare and [(x.kind, x.operand) for x in rest.chain] == [("mul", None)]:
            return more, rest.args[0], rest.chain[0].value, rest.values
        return self._emitted(rest), more, 1.0, ()

    def _item(self, made: fx.Node, place: int) -> fx.Node:
        return self.graph.call_function(operator.getitem, (made, place))


def value_of(node: fx.Node) -> str:
    """The path of the value that a node of a lowered part makes, or belongs to."""
    return str(node.meta.get("value") or node.name)


def _is_bookkeeping(target: object) -> bool:
    """Whether a function only moves numbers or says which are there."""
    if target in _MOVES:
        return True
    homes = {module.__name__ for module in _BOOKKEEPING}
    return getattr(target, "__module__", "") in homes and target not in _COMPUTING


_WHY: Mapping[object, str] = {
    Scan: "a recurrence of its own: its body runs step after step",
    attention.attend_catalogue: "its entries are other ones for each frame",
    frames.mean_over: "a mean over an inner axis",
    frames.max_over: "a maximum over an inner axis",
}

# --- rows: modules ---

LeafRow: TypeAlias = Callable[[Rewriter, fx.Node, Any], Made]
CallRow: TypeAlias = Callable[[Rewriter, fx.Node], Made]


def _window(node: fx.Node) -> Reach | None:
    return cast("Reach | None", node.kwargs.get("window"))


def _dense(work: Rewriter, node: fx.Node, leaf: Dense) -> Made:
    module, norm = Linear(leaf, _window(node)), work.norm_before(node)
    if norm is None:
        return work.by(node, module, *node.args)
    module.before = norm.module  # type: ignore[assignment]
    values, norm.values = norm.values, []  # the first that norms says so
    return Pending(module, [*norm.args], [*values, value_of(node)])


def _convf(work: Rewriter, node: fx.Node, leaf: Convf) -> Made:
    return work.by(node, Bands(leaf, _window(node)), *node.args)


def _depthwise(work: Rewriter, node: fx.Node, leaf: Depthwise) -> Made:
    window, (x,) = _window(node), node.args
    before = work.open_end(x)
    gated = before is not None and isinstance(before.module, Gated) and not before.chain
    if before is not None and gated and window is not None and before.module.axis == -1:  # type: ignore[union-attr]
        found = Pending(Filters(leaf, window, glu=True), before.args, before.values)
        found.values.append(value_of(node))
        return found
    return work.by(node, Filters(leaf, window, glu=False), x)


def _norm(work: Rewriter, node: fx.Node, leaf: LayerNorm | RmsNorm) -> Made:
    (x,) = node.args
    assert isinstance(x, fx.Node)
    if leaf.weight.numel() > WIDEST:
        return work.left(node, f"rows of more than {WIDEST} numbers")
    before = work.made[x]
    if isinstance(before, Pending) and before.is_sum and not leaf.taps:
        return work.normed_sum(node, x, leaf)
    return work.by(node, Norm(leaf), x)


def _dropout(work: Rewriter, node: fx.Node, leaf: Dropout) -> Made:
    """Nothing, in inference: what is pending stays so."""
    (x,) = node.args
    assert isinstance(x, fx.Node)
    return work.open_end(x) or work.value(x)


def _statistics(kind: str) -> LeafRow:
    def row(work: Rewriter, node: fx.Node, leaf: Cmvn | BatchNorm) -> Made:
        before = work.open_end(node.args[0])
        module = None if before is None or before.chain else before.module
        if before is not None and module is not None and module.absorb(kind, leaf):
            before.values.append(value_of(node))
            return before
        return work.by(node, Fixed(leaf), node.args[0])

    return row


def _lstm(work: Rewriter, node: fx.Node, leaf: Lstm) -> Made:
    return work.by(node, Recurrent(leaf), *node.args)


LEAVES: Mapping[type, LeafRow] = {
    Dense: _dense,
    Convf: _convf,
    Depthwise: _depthwise,
    LayerNorm: _norm,
    RmsNorm: _norm,
    BatchNorm: _statistics("batchnorm"),
    Cmvn: _statistics("cmvn"),
    Logmel: lambda work, node, leaf: work.by(node, FrontEnd(leaf), *node.args),
    Lstm: _lstm,
    Embed: lambda work, node, leaf: work.by(node, Rows(leaf), *node.args),
    Dropout: _dropout,
}

# --- rows: functions ---


def _unary(kind: str) -> CallRow:
    return lambda work, node: work.joined(node, node.args[0], kind)  # type: ignore[arg-type]


def _pair(kind: str) -> CallRow:
    def row(work: Rewriter, node: fx.Node) -> Made:
        x, other = node.args
        turn = not isinstance(x, fx.Node) or (
            work.open_end(x) is None and work.open_end(other) is not None
        )
        if turn and isinstance(other, fx.Node):
            return work.joined(node, other, _TURNED[kind], x)
        assert isinstance(x, fx.Node)
        return work.joined(node, x, kind, other)

    return row


def _glu(work: Rewriter, node: fx.Node) -> Made:
    x, axis = node.args
    assert isinstance(axis, int)
    before = work.open_end(x)
    module = None if before is None or before.chain or axis != -1 else before.module
    if before is not None and module is not None and module.absorb(GLU, None):
        before.values.append(value_of(node))
        return before
    return work.by(node, Gated(axis), x)


def _softmax(log: bool) -> CallRow:
    def row(work: Rewriter, node: fx.Node) -> Made:
        x, axis = node.args
        assert isinstance(axis, int)
        return work.by(node, Softmax(axis, log), x)

    return row


def _whole_softmax(log: bool) -> CallRow:
    def row(work: Rewriter, node: fx.Node) -> Made:
        x, first, rank = node.args
        assert isinstance(first, int)
        assert isinstance(rank, int)
        return work.by(node, Softmax(first, log, rank), x)

    return row


def _attend(work: Rewriter, node: fx.Node) -> Made:
    q, k, v, heads, *rest = node.args
    seen, bias = (*rest, None, None)[:2]
    causal = bool(node.kwargs.get("causal"))
    positions = () if bias is None else _call_of(bias, attention.relative_scores)
    seen_by = _call_of(seen, attention.visible)
    if positions is None or (seen_by is None and not causal):
        return work.left(node, "it attends along an inner axis")
    bounds: dict[str, Any] = {"left": None, "right": 0}
    if isinstance(seen, fx.Node):
        bounds = {name: x for name, x in seen.kwargs.items() if name != "there"}
    there = seen.kwargs.get("there") if isinstance(seen, fx.Node) else None
    module = Attention(int(str(heads)), bounds)
    return work.attended(node, module, (), q, (k, v, there), positions[:2])


def _attend_window(work: Rewriter, node: fx.Node) -> Made:
    q, k, v, heads, spans, there, bias = node.args
    found = relative_positions(bias)
    if isinstance(found, str):
        return work.left(node, found)
    positions, low = found
    module = Attention(int(str(heads)), {}, spans, low)  # type: ignore[arg-type]
    return work.attended(node, module, (), q, (k, v, there), positions)


def relative_positions(bias: object) -> tuple[tuple[Any, ...], int | None] | str:
    """Of a step's attention `p` and `r`, if it has any, and the distance of the first row of `r`;
    or why no kernel knows them."""
    positions = () if bias is None else _call_of(bias, stepping.relative_window)
    if positions is None:
        return "its positions are not relative ones"
    low = _lowest(positions) if positions else None
    if positions and low is None:
        return "its queries or keys are not one after the other"
    return positions[:2], low


def _lowest(positions: Sequence[Any]) -> int | None:
    """The distance of the first row, for queries and keys that are counted from zero."""
    queries, keys, low = positions[3:]
    for places in (queries, keys):
        if list(places) != list(range(places[0], places[0] + len(places))):
            return None
    return int(low - (queries[0] - keys[0]))


def _catalogue(work: Rewriter, node: fx.Node) -> Made:
    q, k, v, heads, seen, each = node.args
    if each:
        return work.left(node, _WHY[attention.attend_catalogue])
    everything: dict[str, int | None] = {"left": None, "right": None}
    return work.by(node, Attention(int(str(heads)), everything), q, k, v, seen)


def _call_of(node: object, function: object) -> tuple[Any, ...] | None:
    """The arguments of a call of this function."""
    known = isinstance(node, fx.Node) and node.target is function
    return node.args if known and isinstance(node, fx.Node) else None


def _running_sum(work: Rewriter, node: fx.Node) -> Made:
    x, there, axis, *start = node.args
    assert isinstance(axis, int)
    return work.by(node, RunningSum(axis), x, there, *start)


def _with_numbers(work: Rewriter, node: fx.Node) -> Made:
    """By PyTorch, with its second argument as a tensor that is there."""
    x, values, *rest = (work.argument(given) for given in node.args)
    target: Any = node.target
    return work.graph.call_function(target, (x, work.listed(values, x), *rest))


CALLS: Mapping[Any, CallRow] = {
    **dict.fromkeys(
        (stepping.present, stepping.picked, stepping.back, stepping.clipped), _with_numbers
    ),
    **{function: _unary(kind) for function, kind in UNARY.items()},
    **{function: _pair(kind) for function, kind in PAIRS.items()},
    functional.glu: _glu,
    functional.softmax: _softmax(log=False),
    functional.log_softmax: _softmax(log=True),
    frame.softmax: _whole_softmax(log=False),
    frame.log_softmax: _whole_softmax(log=True),
    attention.attend: _attend,
    attention.attend_catalogue: _catalogue,
    # An attention that was taken over has no other use for these.
    attention.relative_scores: lambda work, node: Later(),
    stepping.relative_window: lambda work, node: Later(),
    stepping.attend_window: _attend_window,
    recurrent.running_sum: _running_sum,
}
assert set(PAIRS.values()) <= set(BINARY)
