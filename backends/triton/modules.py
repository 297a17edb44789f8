"""Modules of a lowered model by kernels: each holds the PyTorch module whose parameters it uses.

What follows a product and can be done to it in registers is part of its module: an activation, a
number as a factor, a residual. `absorb` says whether a module takes in the next operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..torch.audio import Logmel
from ..torch.leaves import (
    BatchNorm,
    Cmvn,
    Convf,
    Dense,
    Depthwise,
    Embed,
    LayerNorm,
    Reach,
    RmsNorm,
    Weighted,
)
from ..torch.recurrent import FEW, Lstm
from .kernels.activations import REFERENCES
from .kernels.attention import Shifts, attention, intervals
from .kernels.conv1d import by_tap, conv1d
from .kernels.conv2d import conv2d
from .kernels.depthwise import Around, depthwise, of_norm
from .kernels.embed import embed
from .kernels.linear import GLU, Epilogue, Prologue, linear
from .kernels.logmel import Tables, logmel, tables
from .kernels.lstm import lstm, lstm_cell
from .kernels.norm import WIDEST, layer_norm, softmax
from .kernels.pointwise import Chain, Link, pointwise
from .kernels.running_sum import running_sum
from .packed import Weight, packed


class Fast(nn.Module):
    """A module whose work kernels do; `kernel` names them in reports."""

    kernel: str
    precision: torch.dtype | None = None
    """A half type for products and the weights in them; values stay in float32."""

    def absorb(self, kind: str, value: object) -> bool:
        """Whether the operator `kind` on the result becomes part of this module; `value` is a
        number, a module, or None for another tensor."""
        return False


class Listed(nn.Module):
    """Numbers that are known beforehand, on the device of a tensor. They come there once: a step
    in a CUDA graph may copy nothing from the host."""

    def __init__(self, values: Sequence[int]) -> None:
        super().__init__()
        self.values = values
        self.held: Tensor | None = None

    def forward(self, like: Tensor) -> Tensor:
        if self.held is None or self.held.device != like.device:
            self.held = torch.tensor(self.values, device=like.device)
        return self.held


def _versions(*tensors: Tensor | None) -> tuple[Any, ...]:
    """Which numbers are in some tensors."""
    return tuple((id(x), x.data_ptr(), x.device, x._version) for x in tensors if x is not None)


class Packing:
    """The weight of a module as kernels read it, made anew when its numbers have changed."""

    def __init__(self, leaf: Weighted) -> None:
        self.leaf = leaf
        self.made: tuple[tuple[Any, ...], Weight] | None = None

    def __call__(self, precision: torch.dtype | None = None) -> Weight:
        """Float, in a half type where it is asked, or packed in the bits of its codebook."""
        weight, scale = self.leaf.weight, getattr(self.leaf, "scale", None)
        if scale is None and precision in (None, weight.dtype):
            return weight
        behind = (weight, scale, getattr(self.leaf, "codebook", None))
        versions = precision, *_versions(*behind)
        if self.made is None or self.made[0] != versions:
            self.made = versions, self._made(scale, behind[2], precision)
        return self.made[1]

    def _made(
        self, scale: Tensor | None, book: Tensor | None, precision: torch.dtype | None
    ) -> Weight:
        weight = self.leaf.weight.detach()
        if scale is None:
            return weight.to(precision)
        rows = packed(weight.flatten(1), scale.expand(len(weight)), book)
        return replace(rows, products=precision or rows.products)


class Kernel:
    """The filters of a convolution as kernels read them, made anew when their numbers have
    changed: with `taps`, `by_tap`."""

    def __init__(self, leaf: Dense | Convf, taps: int | None = None) -> None:
        self.leaf, self.taps = leaf, taps
        self.made: tuple[tuple[Any, ...], Tensor] | None = None

    def __call__(self, precision: torch.dtype | None = None) -> Tensor:
        """In a half type where it is asked."""
        names = ("weight", "scale", "codebook")
        behind = (getattr(self.leaf, name, None) for name in names)
        versions = precision, *_versions(*behind)
        if self.made is None or self.made[0] != versions:
            found = self.leaf.kernel().detach().to(precision)
            self.made = versions, found if self.taps is None else by_tap(found, self.taps)
        return self.made[1]


class Producing(Fast):
    """A product with its epilogue."""

    def __init__(self) -> None:
        super().__init__()
        self.activation, self.factor, self.residual = "none", 1.0, False

    def absorb(self, kind: str, value: object) -> bool:
        if self.residual:
            return False
        if kind in REFERENCES and self.activation == "none" and self.factor == 1.0:
            self.activation = kind
        elif kind == "mul" and isinstance(value, float):
            self.factor *= value
        elif kind == "add" and value is None:
            self.residual = True
        else:
            return False
        return True

    def _then(self, more: Sequence[Tensor], shape: Sequence[int]) -> Epilogue:
        if not more:
            return Epilogue(self.activation, self.factor)
        return Epilogue(self.activation, self.factor, more[0].expand(shape))

    def _wider(self, more: Sequence[Tensor], shape: Sequence[int]) -> bool:
        """Whether a residual spreads the result, which a kernel of a product cannot."""
        spread = [torch.broadcast_shapes(x.shape, shape) for x in more]  # type: ignore[no-untyped-call]
        return any(found != torch.Size(shape) for found in spread)


class Linear(Producing):
    """`Dense`: a product, or over a window of frames a convolution."""

    def __init__(self, leaf: Dense, window: Reach | None) -> None:
        super().__init__()
        self.leaf, self.window = leaf, window
        self.before: Norm | None = None
        taps = 1 if window is None else window[0] + window[1] + 1
        self.weight, self.filters = Packing(leaf), Kernel(leaf, taps)
        self.kernel = "linear" if window is None else "conv1d"

    @property
    def bare(self) -> bool:
        """Whether it is a product of frames, and nothing else."""
        plain = self.activation == "none" and self.factor == 1.0 and not self.residual
        return plain and self.window is None and self.leaf.groups == 1

    def absorb(self, kind: str, value: object) -> bool:
        """A gate of the last axis, too."""
        if kind == GLU:
            free = self.bare
            self.activation = GLU if free else self.activation
            return free
        return super().absorb(kind, value)

    def forward(self, *given: Tensor) -> Tensor:
        rows, more = (given[:-1], given[-1:]) if self.residual else (given, ())
        shape = self._shape(rows)
        if self._wider(more, shape):
            y = self._product(rows, Epilogue(self.activation, self.factor))
            return pointwise([y, more[0]], [Link("add", 1)])
        return self._product(rows, self._then(more, shape))

    def _shape(self, rows: Sequence[Tensor]) -> tuple[int, ...]:
        first = rows[0].shape
        if self.window is not None:
            return first[0], first[1] // self.window[3], len(self.leaf.weight)
        return (*first[:-1], Epilogue(self.activation).outputs(len(self.leaf.weight)))

    def _product(self, rows: Sequence[Tensor], then: Epilogue) -> Tensor:
        leaf = self.leaf
        if self.window is not None:
            weight = self.filters(self.precision)
            return conv1d(rows[0], weight, leaf.bias, self.window, leaf.groups, then)
        row = rows[0] if len(rows) == 1 else torch.cat([*rows], -1)
        if leaf.groups == 1:
            first = None if self.before is None else self.before.prologue()
            return linear(row, self.weight(self.precision), leaf.bias, then, first=first)
        one = row.reshape(1, -1, row.shape[-1])  # all frames as one utterance of its own
        y = conv1d(one, self.filters(self.precision), leaf.bias, (0, 0, 1, 1), leaf.groups)
        y = y.view(*row.shape[:-1], len(leaf.weight))
        return y if then == Epilogue() else pointwise(*_chained(y, then))


def _chained(y: Tensor, then: Epilogue) -> tuple[list[Tensor], list[Link]]:
    links = [Link(then.activation), Link("mul", value=then.factor)]
    if then.residual is None:
        return [y], links
    return [y, then.residual], [*links, Link("add", 1)]


class Bands(Producing):
    """`Convf`."""

    kernel = "conv2d"

    def __init__(self, leaf: Convf, window: Reach | None) -> None:
        super().__init__()
        self.leaf, self.window = leaf, window
        self.filters = Kernel(leaf)

    def forward(self, x: Tensor, *more: Tensor) -> Tensor:
        leaf, weight = self.leaf, self.filters(self.precision)
        plain = Epilogue(self.activation, self.factor)
        y = conv2d(x, weight, leaf.bias, self.window, leaf.groups, leaf.stride, plain)
        return pointwise([y, more[0]], [Link("add", 1)]) if more else y


class Filters(Fast):
    """`Depthwise` over a window, with a gate before it, a batch norm and an activation after."""

    kernel = "depthwise"

    def __init__(self, leaf: Depthwise, window: Reach | None, glu: bool) -> None:
        super().__init__()
        self.leaf, self.window, self.glu = leaf, window, glu
        self.norm: BatchNorm | None = None
        self.activation = "none"

    def absorb(self, kind: str, value: object) -> bool:
        if kind == "batchnorm" and self.norm is None and self.activation == "none":
            flat = len(self.leaf.weight.shape) == 2 and isinstance(value, BatchNorm)
            self.norm = value if flat else None  # type: ignore[assignment]
            return flat
        if kind in REFERENCES and self.activation == "none":
            self.activation = kind
            return True
        return False

    def forward(self, x: Tensor) -> Tensor:
        weight, window = self.leaf.kernel().detach(), self.window
        if window is None:
            taps = x.shape[-1]
            rows = x.reshape(-1, *x.shape[-1 - len(weight.shape[:-1]) :]).movedim(-1, 1)
            return self._run(rows, weight, (taps - 1, 0, 1, taps)).view(x.shape[:-1])
        return self._run(x, weight, window)

    def _run(self, x: Tensor, weight: Tensor, window: Reach) -> Tensor:
        norm = None if self.norm is None else of_norm(self.norm)
        around = Around(self.glu, norm, self.activation)
        return depthwise(x.contiguous(), weight, self.leaf.bias, window, around)


class Norm(Fast):
    """`LayerNorm` and `RmsNorm`, with an activation after."""

    kernel = "norm"

    def __init__(self, leaf: LayerNorm | RmsNorm) -> None:
        super().__init__()
        self.leaf, self.activation = leaf, "none"

    def absorb(self, kind: str, value: object) -> bool:
        if kind in REFERENCES and self.activation == "none":
            self.activation = kind
            return True
        return False

    def forward(self, x: Tensor) -> Tensor:
        taps = self.leaf.taps
        rows = x.movedim(-1, 1) if taps else x
        y, _ = _normed(self.leaf, rows, activation=self.activation)
        return y.movedim(1, -1) if taps else y

    @property
    def flat(self) -> bool:
        """Whether it norms over one axis, as a product can."""
        return self.leaf.weight.ndim == 1 and not self.leaf.taps

    def prologue(self) -> Prologue:
        """For a product, which norms its rows then."""
        leaf = self.leaf
        return Prologue(leaf.weight, getattr(leaf, "bias", None), leaf.eps, self.activation)


class SumNorm(Fast):
    """Of a sum, `x + factor * more`, in one launch: its norm, and the sum itself, which residuals
    further on read."""

    kernel = "norm"

    def __init__(self, leaf: LayerNorm | RmsNorm, factor: float) -> None:
        super().__init__()
        self.leaf, self.factor = leaf, factor

    def forward(self, x: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
        x, more = torch.broadcast_tensors(x, more)  # type: ignore[no-untyped-call]
        return _normed(self.leaf, x, more, self.factor)


def _normed(
    leaf: LayerNorm | RmsNorm,
    x: Tensor,
    more: Tensor | None = None,
    factor: float = 1.0,
    activation: str = "none",
) -> tuple[Tensor, Tensor]:
    """By the kernel, whose rows are flat, over all axes of the weight."""
    rank, bias = leaf.weight.ndim, getattr(leaf, "bias", None)
    added = None if more is None else more.flatten(-rank)
    numbers = leaf.weight.flatten(), None if bias is None else bias.flatten()
    y, total = layer_norm(x.flatten(-rank), *numbers, leaf.eps, added, factor, activation)
    return y.view(x.shape), total.view(x.shape)


class Recurrent(Fast):
    """`Lstm`: in one launch, or for few frames and with a projection frame by frame."""

    kernel = "lstm"

    def __init__(self, leaf: Lstm) -> None:
        super().__init__()
        self.leaf = leaf
        self.weight = Packing(leaf)

    def forward(
        self,
        x: Tensor,
        h: Tensor | None = None,
        c: Tensor | None = None,
        projection: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        leaf = self.leaf
        h = x.new_zeros(len(x), leaf.recurrent) if h is None else h
        c = x.new_zeros(len(x), leaf.cells) if c is None else c
        gates = cast("tuple[int, int, int, int]", leaf.gates)
        if projection is None and x.shape[1] > FEW:
            return lstm(x, h, c, self.weight(self.precision), leaf.bias, gates)
        made: list[Tensor] = []
        for frame in x.unbind(1):
            y, c = lstm_cell(frame, h, c, self.weight(self.precision), leaf.bias, gates)
            y = y if projection is None else linear(y, projection)
            h = y.to(h.dtype)
            made.append(y)
        return _frames(made, x.new_zeros(len(x), 0, leaf.recurrent)), h, c


def _frames(made: list[Tensor], none: Tensor) -> Tensor:
    """Along the second axis; one is not copied."""
    if len(made) == 1:
        return made[0].unsqueeze(1)
    return torch.stack(made, 1) if made else none


class Rows(Fast):
    """`Embed`."""

    kernel = "embed"

    def __init__(self, leaf: Embed) -> None:
        super().__init__()
        self.leaf = leaf

    def forward(self, tokens: Tensor) -> Tensor:
        return embed(tokens.squeeze(-1), self.leaf.weight)


class FrontEnd(Fast):
    """`Logmel`, with the `Cmvn` behind it."""

    kernel = "logmel"

    def __init__(self, leaf: Logmel) -> None:
        super().__init__()
        self.leaf = leaf
        self.cmvn: Cmvn | None = None
        self.tables: Tables | None = None

    def absorb(self, kind: str, value: object) -> bool:
        if kind == "cmvn" and self.cmvn is None and isinstance(value, Cmvn) and not value.more:
            self.cmvn = value
            return True
        return False

    def forward(self, audio: Tensor) -> Tensor:
        leaf, norm = self.leaf, self.cmvn
        if self.tables is None or self.tables.bank.device != audio.device:
            self.tables = tables(leaf.dims, leaf.window, *leaf.edges, audio.device)
        statistics = () if norm is None else (norm.mean, norm.deviation)
        return logmel(audio, self.tables, leaf.hop, *statistics)


class Fixed(Fast):
    """`Cmvn`, and `BatchNorm` by its running statistics: a scale and a shift for each channel."""

    kernel = "pointwise"

    def __init__(self, leaf: Cmvn | BatchNorm) -> None:
        super().__init__()
        self.leaf = leaf

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        leaf = self.leaf
        if isinstance(leaf, Cmvn):
            shape = (*leaf.mean.shape, *leaf.more)
            parts = [leaf.mean.view(shape), leaf.deviation.view(shape)]
            return pointwise([x, *parts], [Link("sub", 1), Link("div", 2)])
        parts = [one.view(-1, *leaf.more) for one in of_norm(leaf)]
        return pointwise([x, *parts], [Link("mul", 1), Link("add", 2)])


class Pointwise(Fast):
    """A chain of operators on single numbers."""

    kernel = "pointwise"

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.chain = tuple(chain)

    def forward(self, *operands: Tensor) -> Tensor:
        return pointwise(operands, self.chain)


class Gated(Fast):
    """A gated linear unit: one half of an axis gates the other."""

    kernel = "pointwise"

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(x.chunk(2, self.axis), [Link("swish_gate", 1)])


class Softmax(Fast):
    """Over an axis, or `rank` of them from it on; or its logarithm. PyTorch's for rows of more than
    `WIDEST` numbers."""

    kernel = "softmax"

    def __init__(self, axis: int, log: bool, rank: int = 1) -> None:
        super().__init__()
        self.axis, self.log, self.rank = axis, log, rank

    def forward(self, x: Tensor) -> Tensor:
        if self.rank > 1:
            flat = x.flatten(self.axis, self.axis + self.rank - 1).movedim(self.axis, -1)
            return self._of_rows(flat).movedim(-1, self.axis).reshape(x.shape)
        return self._of_rows(x.movedim(self.axis, -1)).movedim(-1, self.axis)

    def _of_rows(self, x: Tensor) -> Tensor:
        if x.shape[-1] <= WIDEST:
            return softmax(x, log=self.log)
        return x.log_softmax(-1) if self.log else x.softmax(-1)


class RunningSum(Fast):
    """A sum over time of the frames that are there."""

    kernel = "running_sum"

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Tensor, there: Tensor, start: Tensor | None = None) -> Tensor:
        return running_sum(x.contiguous(), there, self.axis, start)


def as_wide_as(
    q: Tensor, p: Tensor | None, shifts: Sequence[Tensor | None]
) -> tuple[Tensor, Tensor | None, Shifts]:
    """Rows of another width than what they are added to, which then spreads, are added here."""
    rows: list[Tensor | None] = [*shifts, None, None][:2]
    pair = [q, p]
    for n, (x, row) in enumerate(zip(pair, rows, strict=True)):
        if x is not None and row is not None and x.shape[-1] != row.shape[-1]:
            pair[n], rows[n] = x + row.flatten(), None
    assert pair[0] is not None
    return pair[0], pair[1], (rows[0], rows[1])


class Attention(Fast):
    """An attention over the interval of keys that each query sees.

    `bounds` are those of `intervals`; or `spans` are written down, a pair for each query. `low` is
    the distance at which `r` begins, queries and keys both counted from zero.
    """

    kernel = "attention"

    def __init__(
        self,
        heads: int,
        bounds: dict[str, int | None],
        spans: tuple[tuple[int, int], ...] | None = None,
        low: int | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.bounds, self.low = heads, bounds, low
        pairs = torch.tensor(spans or (), dtype=torch.int32).reshape(-1, 2)
        self.spans = None if spans is None else (pairs[:, 0].clone(), pairs[:, 1].clone())

    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        there: Tensor | None = None,
        p: Tensor | None = None,
        r: Tensor | None = None,
        *shifts: Tensor | None,
    ) -> Tensor:
        q, p, shifts = as_wide_as(q, p, shifts)
        flat, mixed = q.flatten(1, -2), v.shape[-1] // self.heads
        first, last = self._seen(flat, k)
        mask = None if there is None else there.expand(k.shape[:2])
        k, v = (x.expand(len(q), *x.shape[1:]) for x in (k, v))
        wide = max(x.shape[-1] for x in (q, v, q if p is None else p)) // self.heads
        given = self._as_wide(flat, wide, scaled=True), self._as_wide(k, wide)
        more: tuple[Tensor | None, Tensor | None] = None, None
        if p is not None and r is not None:
            more = self._as_wide(p, wide, scaled=True), self._as_wide(r, wide)
        value = self._as_wide(v, wide)
        y = attention(
            *given, value, self.heads, first, last, mask, *more,
            low=self.low, products=self.precision, shifts=self._wide_shifts(wide, shifts),
        )  # fmt: skip
        return self._as_mixed(y, mixed).reshape(*q.shape[:-1], self.heads * mixed)

    def _wide_shifts(self, wide: int, shifts: Shifts) -> Shifts:
        rows = (None if x is None else x.reshape(1, -1) for x in shifts)
        q, p = (None if x is None else self._as_wide(x, wide, scaled=True)[0] for x in rows)
        return q, p

    def _as_wide(self, x: Tensor, wide: int, *, scaled: bool = False) -> Tensor:
        """With zeros behind each head, which add nothing to products: the kernel knows one width.
        It divides scores by the root of that, so that queries are `scaled`."""
        own = x.shape[-1] // self.heads
        if own == wide:
            return x
        apart = x.reshape(*x.shape[:-1], self.heads, own)
        heads = functional.pad(apart, (0, wide - own)).flatten(-2)
        return heads * sqrt(wide / own) if scaled else heads

    def _as_mixed(self, y: Tensor, own: int) -> Tensor:
        """Without what is behind heads of this width."""
        apart = y.view(*y.shape[:-1], self.heads, y.shape[-1] // self.heads)
        return y if apart.shape[-1] == own else apart[..., :own].flatten(-2)

    def _seen(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        if self.spans is None:
            return intervals(q.shape[1], k.shape[1], device=q.device, **self.bounds)
        first, last = self.spans
        if first.device != q.device:  # once: a captured step copies nothing from the host
            self.spans = first, last = first.to(q.device), last.to(q.device)
        return first, last
