"""Attention of a step: heads one by one, masks by the smaller of two codes, positions by a skew.

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
    heads = int(str(node.attrs["heads"]))
    q, k, v = (work.take(node.inputs[0], frames), *(work.take(p, seen.keys) for p in _pair(node)))
    p, r = "", ""
    if len(node.inputs) == 5:
        p = work.take(node.inputs[3], frames)
        r = work.take(node.inputs[4], seen.distances[::-1])
    mask = _mask(work, node, seen)
    made = [_Head(work, node, seen, mask, n).mixed(q, k, v, p, r) for n in range(heads)]
    return work.build.concat(node.path, made, 3)


def _pair(node: Node) -> tuple[str, str]:
    return node.inputs[1], node.inputs[2]


def _mask(work: Lowering, node: Node, seen: Sight) -> str:
    """`[1, 1, Q, K]`: the highest code where a query sees a key that is there, else the lowest."""
    code = work.codes[f"{node.path}.scores"]
    place = np.arange(len(seen.keys))
    inside = [(place >= first) & (place <= last) for first, last in seen.seen]
    codes = np.where(np.stack(inside), 127, -128).astype(np.int8)[None, None]
    allowed = work.build.coded(f"{node.path}.inside", codes, code)
    there = work.seen(node.path, node.inputs[1], seen.keys, code)
    shape = (1, 1, len(seen.queries), len(seen.keys))
    return work.build.op("minimum", f"{node.path}.mask", [allowed, there], shape, code)


@dataclass(frozen=True)
class _Head:
    work: Lowering
    node: Node
    seen: Sight
    mask: str
    number: int

    @property
    def build(self) -> Builder:
        return self.work.build

    def name(self, what: str) -> str:
        return f"{self.node.path}.{what}.{self.number}"

    def code(self, what: str) -> Code:
        return self.work.codes[f"{self.node.path}.{what}"]

    def part(self, tensor: str) -> str:
        """`[1, 1, rows, d]`: this head's features of `[1, rows, 1, W]`."""
        shape = self.build.shape(tensor)
        width = shape[3] // int(str(self.node.attrs["heads"]))
        mine = self.build.slice(tensor, 3, self.number * width, width)
        return self.build.same("reshape", f"{mine}.rows", mine, (1, 1, shape[1], width))

    def product(self, what: str, first: str, second: str) -> str:
        """Rows of one by rows of the other."""
        size = (1, 1, self.build.shape(first)[2], self.build.shape(second)[2])
        name, code = self.name(what), self.code(what)
        return self.build.op("matmul", name, [first, second], size, code, turned=True)

    def mixed(self, q: str, k: str, v: str, p: str, r: str) -> str:
        """`[1, Q, 1, d]`."""
        scores = self.product("content", self.part(q), self.part(k))
        if p:
            where = self.skewed(self.product("position", self.part(p), self.part(r)))
            scores = self.build.pair("add", self.name("scores"), scores, where, self.code("scores"))
        shares = self.shares(self.build.as_code(scores, self.code("scores")))
        values = self.part(v)
        rows, width = self.build.shape(shares)[2], self.build.shape(values)[3]
        code = self.work.codes[self.node.path]
        found = self.build.op(
            "matmul", self.name("mixed"), [shares, values], (1, 1, rows, width), code
        )
        return self.build.same("reshape", self.name("row"), found, (1, rows, 1, width))

    def shares(self, scores: str) -> str:
        build, shape, code = self.build, self.build.shape(scores), self.build.code(scores)
        beta = beta_of(self.node, self.work.facts.types[self.node.path].size)
        least = np.full((1, 1, 1, 1), floor_of(code, beta), np.int8)
        floor = build.coded(f"{self.node.path}.floor", least, code)
        raised = build.op("maximum", self.name("raised"), [scores, floor], shape, code)
        masked = build.op("minimum", self.name("masked"), [raised, self.mask], shape, code)
        return build.op("softmax", self.name("shares"), [masked], shape, PROBABILITY, beta=beta)

    def skewed(self, scores: str) -> str:
        """`[1, 1, Q, K]` of scores by distance, falling: each query one place further on.

        Query t stands `Q - 1 - t` places in; rows that are one shorter put that right.
        """
        build, (_, _, queries, wide) = self.build, self.build.shape(scores)
        keys = len(self.seen.keys)
        if queries == 1:
            return scores
        flat = build.same("reshape", self.name("flat"), scores, (1, 1, 1, queries * wide))
        behind = build.slice(flat, 3, queries - 1, queries * (wide - 1))
        rows = build.same("reshape", self.name("skewed"), behind, (1, 1, queries, wide - 1))
        return build.slice(rows, 3, 0, keys)
