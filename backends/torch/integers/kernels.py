"""Every operator that a row of `backends/nna/rows.py` makes of one value, in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...nna.kernels import Site
from .filters import Conv, Depthwise
from .kernel import Kernel
from .moves import Concat, Reshape, Slice
from .pointwise import Function, Mean, TabledRequantise, pair

KERNELS: Mapping[str, Callable[[Site], Kernel]] = {
    "conv": Conv,
    "depthwise": Depthwise,
    "add": pair,
    "sub": pair,
    "mul": pair,
    "requantise": TabledRequantise,
    "sigmoid": Function,
    "tanh": Function,
    "rsqrt": Function,
    "mean": Mean,
    "concat": Concat,
    "slice": Slice,
    "reshape": Reshape,
}
