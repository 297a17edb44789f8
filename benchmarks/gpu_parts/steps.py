"""A streaming step in PyTorch that copies nothing from the host.

A CUDA graph takes no such copy, and a rival of a step that is in one has to be in one too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import sqrt
from typing import Any

from torch import Tensor, fx, nn

from asrc.backends.torch import stepping
from asrc.backends.torch.attention import attend, in_heads
from asrc.backends.torch.stepmodule import StepModule


class Once(nn.Module):
    """What follows from sizes alone, made at the first call."""

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.make = make
        self.held: Tensor | None = None

    def forward(self, like: Tensor) -> Tensor:
        if self.held is None:
            self.held = self.make(like)
        return self.held


def counted(step: StepModule) -> StepModule:
    """The same step, with its frames' numbers and its masks on the device."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(step.module.graph, {}))
    module = fx.GraphModule(step.module, graph)
    for node in list(graph.nodes):
        row = COUNTED.get(node.target) if node.op == "call_function" else None
        if row is not None:
            row(module, node)
    module.recompile()
    return replace(step, module=module)


def _numbers(module: fx.GraphModule, node: fx.Node) -> None:
    x, values = node.args[:2]
    if not isinstance(values, fx.Node):
        made = _once(module, node, lambda like: stepping.numbers(values, like.device), x)
        node.update_arg(1, made)


def _attended(module: fx.GraphModule, node: fx.Node) -> None:
    q, k, v, heads, seen, there, bias = node.args
    made = _once(module, node, lambda keys: stepping.inside(keys, seen), k)
    node.target, node.args = attend_inside, (q, k, v, heads, made, there, bias)


def _relative(module: fx.GraphModule, node: fx.Node) -> None:
    p, r, heads, *places = node.args
    made = _once(module, node, lambda like: stepping.apart(like, *places), r)
    node.target, node.args = in_places, (p, r, heads, made)


def _once(module: fx.GraphModule, node: fx.Node, make: Any, like: Any) -> fx.Node:
    place = f"once_{node.name}"
    module.add_submodule(place, Once(make))
    with module.graph.inserting_before(node):
        return module.graph.call_module(place, (like,))


def attend_inside(
    q: Tensor, k: Tensor, v: Tensor, heads: int, inside: Tensor, there: Tensor, bias: Tensor | None
) -> Tensor:
    """As `stepping.attend_window`."""
    return attend(q, k, v, heads, inside & there.unsqueeze(1), bias)


def in_places(p: Tensor, r: Tensor, heads: int, place: Tensor) -> Tensor:
    """As `stepping.relative_window`."""
    scores = in_heads(p, heads) @ in_heads(r, heads).transpose(-1, -2)
    found = scores.gather(-1, place.expand(*scores.shape[:-1], place.shape[-1]))
    return found / sqrt(p.shape[-1] // heads)


COUNTED: Mapping[Any, Callable[[fx.GraphModule, fx.Node], None]] = {
    **dict.fromkeys((stepping.present, stepping.picked, stepping.back, stepping.clipped), _numbers),
    stepping.attend_window: _attended,
    stepping.relative_window: _relative,
}
