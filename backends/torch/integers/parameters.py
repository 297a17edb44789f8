"""Parameters as a program's constants: their codes, and the way back for gradients.

A value is lowered with the places of its weights in the place of codes. Wherever the rows put them,
transposed or spread over groups, they say which weight stands there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....compiler.graph import Node
from ...nna.filters import Filter, each_row
from ...nna.formats import reaching
from ...nna.program import Program
from .learning import Learned, learned_scale, learns
from .program import Bound, Call, Engine
from .rounding import codes_of, weight_codes


def parameters_of(module: nn.Module | None) -> list[Tensor]:
    named = ((name, getattr(module, name, None)) for name in ("weight", "bias"))
    return [x for _, x in named if isinstance(x, Tensor)]


def traced(path: str, node: Node, module: Any) -> tuple[dict[str, Any], dict[str, Filter]]:
    """A layer norm's row, and a filter whose codes are places in the weight: wherever the rows put
    them, they say what stands there."""
    if node.op == "layernorm":
        zeros, reach = np.zeros(len(module.weight)), module.reach.numpy(force=True)
        return {f"{path}.weight": zeros, f"{path}.bias": zeros, f"{path}.reach": reach}, {}
    if "weights" not in node.attrs:
        return {}, {}
    places = np.arange(module.weight.numel()).reshape(module.weight.shape)
    return {}, {path: Filter(places, each_row(module.scale.numpy(force=True), module.weight))}


def called(
    program: Program,
    path: str,
    node: Node,
    module: nn.Module | None,
    outputs: Sequence[str],
    learned: Sequence[Learned],
) -> Call:
    """A program with the constants that a module's parameters give; ranges in it may learn."""
    bound: list[Bound] = []
    if node.op == "layernorm":
        bound = [_row_bound(f"{path}.{n}", module, p) for p, n in enumerate(("weight", "bias"))]
    elif "weights" in node.attrs:
        bound = list(filter_bound(program, path, module))
        learned = [*learned, *scales(path, module, bound)]
    return made(program, bound, outputs, learned)


def made(
    program: Program, bound: Sequence[Bound], outputs: Sequence[str], learned: Sequence[Learned]
) -> Call:
    """What a function of autograd needs."""
    ranged = {one.tensor for one in learned if one.tensor}
    engine = Engine(program, [one.name for one in bound], ranged)
    return Call(engine, bound, outputs, learned)


def _row_bound(name: str, module: Any, place: int) -> Bound:
    code = reaching(float(module.reach[place]))

    def codes(row: Tensor) -> Tensor:
        return codes_of(row, code).view(1, 1, 1, -1)

    return Bound(name, codes, lambda grad: grad.flatten())


def filter_bound(program: Program, path: str, module: Any) -> Iterator[Bound]:
    """Weight and bias of a filter."""
    tensor = program.tensors[f"{path}.weight"]
    data = tensor.data
    assert data is not None
    places = torch.from_numpy(data.astype(np.int64))
    scale, book = module.scale, getattr(module, "codebook", None)

    some = places >= 0  # elsewhere there is none: code 0

    def codes(weight: Tensor) -> Tensor:
        at = places.to(weight.device)
        return weight_codes(weight, scale, book).flatten()[at] * (at >= 0)

    def back(grad: Tensor) -> Tensor:
        whole = grad.new_zeros(module.weight.numel())
        whole[places[some].to(grad.device)] = grad[some.to(grad.device)]
        return whole.view(module.weight.shape)

    yield Bound(tensor.name, codes, back)
    summed = program.tensors[f"{path}.bias"]
    by = torch.tensor(summed.scales, dtype=torch.float64)
    if module.bias is not None:
        yield Bound(summed.name, lambda bias: _summed(bias, by), lambda grad: grad)


def scales(path: str, module: Any, bound: Sequence[Bound]) -> Iterator[Learned]:
    """Those of a filter's weight, where they learn."""
    if learns(module, "scale"):
        (weight,) = (one for one in bound if one.name == f"{path}.weight")
        yield learned_scale(weight.name, module, weight.grad)


def _summed(bias: Tensor, by: Tensor) -> Tensor:
    return (bias.double() / by.to(bias.device)).round().to(torch.int64)
