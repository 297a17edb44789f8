"""Multiply-accumulates: a count over an explicit stretch of frames gives the same rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import cast

from asrc.compiler.facts import Cost, Facts
from asrc.compiler.graph import Graph, Node
from asrc.compiler.types import Stream, Type
from asrc.tests.builders import Builder, ms
from asrc.tests.facts.brute import Brute
from asrc.tests.facts.networks import check_networks


def products(node: Node, ins: Sequence[Type], out: Type, keys: int) -> int:
    """Products in the contractions of one frame; `keys` is what a query sees at most."""
    if node.op == "dense":
        return sum(out.size * x.size for x in ins)
    if node.op == "depthwise":
        return ins[0].size
    if node.op == "convf":
        planes = ins[0].dims[0] if len(ins[0].dims) == 2 else 1
        kernel, groups = (cast(int, node.attrs[name]) for name in ("kernel", "groups"))
        return out.size * kernel * planes // groups * (ins[0].taps or 1)
    if node.op == "attend":
        scores = 2 if len(ins) == 5 else 1
        return keys * (scores * ins[0].size + ins[2].size)
    return 0


def check_macs(graph: Graph) -> None:
    facts, brute = Facts(graph), Brute(graph)
    for path in brute.period:
        found, counted = facts.macs.get(path, Cost()), count(brute, path, facts.types)
        if counted is None:
            assert found.unbounded, path
        else:
            assert found == Cost(second=counted), path


def count(brute: Brute, path: str, types: Mapping[str, Type]) -> Fraction | None:
    """Products a second over the measured stretch; `None` if a query may see any number of keys."""
    node, frames = brute.graph[path], brute.frames(path)
    demanded = sum((path, i) in brute.demanded for i in frames)
    if not demanded:
        return Fraction(0)
    if node.op == "attend" and (node.attrs["mask"] == "full" or node.attrs["left"] is None):
        return None
    keys = max(len(brute.reads(path, i)[1]) for i in frames) if node.op == "attend" else 0
    each = products(node, [types[p] for p in node.inputs], types[path], keys)
    return Fraction(each * demanded * brute.per_second, brute.hyper)


def test_random_networks(runs: Callable[[int], int]) -> None:
    check_networks(check_macs, range(runs(1_000)))


def stream() -> tuple[Builder, str]:
    b = Builder()
    return b, b("x", "input", type=Type((4,), Stream(Fraction(1, 100))))


def test_frames_that_a_stride_drops_cost_nothing() -> None:
    b, x = stream()
    y = b("y", "dense", b("window", "window", x, past=2, future=0), n=8)
    facts = Facts(b.graph(out=b("s", "stride", y, factor=4)))
    assert facts.macs["y"] == Cost(second=Fraction(8 * 4 * 3 * 25))


def test_attention_counts_the_keys_of_chunk_and_left_context() -> None:
    b, x = stream()
    y = b("y", "attend", x, x, x, heads=1, mask="chunk", chunk=ms(40), left=ms(80))
    assert Facts(b.graph(out=y)).macs["y"] == Cost(second=Fraction((4 + 8) * (4 + 4) * 100))


def test_a_map_of_constants_costs_once_an_utterance() -> None:
    b, x = stream()
    w = b("w", "dense", b("weight", "weight", dims=(6,)), n=4)
    facts = Facts(b.graph(out=b("out", "add", x, w)))
    assert facts.macs == {"w": Cost(utterance=Fraction(24))}
