"""Attention by the accelerator's operators, over whole utterances or a step's frames.

The integers are those of `backends/nna/attention.py`: there a step's keys alone, here perhaps all
of an utterance; what a query does not see adds nothing, to the last bit, so that both agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ....compiler.graph import Node
from ....compiler.types import Type
from ...nna.formats import PROBABILITY, Code, beta_of
from ...nna.kernels import Site
from ...nna.recipes import RECIPES, Scaled
from ..attention import in_heads
from .exact import exactly
from .kernel import Kernel
from .kernels import KERNELS
from .leaves import Ranges
from .rounding import Rescaler, codes_of, range_grad, reals_of
from .softmax import SoftmaxTables, as_tensor


class IntegerAttention(nn.Module):
    """An attention whose ranges belong to other modules."""

    def __init__(self, ranges: Ranges, node: Node, out: Type) -> None:
        super().__init__()
        self.ranges, self.node, self.width = ranges, node, out.size
        self.heads = int(str(node.attrs["heads"]))
        self.made: tuple[tuple[int, ...], Recipes] | None = None

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        seen: Tensor,
        p: Tensor | None = None,
        r: Tensor | None = None,
        apart: Tensor | None = None,
    ) -> Tensor:
        """`[B, Q, W]` of queries that see keys where `seen`, `[B, Q, K]`, says so.

        `apart`, `[Q, K]`, is the row of `r` for each pair.
        """
        if q.shape[1] == 0 or k.shape[1] == 0:
            return q.new_zeros(q.shape)
        given = (q, k, v) if p is None else (q, k, v, p, r)
        mine = self.ranges.behind(self.node.path)
        return _Attended.apply(self.recipes(), self.heads, seen, apart, mine, *given)  # type: ignore[no-any-return,no-untyped-call]

    def recipes(self) -> Recipes:
        versions = self.ranges.versions([self.node.path, *self.node.inputs])
        if self.made is None or self.made[0] != versions:
            ins = [self.ranges.of(path) for path in self.node.inputs]
            inner = self.ranges.within(self.node, self.width)
            made = Recipes.of(ins, inner, self.ranges.of(self.node.path), self.node, self.width)
            self.made = versions, made
        return self.made[1]


@dataclass(frozen=True)
class Recipes:
    """The formats of an attention and what they make of its operators."""

    ins: tuple[Code, ...]
    inner: Mapping[str, Code]
    out: Code
    beta: float
    content: Rescaler
    position: Rescaler | None
    scores: Kernel
    shares: SoftmaxTables
    mixed: Rescaler

    @staticmethod
    def of(
        ins: list[Code], inner: Mapping[str, Code], out: Code, node: Node, width: int
    ) -> Recipes:
        q, k, v, *rest = ins
        beta = beta_of(node, width)
        scores = inner["scores"]
        parts = [inner[name] for name in ("content", "position") if name in inner]
        return Recipes(
            tuple(ins),
            inner,
            out,
            beta,
            _product(q, k, inner["content"]),
            _product(rest[0], rest[1], inner["position"]) if rest else None,
            _kernel("add" if rest else "requantise", parts, scores),
            SoftmaxTables.of(scores, beta),
            _product(PROBABILITY, v, out),
        )


def _product(first: Code, second: Code, out: Code) -> Rescaler:
    recipe = RECIPES["matmul"]([as_tensor(first), as_tensor(second)], as_tensor(out), {})
    return Rescaler(cast("Scaled", recipe).by)


def _kernel(kind: str, ins: list[Code], out: Code) -> Kernel:
    formats = [as_tensor(code) for code in ins]
    recipe = RECIPES[kind](formats, as_tensor(out), {})
    return KERNELS[kind](Site(kind, formats, as_tensor(out), recipe, {}))


class _Attended(torch.autograd.Function):
    @staticmethod
    @exactly
    def forward(
        ctx: Any,
        recipes: Recipes,
        heads: int,
        seen: Tensor,
        apart: Tensor | None,
        mine: Tensor,
        *given: Tensor,
    ) -> Tensor:
        codes = [codes_of(x, code) for x, code in zip(given, recipes.ins, strict=True)]
        q, k, v, *rest = (_centred(x, c, heads) for x, c in zip(codes, recipes.ins, strict=True))
        content = _scaled(recipes.content, q @ k.transpose(-1, -2), recipes.inner["content"])
        parts = [content]
        if rest and apart is not None and recipes.position is not None:
            every = rest[0] @ rest[1].transpose(-1, -2)
            position = _scaled(recipes.position, every, recipes.inner["position"])
            wide = apart.expand(*position.shape[:-1], apart.shape[-1])
            parts.append(position.gather(-1, wide))
        scores = recipes.scores.run(parts)
        visible = seen.unsqueeze(-3).expand(scores.shape)
        shares = recipes.shares(scores, visible)
        mixed = _scaled(recipes.mixed, (shares + 128).to(v.dtype) @ v, recipes.out)
        ctx.recipes, ctx.heads = recipes, heads
        ctx.save_for_backward(mine, scores, visible, shares, mixed, apart, *parts, *codes)
        ctx.parts = len(parts)
        return reals_of(mixed.transpose(-2, -3).flatten(-2), recipes.out)

    @staticmethod
    @exactly
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        recipes: Recipes = ctx.recipes
        mine, scores, visible, shares, mixed, apart, *saved = ctx.saved_tensors
        parts, codes = saved[: ctx.parts], saved[ctx.parts :]
        q, k, v, *rest = (
            in_heads(reals_of(x, c), ctx.heads) for x, c in zip(codes, recipes.ins, strict=True)
        )
        back, by_range = in_heads(grad, ctx.heads), None
        if ctx.needs_input_grad[4]:
            low, high = ((back * (mixed == limit)).sum() for limit in (-128, 127))
            by_range = range_grad(mine, recipes.out, low, high)
        back = _held(back, mixed)
        share = reals_of(shares, PROBABILITY)
        by_share = back @ v.transpose(-1, -2)
        by_score = recipes.beta * share * (by_share - (by_share * share).sum(-1, keepdim=True))
        by_score = by_score * (visible & (scores > recipes.shares.floor) & (scores < 127))
        of_content = _held(by_score, parts[0])
        grads = [of_content @ k, of_content.transpose(-1, -2) @ q, share.transpose(-1, -2) @ back]
        if rest:
            p, r = rest
            of_position = _held(by_score, parts[1])
            every = of_position.new_zeros(*of_position.shape[:-1], r.shape[-2])
            every.scatter_add_(-1, apart.expand(of_position.shape), of_position)
            by_r = every.transpose(-1, -2) @ p
            grads += [every @ r, by_r.sum(0, keepdim=True) if len(r) < len(by_r) else by_r]
        return None, None, None, None, by_range, *(x.transpose(-2, -3).flatten(-2) for x in grads)


def _centred(codes: Tensor, code: Code, heads: int) -> Tensor:
    """`[B, heads, T, d]`, exact in products of up to 2**24."""
    x = in_heads(codes - code.zero, heads)
    exact = x.shape[-1] * 255 * 255 <= 1 << 24
    return x.to(torch.float32 if exact else torch.float64)


def _scaled(by: Rescaler, sums: Tensor, code: Code) -> Tensor:
    found = by(sums.round().to(torch.int64)) + code.zero
    return found.clamp(-128, 127).to(torch.int32)


def _held(grad: Tensor, codes: Tensor) -> Tensor:
    """Zero where the codes are at an end of their range."""
    return grad * ((codes > -128) & (codes < 127))
