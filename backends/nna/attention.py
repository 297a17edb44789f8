"""Attention of a step: masks by the smaller of two codes, positions by a skew.

Scores are int8: content and position each a product of matrices, then their sum. What a query must
not see is brought to the lowest code; no score that it may see comes nearer to that than `GAP`,
so that the softmax of the accelerator gives it nothing, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compiler.graph import Node
from .build import Builder
from .formats import PROBABILITY, Code, beta_of, floor_of
from .lowering import Frames, Lowering, Sight, sight


def attend(work: Lowering, node: Node, frames: Frames) -> str:
    """`[1, Q, 1, W]`: each head's mixture of values, side by side."""
    seen = sight(work.facts, node.path, frames)
    made = _Attention(work, node, seen)
    q = work.take(node.inputs[0], frames)
    k, v = (work.take(path, seen.keys) for path in node.inputs[1:3])
    scores = made.product("content", made.heads(q), made.heads(k))
    if len(node.inputs) == 5:
        p = made.heads(work.take(node.inputs[3], frames))
        r = made.heads(work.take(node.inputs[4], seen.distances[::-1]))
        where = made.skewed(made.product("position", p, r))
        scores = work.build.pair("add", made.name("scores"), scores, where, made.code("scores"))
    return made.mixed(made.shares(scores), made.heads(v))


@dataclass(frozen=True)
class _Attention:
    work: Lowering
    node: Node
    seen: Sight

    @property
    def build(self) -> Builder:
        return self.work.build

    def name(self, what: str) -> str:
        return f"{self.node.path}.{what}"

    def code(self, what: str) -> Code:
        return self.work.codes[self.name(what)]

    def heads(self, tensor: str) -> str:
        """`[1, heads, rows, d]` of `[1, rows, 1, W]`."""
        _, rows, _, width = self.build.shape(tensor)
        count = int(str(self.node.attrs["heads"]))
        parts = (1, rows, count, width // count)
        split = self.build.same("reshape", f"{tensor}.split", tensor, parts)
        return self.turned(split)

    def turned(self, tensor: str) -> str:
        """The two axes in the middle change places."""
        one, rows, count, width = self.build.shape(tensor)
        if 1 in (rows, count):
            return self.build.same("reshape", f"{tensor}.turned", tensor, (one, count, rows, width))
        shape = (one, count, rows, width)
        return self.build.same("transpose", f"{tensor}.turned", tensor, shape, order=(0, 2, 1, 3))

    def product(self, what: str, first: str, second: str) -> str:
        """Rows of one by rows of the other, head by head."""
        size = (*self.build.shape(first)[:3], self.build.shape(second)[2])
        name, code = self.name(what), self.code(what)
        return self.build.op("matmul", name, [first, second], size, code, turned=True)

    def skewed(self, scores: str) -> str:
        """`[1, heads, Q, K]` of scores by distance, falling: each query one place further on.

        Query t stands `Q - 1 - t` places in; rows that are one shorter put that right.
        """
        build, (_, heads, queries, wide) = self.build, self.build.shape(scores)
        if queries == 1:
            return scores
        shape = (1, heads, 1, queries * wide)
        flat = build.same("reshape", self.name("flat"), scores, shape)
        behind = build.slice(flat, 3, queries - 1, queries * (wide - 1))
        shape = (1, heads, queries, wide - 1)
        rows = build.same("reshape", self.name("skewed"), behind, shape)
        return build.slice(rows, 3, 0, len(self.seen.keys))

    def shares(self, scores: str) -> str:
        """Probabilities: nothing for what is not seen."""
        build, code = self.build, self.code("scores")
        scores = build.as_code(scores, code)
        shape, beta = build.shape(scores), beta_of(self.node, self.width)
        least = np.full((1, 1, 1, 1), floor_of(code, beta), np.int8)
        floor = build.coded(self.name("floor"), least, code)
        raised = build.op("maximum", self.name("raised"), [scores, floor], shape, code)
        masked = build.op("minimum", self.name("masked"), [raised, self.mask()], shape, code)
        return build.op("softmax", self.name("shares"), [masked], shape, PROBABILITY, beta=beta)

    @property
    def width(self) -> int:
        return self.work.facts.types[self.node.path].size

    def mask(self) -> str:
        """`[1, 1, Q, K]`: the highest code where a query sees a key that is there, else the
        lowest."""
        code, keys = self.code("scores"), self.seen.keys
        place = np.arange(len(keys))
        inside = [(place >= first) & (place <= last) for first, last in self.seen.seen]
        codes = np.where(np.stack(inside), 127, -128).astype(np.int8)[None, None]
        allowed = self.build.coded(self.name("inside"), codes, code)
        there = self.work.seen(self.node.path, self.node.inputs[1], keys, code)
        return self.build.op("minimum", self.name("mask"), [allowed, there], codes.shape, code)

    def mixed(self, shares: str, values: str) -> str:
        """`[1, Q, 1, W]`."""
        build, (one, heads, rows, _) = self.build, self.build.shape(shares)
        width = build.shape(values)[3]
        code, size = self.work.codes[self.node.path], (one, heads, rows, width)
        found = build.op("matmul", self.name("mixed"), [shares, values], size, code)
        shape = (1, rows, 1, heads * width)
        return build.same("reshape", self.node.path, self.turned(found), shape)
