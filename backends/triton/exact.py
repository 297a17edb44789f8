"""Runs an integer program for many streams at once, each to the last bit as `nna/executor.py` does.

Codes are int8 and int16 tensors of PyTorch; what computes is `kernels/integers.py` and
`kernels/integer_products.py`. Constants are prepared once, and a step waits for nothing on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from ..nna import program as nna
from ..nna.fixed import Rescale
from ..nna.kernels import Site
from ..nna.program import Array, Op, Program
from ..nna.recipes import Recipe, Scaled, Softmax, Sum, Table, recipe_of
from ..nna.rsqrt import rsqrt
from .kernels.integer_products import Channels, Scores, Windows, depthwise, matmul, product
from .kernels.integers import NONE, Codes, Single, mean, single, softmax

Run: TypeAlias = Callable[[Sequence[Tensor]], Tensor]
"""Codes of some streams in, codes of each out; a constant has one row for all of them."""


class ExactProgram:
    """A program and the states of its streams; `values` are the tensors of the last step, by name.

    Raises ValueError for a program whose tensors or operators do not keep streams apart.
    """

    def __init__(
        self, program: Program, streams: int = 1, device: torch.device | str = "cpu"
    ) -> None:
        self.program, self.device = program, torch.device(device)
        self.values: dict[str, Tensor] = {}
        for tensor in program.tensors.values():
            if tensor.data is None and tensor.shape[:1] != (1,):
                raise ValueError(f"`{tensor.name}` is {list(tensor.shape)}: its batch is not 1")
        self._runs = [runner(site_of(program, op), self.device) for op in program.ops]
        self._constants = {
            t.name: _tensor(t.data, self.device)
            for t in program.tensors.values()
            if t.data is not None
        }
        self.resize(streams)

    def resize(self, streams: int) -> None:
        """So many streams, their states standing for zero."""
        rest = self.program.at_rest(streams)
        self.streams = streams
        self.states = {name: _tensor(codes, self.device) for name, codes in rest.items()}

    def reset(self, slots: Sequence[int] | None = None) -> None:
        """States of these streams, or of all, stand for zero again."""
        for name, state in self.states.items():
            rows = slice(None) if slots is None else list(slots)
            state[rows] = self.program.tensors[name].zero

    def step(self, inputs: Mapping[str, Tensor], slots: Tensor | None = None) -> dict[str, Tensor]:
        """Outputs of one step, by name, of all streams, or of those in the slots, no slot twice;
        their states go on. Raises ValueError for what does not fit."""
        count = self.streams if slots is None else len(slots)
        given = self._checked(inputs, count)
        values = {**self._constants, **self._taken(slots), **given}
        for op, run in zip(self.program.ops, self._runs, strict=True):
            values[op.output] = run([values[name] for name in op.inputs])
        self.values = values
        for state, after in self.program.states.items():
            self._keep(state, whole(values[after], count), slots)
        return {name: whole(values[name], count) for name in self.program.outputs}

    def value(self, name: str) -> Tensor:
        """A tensor of the last step."""
        return self.values[name]

    def _taken(self, slots: Tensor | None) -> dict[str, Tensor]:
        """Copies: outputs may be views of them, and stay as they are."""
        if slots is None:
            return {name: state.clone() for name, state in self.states.items()}
        return {name: state.index_select(0, slots) for name, state in self.states.items()}

    def _keep(self, name: str, codes: Tensor, slots: Tensor | None) -> None:
        if slots is None:
            self.states[name].copy_(codes)
        else:
            self.states[name].index_copy_(0, slots, codes)

    def _checked(self, inputs: Mapping[str, Tensor], count: int) -> Mapping[str, Tensor]:
        wanted = {n for n in self.program.inputs if n not in self.program.states}
        if inputs.keys() != wanted:
            raise ValueError(f"inputs are {sorted(wanted)}, not {sorted(inputs)}")
        for name, codes in inputs.items():
            tensor = self.program.tensors[name]
            shape = (count, *tensor.shape[1:])
            if (codes.shape, codes.dtype) != (shape, dtype_of(tensor)):
                raise ValueError(f"`{name}` is {tensor.dtype} {list(shape)}")
        return inputs


def site_of(program: Program, op: Op) -> Site:
    """An operator in its program."""
    tensors, output = program.of(op)
    return Site(op.kind, tensors, output, recipe_of(program, op), op.options)


def runner(site: Site, device: torch.device) -> Run:
    """An operator, ready to run: its output has the output's shape, but for the streams."""
    run, shape = RUNS[site.kind](site, device), site.output.shape[1:]

    def shaped(codes: Sequence[Tensor]) -> Tensor:
        found = run(codes)
        return found.reshape(len(found), *shape)

    return shaped


def whole(codes: Tensor, streams: int) -> Tensor:
    """A row for each stream, also of what is the same for all."""
    return codes.expand(streams, *codes.shape[1:])


def dtype_of(tensor: nna.Tensor) -> torch.dtype:
    return cast("torch.dtype", getattr(torch, tensor.dtype))


def _tensor(data: Array, device: torch.device) -> Tensor:
    return torch.tensor(np.ascontiguousarray(data), device=device)


def _out(site: Site) -> Codes:
    return Codes(dtype_of(site.output), site.output.zero)


def _by(site: Site) -> Rescale:
    """The one factor of all codes."""
    (by,) = cast("Scaled", site.recipe).by
    return by


def _narrow(site: Site, places: Sequence[int]) -> None:
    for place in places:
        if site.tensors[place].dtype != "int8":
            raise ValueError(f"`{site.output.name}`: {site.kind} reads codes of int8")


# --- sums of products ---


def channels_of(site: Site, device: torch.device) -> Channels:
    """Weights as the kernels of `conv` and of `depthwise` read them."""
    _narrow(site, (0, 1))
    weight, deep = site.constant(1), site.kind == "conv"
    flat = weight.reshape(len(weight), -1) if deep else weight.reshape(-1, weight.shape[-1])
    sums = flat.sum(1 if deep else 0, np.int64)
    bias = site.constant(2).astype(np.int64) - site.tensors[0].zero * sums
    by = cast("Scaled", site.recipe).by
    numbers = np.array([(one.multiplier, one.shift) for one in by], np.int32).T
    factors = (np.broadcast_to(row, bias.shape) for row in numbers)
    return Channels(*(_tensor(x, device) for x in (flat, bias, *factors)))


def windows_of(site: Site) -> Windows:
    height, width = site.tensors[1].shape[1:3]
    steps = (tuple(site.options.get(name, (1, 1))) for name in ("stride", "dilation"))
    return Windows((height, width), *steps)


def scores_of(site: Site) -> Scores:
    _narrow(site, (0, 1))
    _aligned(site, least=3)
    first, second = site.tensors
    turned = bool(site.options.get("turned"))
    return Scores((first.zero, second.zero), _by(site), _out(site), turned)


def _conv(site: Site, device: torch.device) -> Run:
    channels, windows, out = channels_of(site, device), windows_of(site), _out(site)
    return lambda codes: product(windows.of(codes[0]), channels, out)


def _depthwise(site: Site, device: torch.device) -> Run:
    channels, windows, out = channels_of(site, device), windows_of(site), _out(site)
    return lambda codes: depthwise(codes[0], channels, windows, out)


def _matmul(site: Site, device: torch.device) -> Run:
    op = scores_of(site)
    return lambda codes: matmul(codes[0], codes[1], op)


def _aligned(site: Site, least: int = 1) -> None:
    """Raises ValueError where the streams of two tensors would meet other axes."""
    rank = len(site.output.shape)
    loose = [t for t in site.tensors if t.data is None and len(t.shape) != rank]
    if loose or rank < least or any(len(t.shape) > rank for t in site.tensors):
        raise ValueError(f"`{site.output.name}`: {site.kind} does not keep streams apart")


# --- one code at a time ---


def single_of(site: Site, device: torch.device) -> Single:
    """The integers of an operator on single codes."""
    first, second = site.tensors[0], site.tensors[-1]
    left, by, table = _factors(site, site.recipe)
    codes = None if table is None else _tensor(table, device)
    out = Codes(dtype_of(site.output)) if site.kind in UNSCALED else _out(site)
    kind = "table" if site.kind in TABLES else site.kind
    return Single(kind, out, (first.zero, second.zero), left, by, codes)


TABLES = ("sigmoid", "tanh", "rsqrt")
UNSCALED = (*TABLES, "maximum", "minimum")
"""Their results are codes already."""

Factors: TypeAlias = tuple[int, tuple[Rescale, Rescale, Rescale], Array | None]
"""Bits to the left; of the first operand, of the second, and of the result; a table."""


def _factors(site: Site, recipe: Recipe) -> Factors:
    if isinstance(recipe, Sum):
        return recipe.left, (recipe.first, recipe.second, recipe.out), None
    if isinstance(recipe, Table):
        return 0, (NONE, NONE, NONE), np.array(recipe.codes, np.int8)
    if site.kind == "rsqrt":
        every = np.arange(-128, 128) - site.tensors[0].zero
        return 0, (NONE, NONE, NONE), rsqrt(every, _by(site), site.output).astype(np.int8)
    return 0, (NONE, NONE, _by(site) if isinstance(recipe, Scaled) else NONE), None


def _single(site: Site, device: torch.device) -> Run:
    if site.kind in TABLES:
        _narrow(site, (0,))
    _aligned(site)
    op = single_of(site, device)
    return lambda codes: single(op, *codes)


# --- rows ---


def _mean(site: Site, device: torch.device) -> Run:
    zero, by, out = site.tensors[0].zero, _by(site), _out(site)
    rank = len(site.tensors[0].shape)
    axes = [_axis(site, axis) for axis in site.options["axes"]]
    order = [axis for axis in range(rank) if axis not in axes] + sorted(axes)

    def run(codes: Sequence[Tensor]) -> Tensor:
        rows = codes[0].permute(order).flatten(rank - len(axes)).flatten(0, -2)
        return mean(rows, zero, by, out).view(len(codes[0]), -1)

    return run


def _softmax(site: Site, device: torch.device) -> Run:
    _narrow(site, (0,))
    _axis(site, -1)
    recipe = cast("Softmax", site.recipe)
    return lambda codes: softmax(codes[0], recipe.by, recipe.least)


# --- codes that only move ---


def _concat(site: Site, device: torch.device) -> Run:
    axis = _axis(site, site.options["axis"])

    def run(codes: Sequence[Tensor]) -> Tensor:
        streams = max(len(part) for part in codes)
        return torch.cat([whole(part, streams) for part in codes], axis)

    return run


def _slice(site: Site, device: torch.device) -> Run:
    """Along one axis, from `first` on, `count` codes, every `by`-th."""
    axis, first, count = (site.options[name] for name in ("axis", "first", "count"))
    by = site.options.get("by", 1)
    before = (slice(None),) * _axis(site, axis)
    index = (*before, slice(first, first + (count - 1) * by + 1, by))
    return lambda codes: codes[0][index]


def _reshape(site: Site, device: torch.device) -> Run:
    return lambda codes: codes[0]


def _transpose(site: Site, device: torch.device) -> Run:
    order = site.options["order"]
    if order[0] != 0:
        raise ValueError(f"`{site.output.name}`: {site.kind} moves the axis of the streams")
    return lambda codes: codes[0].permute(order)


def _axis(site: Site, axis: int) -> int:
    """From the front. Raises ValueError for the first one: it is that of the streams."""
    found = axis % len(site.tensors[0].shape)
    if found == 0:
        raise ValueError(f"`{site.output.name}`: {site.kind} along the axis of the streams")
    return found


RUNS: Mapping[str, Callable[[Site, torch.device], Run]] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "matmul": _matmul,
    "add": _single,
    "sub": _single,
    "mul": _single,
    "requantise": _single,
    "sigmoid": _single,
    "tanh": _single,
    "softmax": _softmax,
    "mean": _mean,
    "rsqrt": _single,
    "maximum": _single,
    "minimum": _single,
    "concat": _concat,
    "slice": _slice,
    "reshape": _reshape,
    "transpose": _transpose,
}
"""A row for each recipe."""
