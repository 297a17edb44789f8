"""Operators on single numbers, one after the other in registers: a chain is read and written once.

A chain begins with its first operand; each link is a function of one number, or brings in another
operand or a number. Operands broadcast as PyTorch's do, where they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import triton
import triton.language as tl
from torch import Tensor

from .activations import REFERENCES, activate
from .cost import Cost
from .overlap import early, follow

MOST = 4
"""Operands of a chain."""
FAR = 1 << 30
"""Bytes from which on places are int64, which take several times as long to divide."""
AXES = 5
"""Axes of a result, as far as they cannot be joined."""
BINARY = ("add", "sub", "mul", "div", "rsub", "rdiv", "swish_gate")
"""`rsub` and `rdiv` have the chain as their second operand; `swish_gate` multiplies the chain with
the sigmoid of the operand, as a gated linear unit does (Dauphin et al. 2017)."""


@dataclass(frozen=True, slots=True)
class Link:
    """`kind` is one of `REFERENCES` or `BINARY`; the latter's operand is that of a number, or
    `value`."""

    kind: str
    operand: int | None = None
    value: float = 0.0

    @property
    def place(self) -> int:
        """As the kernel has it: the operand's, -2 for a number, -1 for a function."""
        if self.operand is not None:
            return self.operand
        return -2 if self.kind in BINARY else -1


Chain: TypeAlias = Sequence[Link]


def pointwise(operands: Sequence[Tensor], chain: Chain) -> Tensor:
    """The chain, in the first operand's dtype. Raises ValueError for more than `MOST` operands."""
    if len(operands) > MOST:
        raise ValueError(f"{len(operands)} operands: at most {MOST} at once")
    shape = torch.broadcast_shapes(*(x.shape for x in operands))
    y = torch.empty(shape, dtype=operands[0].dtype, device=operands[0].device)
    if y.numel() == 0:
        return y
    sizes, strides = _joined(shape, [x.expand(shape).stride() for x in operands])
    given = [operands[min(n, len(operands) - 1)] for n in range(MOST)]
    rows = [strides[min(n, len(operands) - 1)] for n in range(MOST)]
    block, far = 1024, any(x.untyped_storage().nbytes() >= FAR for x in (*operands, y))
    _chain[(triton.cdiv(y.numel(), block),)](
        *given, y, y.numel(), *sizes[1:], *(step for row in rows for step in row),
        KINDS=tuple(link.kind for link in chain),
        OPERANDS=tuple(link.place for link in chain),
        VALUES=tuple(float(link.value) for link in chain), LINKS=len(chain), BLOCK=block, WIDE=far,
        **early(y),
    )  # fmt: skip
    return y


def reference(operands: Sequence[Tensor], chain: Chain) -> Tensor:
    """The same in PyTorch."""
    found = operands[0]
    for link in chain:
        other = link.value if link.operand is None else operands[link.operand]
        found = _link(found, link.kind, other)
    return found.expand(torch.broadcast_shapes(*(x.shape for x in operands)))


def cost(operands: Sequence[Tensor], chain: Chain) -> Cost:
    shape = torch.broadcast_shapes(*(x.shape for x in operands))
    moved = sum(x.numel() * x.element_size() for x in operands)
    numbers = shape.numel()
    return Cost(moved + numbers * operands[0].element_size(), float(len(chain) * numbers))


def _link(x: Tensor, kind: str, other: Tensor | float) -> Tensor:
    if kind in REFERENCES:
        return REFERENCES[kind](x)
    if kind in ("rsub", "rdiv"):
        return other - x if kind == "rsub" else other / x
    if kind == "swish_gate":
        return x * torch.sigmoid(torch.as_tensor(other))
    return {"add": x + other, "sub": x - other, "mul": x * other, "div": x / other}[kind]


def _joined(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]]]:
    """Sizes and strides of exactly `AXES` axes: neighbours that all operands step through as
    through one are joined. Raises ValueError where more are left."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis in range(len(shape) - 1, -1, -1):
        if shape[axis] == 1:
            continue
        if sizes and all(
            s[axis] == sizes[0] * own[0] for s, own in zip(strides, steps, strict=True)
        ):
            sizes[0] *= shape[axis]
            continue
        sizes.insert(0, shape[axis])
        for s, own in zip(strides, steps, strict=True):
            own.insert(0, s[axis])
    if len(sizes) > AXES:
        raise ValueError(f"{len(sizes)} axes that cannot be joined: at most {AXES}")
    lack = AXES - len(sizes)
    return [1] * lack + sizes, [[0] * lack + own for own in steps]


@triton.jit
def _combined(acc, other, KIND: tl.constexpr):
    if KIND == "add":
        acc = acc + other
    elif KIND == "sub":
        acc = acc - other
    elif KIND == "mul":
        acc = acc * other
    elif KIND == "div":
        acc = acc / other
    elif KIND == "rsub":
        acc = other - acc
    elif KIND == "rdiv":
        acc = other / acc
    else:
        tl.static_assert(KIND == "swish_gate")
        acc = acc * tl.sigmoid(other)
    return acc


@triton.jit
def _operand(x, a, b, c, d, e, inside, sa, sb, sc, sd, se):
    return tl.load(x + a * sa + b * sb + c * sc + d * sd + e * se, inside, 1.0).to(tl.float32)


@triton.jit(do_not_specialize_on_alignment=("n1", "n2", "n3"))
def _chain(
    x0, x1, x2, x3, y, N, n1, n2, n3, n4,
    a0, b0, c0, d0, e0, a1, b1, c1, d1, e1, a2, b2, c2, d2, e2, a3, b3, c3, d3, e3,
    KINDS: tl.constexpr, OPERANDS: tl.constexpr, VALUES: tl.constexpr, LINKS: tl.constexpr,
    BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    follow()
    place = tl.program_id(0).to(tl.int64 if WIDE else tl.int32) * BLOCK + tl.arange(0, BLOCK)
    inside = place < N
    e, left = place % n4, place // n4
    d, left = left % n3, left // n3
    c, left = left % n2, left // n2
    b, a = left % n1, left // n1
    acc = _operand(x0, a, b, c, d, e, inside, a0, b0, c0, d0, e0)
    for link in tl.static_range(LINKS):
        if OPERANDS[link] == -1:
            acc = activate(acc, tl.constexpr(KINDS[link]))
        elif OPERANDS[link] == -2:
            acc = _combined(acc, VALUES[link], tl.constexpr(KINDS[link]))
        elif OPERANDS[link] == 0:
            other = _operand(x0, a, b, c, d, e, inside, a0, b0, c0, d0, e0)
            acc = _combined(acc, other, tl.constexpr(KINDS[link]))
        elif OPERANDS[link] == 1:
            other = _operand(x1, a, b, c, d, e, inside, a1, b1, c1, d1, e1)
            acc = _combined(acc, other, tl.constexpr(KINDS[link]))
        elif OPERANDS[link] == 2:
            other = _operand(x2, a, b, c, d, e, inside, a2, b2, c2, d2, e2)
            acc = _combined(acc, other, tl.constexpr(KINDS[link]))
        else:
            other = _operand(x3, a, b, c, d, e, inside, a3, b3, c3, d3, e3)
            acc = _combined(acc, other, tl.constexpr(KINDS[link]))
    tl.store(y + place, acc.to(y.dtype.element_ty), inside)
