"""Products that read one value, in one launch: the queries, keys and values of an attention.

A product of few rows has few programs, which leave most of a GPU idle, and a launch takes as long
as it does. What is brought together here is what nothing was added to: other products have an
activation, a residual or a gate behind them.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import cast

from torch import Tensor, fx, nn

from ..torch.emit import attach
from .kernels.linear import linear_beside
from .modules import Fast, Linear


class Beside(Fast):
    """Some `Linear`, which have one input, and the same norm before them if any."""

    kernel = "linear"

    def __init__(self, products: Sequence[Linear]) -> None:
        super().__init__()
        self.products = nn.ModuleList(products)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        products = cast("Sequence[Linear]", self.products)
        weights = [each.weight(self.precision) for each in products]
        before = products[0].before
        first = None if before is None else before.prologue()
        return linear_beside(x, weights, [each.leaf.bias for each in products], first)


def bring_together(graph: fx.Graph, root: nn.Module) -> None:
    """Puts one `Beside` in the place of products that read the same and are as large."""
    alike: dict[tuple[object, ...], list[fx.Node]] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            module = root.get_submodule(str(node.target))
            if isinstance(module, Linear) and module.bare and len(node.args) == 1:
                alike.setdefault((node.args[0], *_kind(module)), []).append(node)
    for nodes in alike.values():
        if len(nodes) > 1:
            _put(graph, root, nodes)


def _kind(module: Linear) -> tuple[object, ...]:
    before = module.before
    norm = None if before is None else (id(before.leaf), before.activation)
    return norm, module.leaf.weight.shape, module.leaf.bias is None


def _put(graph: fx.Graph, root: nn.Module, nodes: Sequence[fx.Node]) -> None:
    products = [cast("Linear", root.get_submodule(str(node.target))) for node in nodes]
    place = attach(root, f"beside.{nodes[0].name}", Beside(products))
    with graph.inserting_before(nodes[0]):
        made = graph.call_module(place, nodes[0].args)
        items = [graph.call_function(operator.getitem, (made, n)) for n in range(len(nodes))]
    for node, item in zip(nodes, items, strict=True):
        node.replace_all_uses_with(item)
        graph.erase_node(node)
