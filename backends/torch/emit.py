"""From a graph to a torch.fx graph: what all lowerings share.

An emitter walks a plan and adds one fx node or a few for each value. Values of a module tree are
called by path, so that `print(module.code)` reads like the model.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from keyword import iskeyword
from typing import Any, cast

from torch import fx, nn

from ...compiler.facts import Facts
from ...compiler.facts.gates import Gate, infer_gates
from ...compiler.graph import Graph, Node
from ...compiler.reference import Loop, Plan, index_rank, own_axes
from ...compiler.types import Clock, Stream, Type, base_clock
from ...compiler.units import Quantity
from .frames import count_windows, slots
from .leaftable import Leaves, logmel_samples


@dataclass(frozen=True, slots=True)
class There:
    """Which frames of a value are there.

    Frame `i` of an utterance is when `i < length` (`None`: always), when every gate's flag says
    so, and where the mask over the inner axes of a catalogue, `[B, *index]`, is up.
    """

    length: fx.Node | None = None
    gates: frozenset[Gate] = frozenset()
    inner: fx.Node | None = None

    @property
    def always(self) -> bool:
        return self.length is None and not self.gates and self.inner is None


@dataclass(frozen=True)
class Model:
    """A graph with its facts, its gates and the modules it is lowered to."""

    facts: Facts
    leaves: Leaves
    gates: Mapping[str, frozenset[Gate]]

    @property
    def graph(self) -> Graph:
        return self.facts.graph

    @property
    def types(self) -> Mapping[str, Type]:
        return self.facts.types

    @staticmethod
    def of(facts: Facts) -> Model:
        return Model(facts, Leaves(facts), infer_gates(facts.graph, facts.types))


@dataclass(frozen=True)
class Site:
    """A value about to be emitted: `ins` stand on its own frames, with singleton axes where they
    have none of its index axes; `raw` are the same as they come."""

    emitter: Emitter
    node: Node
    kinds: tuple[Type, ...]
    out: Type
    ins: tuple[fx.Node, ...]
    raw: tuple[fx.Node, ...]

    @property
    def x(self) -> fx.Node:
        return self.ins[0]

    @property
    def kind(self) -> Type:
        return self.kinds[0]

    @property
    def first(self) -> int:
        """The first feature axis: behind the batch and the index axes."""
        return 1 + index_rank(self.out.clock)

    def int(self, name: str) -> int:
        found = self.node.attrs[name]
        assert isinstance(found, int)
        return found

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> fx.Node:
        return self.emitter.call(function, *args, hint=self.node.path, **options)

    def method(self, name: str, *args: Any) -> fx.Node:
        return self.emitter.method(name, *args, hint=self.node.path)

    def leaf(self, *args: Any, **options: Any) -> fx.Node:
        """This operator's own module, called."""
        path, module = self.emitter.model.leaves.of(self.node)
        return self.emitter.module(path, module, *args, hint=self.node.path, **options)

    def presence(self) -> fx.Node | None:
        """Which frames are there, as a mask with singleton feature axes left out."""
        return self.emitter.mask(self.node.path)


Row = Callable[[Site], fx.Node]


class Emitter:
    """Fills an fx graph. `data` and `there` are what is known so far, by path."""

    rows: Mapping[str, Row]

    def __init__(self, model: Model) -> None:
        self.model = model
        self.fx = fx.Graph()
        self.root = nn.Module()
        self.data: dict[str, fx.Node] = {}
        self.there: dict[str, There] = {}
        self._memo: dict[Any, fx.Node] = {}

    # --- nodes ---

    def placeholder(self, name: str) -> fx.Node:
        return self.fx.placeholder(word(name))

    def call(
        self, function: Callable[..., Any], *args: Any, hint: str | None = None, **options: Any
    ) -> fx.Node:
        """A call, made once for the same arguments."""
        return self._once("call_function", function, args, options, hint)

    def method(self, name: str, *args: Any, hint: str | None = None) -> fx.Node:
        return self._once("call_method", name, args, {}, hint)

    def module(
        self, path: str, module: nn.Module, *args: Any, hint: str | None = None, **options: Any
    ) -> fx.Node:
        place = attach(self.root, path, module)
        return self._once("call_module", place, args, options, hint)

    def item(self, x: fx.Node, index: int, hint: str | None = None) -> fx.Node:
        """One of several results."""
        return self.call(operator.getitem, x, index, hint=hint)

    def _once(
        self, kind: str, target: Any, args: tuple[Any, ...], options: dict[str, Any], hint: Any
    ) -> fx.Node:
        key = (kind, target, args, tuple(sorted(options.items())))
        if key not in self._memo:
            name = None if hint is None else word(hint)
            self._memo[key] = self.fx.create_node(kind, target, args, options, name)
            self._memo[key].meta["value"] = hint
        return self._memo[key]

    def finish(self, result: Any, name: str) -> fx.GraphModule:
        """The module; what nobody reads is dropped."""
        self.fx.output(result)
        made = fx.GraphModule(self.root, self.fx, class_name=name)
        made.graph.eliminate_dead_code()
        made.recompile()
        return made

    # --- values ---

    def run(self, plan: Plan) -> None:
        for entry in plan:
            if isinstance(entry, Loop):
                self.loop(entry)
            elif entry not in self.data:
                self.data[entry] = self.emit(self.model.graph[entry])

    def emit(self, node: Node) -> fx.Node:
        """One value outside recurrences, or inside the body of one."""
        raise NotImplementedError

    def loop(self, loop: Loop) -> None:
        raise NotImplementedError

    def mask(self, path: str) -> fx.Node | None:
        """The presence of a value's frames as a mask, `None` where all are there."""
        raise NotImplementedError

    def site(self, node: Node, ins: tuple[fx.Node, ...]) -> Site:
        """Where a value is emitted, its inputs made ready to broadcast."""
        kinds = tuple(self.model.types[p] for p in node.inputs)
        out = self.model.types[node.path]
        spread = tuple(
            self.spread(x, kind.clock, out.clock) for x, kind in zip(ins, kinds, strict=True)
        )
        return Site(self, node, kinds, out, spread, ins)

    def spread(self, x: fx.Node, source: Clock, target: Clock) -> fx.Node:
        """Singleton axes where the target's clock has an index axis that the value lacks."""
        if source == target or index_rank(source) > index_rank(target):
            return x
        own = own_axes(source, target)
        for axis in range(index_rank(target)):
            if axis not in own:
                x = self.method("unsqueeze", x, 1 + axis)
        return x

    def meet(self, paths: tuple[str, ...]) -> There:
        """The presence of what is made from several values, frame by frame."""
        found = There()
        for path in paths:
            found = self._both(found, self.there.get(path, There()))
        return found

    def _both(self, a: There, b: There) -> There:
        import torch

        if a == b or b.always:
            return a
        if a.always:
            return b
        lengths = [x for x in (a.length, b.length) if x is not None]
        inner = [x for x in (a.inner, b.inner) if x is not None]
        length = lengths[0] if lengths else None
        if len(lengths) == 2 and lengths[0] is not lengths[1]:
            length = self.call(torch.minimum, *lengths)
        mask = inner[0] if inner else None
        if len(inner) == 2 and inner[0] is not inner[1]:
            mask = self.call(torch.logical_and, *inner)
        return There(length, a.gates | b.gates, mask)

    def gated(self, path: str, there: There) -> There:
        """With the gates that stand before a value."""
        own = self.model.gates.get(path, frozenset())
        for gate in sorted(own, key=lambda g: (g.flag, g.up)):
            there = self._both(there, There(length=self.there[gate.flag].length))
        return replace(there, gates=there.gates | own)


def lengthened(emitter: Emitter, node: Node, there: There) -> There:
    """The presence of an operator's frames that may be more or fewer than its input's."""
    if there.length is None or node.op not in ("logmel", "stride", "upsample"):
        return there
    if node.op == "logmel":
        period = cast(Stream, emitter.model.types[node.inputs[0]].clock).period
        window, hop = logmel_samples(node, period)
        return replace(there, length=emitter.call(count_windows, there.length, window, hop))
    factor = node.attrs["factor"]
    change = slots if node.op == "stride" else operator.mul
    return replace(there, length=emitter.call(change, there.length, factor))


def frames_in(site: Site, name: str, slot: int) -> int | None:
    """A time or count among the options, in frames of an input."""
    value = site.node.attrs[name]
    if not isinstance(value, Quantity):
        return cast("int | None", value)
    clock = base_clock(site.kinds[slot].clock)
    return int(value.value / clock.period) if isinstance(clock, Stream) else None


def word(path: str) -> str:
    """A path as a Python name."""
    return re.sub(r"\W", "_", path)


def attach(root: nn.Module, path: str, module: nn.Module) -> str:
    """Put a module into a tree at a dotted path, once; the path as the tree has it."""
    *folders, name = (member(part) for part in path.split("."))
    here = root
    for folder in folders:
        if folder not in here._modules:
            here.add_module(folder, nn.Module())
        here = here._modules[folder] or here
    there = here._modules.get(name)
    if there is None or type(there) is nn.Module:
        for below, child in () if there is None else there.named_children():
            module.add_module(below, child)
        here.add_module(name, module)
    return ".".join([*folders, name])


def member(name: str) -> str:
    """A part of a path as the name of a submodule: no keyword, nor what every module has."""
    taken = hasattr(nn.Module, name) or name == "training" or iskeyword(name)
    return f"{name}_" if taken else name
