"""First values of parameters: common practice for each operator, the same for a path and a seed
whatever stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod, sqrt
from typing import cast
from zlib import crc32

import torch
from torch import Tensor, nn

from ...compiler.facts import Facts
from ..nna.calibrate import calibrated, missing
from .emit import word
from .examples import Length, random_inputs
from .leaves import BatchNorm, Constant, Convf, Dense, Depthwise, Embed, LayerNorm, RmsNorm
from .lowered import Lowered
from .recurrent import Lstm

Fill = Callable[[nn.Module, str, Tensor, torch.Generator], None]


def initialise(lowered: Lowered, seed: int = 0) -> None:
    """Fill all parameters.

    Maps: uniform within one over the square root of the inputs, weights and biases, as PyTorch's
    own layers. LSTM: the same with the cells in place of the inputs; the forget gate's bias is
    one (Jozefowicz et al. 2015, section 4). Embeddings: normal, of deviation one. Norms: one and
    zero. Learned constants: as the model says (`init`), the normal ones of deviation 0.02. A
    quantised model's ranges are those of a random utterance.
    """
    for path, module in lowered.leaves.items():
        for name, parameter in module.named_parameters(recurse=False):
            source = torch.Generator().manual_seed(crc32(f"{path}.{name}".encode()) * 4096 + seed)
            with torch.no_grad():
                _fill(lowered.facts, path, module, name, parameter, source)
    if missing(lowered.facts, {}):
        _take_ranges(lowered, seed)


def _take_ranges(lowered: Lowered, seed: int) -> None:
    """Of two seconds of noise."""
    facts, tensors = lowered.facts, lowered.tensors()
    lacking = missing(facts, {})
    weights = {n: x.detach().float().cpu().numpy() for n, x in tensors.items() if n not in lacking}
    given = random_inputs(facts, [Length(Fraction(2), 6)], seed)
    inputs = (node.path for node in facts.graph if node.op == "input")
    utterance = {path: given[word(path)][0].numpy() for path in inputs}
    found = calibrated(facts, weights, [utterance])
    with torch.no_grad():
        for name in lacking:
            tensors[name].copy_(torch.from_numpy(found[name]))


def _fill(
    facts: Facts, path: str, module: nn.Module, name: str, x: Tensor, source: torch.Generator
) -> None:
    match module:
        case Constant():
            _constant(cast(str, facts.graph[path].attrs["init"]), x, source)
        case Lstm():
            _uniform(x, module.cells, source)
            if name == "bias":
                x.view(4, -1)[module.gates[1]] = 1.0
        case Dense() | Convf():
            _uniform(x, prod(module.weight.shape[1:]), source)
        case Depthwise():
            _uniform(x, module.weight.shape[-1], source)
        case Embed():
            x.copy_(torch.randn(x.shape, generator=source))
        case LayerNorm() | RmsNorm() | BatchNorm():
            x.fill_(1.0 if name == "weight" else 0.0)
        case _:
            raise AssertionError(f"no first values for {type(module).__name__}")


def _uniform(x: Tensor, inputs: int, source: torch.Generator) -> None:
    bound = 1 / sqrt(inputs)
    x.copy_(torch.rand(x.shape, generator=source) * (2 * bound) - bound)


def _constant(init: str, x: Tensor, source: torch.Generator) -> None:
    match init:
        case "zeros":
            x.zero_()
        case "ones":
            x.fill_(1.0)
        case _:
            x.copy_(torch.randn(x.shape, generator=source) * 0.02)
