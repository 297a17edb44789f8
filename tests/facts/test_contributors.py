"""Contributors: the values on the critical path, whose seconds sum to the look-ahead."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from asrc.compiler.facts import Facts
from asrc.compiler.graph import Graph
from asrc.compiler.types import Stream, Type
from asrc.tests.builders import Builder, ms
from asrc.tests.facts.networks import check_networks

TICK = Fraction(1, 100)


def check_contributors(graph: Graph) -> None:
    facts = Facts(graph)
    for path in facts.timing.needs:
        lookahead, found = facts.lookahead(path), facts.contributors(path)
        if lookahead is None:
            assert found, path
            assert {c.seconds for c in found} == {None}, path
        else:
            assert sum(c.seconds or 0 for c in found) == lookahead, path
            check_path(graph, path, [c.path for c in found])


def check_path(graph: Graph, end: str, names: list[str]) -> None:
    """Each name stands before the last one, and none stands there twice."""
    assert len(set(names)) == len(names), names
    for name in names:
        assert name in graph.ancestors([end]), (end, name)
        end = name


def test_random_networks(runs: Callable[[int], int]) -> None:
    check_networks(check_contributors, range(runs(2_000)))


def stream() -> tuple[Builder, str]:
    b = Builder()
    return b, b("x", "input", type=Type((4,), Stream(TICK)))


def listed(b: Builder, path: str) -> list[tuple[str, Fraction | None]]:
    found = Facts(b.graph(out=path)).contributors(path)
    return [(c.path, c.seconds) for c in found]


def test_from_the_output_backwards() -> None:
    b, x = stream()
    a = b("a", "attend", x, x, x, heads=1, mask="chunk", chunk=ms(40))
    y = b("y", "window", a, past=0, future=2)
    assert listed(b, b("z", "dense", y, n=4)) == [("y", 2 * TICK), ("a", 3 * TICK)]


def test_a_recurrence_is_not_a_reason_to_wait() -> None:
    """`h[t-1]` of the same chunk is ready when `a` is; the way round the loop explains nothing."""
    b, x = stream()
    a = b("a", "attend", x, x, x, heads=1, mask="chunk", chunk=ms(60))
    before = b("before", "delay", "h", frames=1)
    h = b("h", "dense", before, a, n=4)
    assert listed(b, b("s", "stride", h, factor=2)) == [("a", 4 * TICK)]


def test_without_bound() -> None:
    b, x = stream()
    first = b("first", "attend", x, x, x, heads=1, mask="full")
    assert listed(b, b("later", "ahead", first, frames=3)) == [("first", None)]


def test_nothing_to_wait_for() -> None:
    b, x = stream()
    assert listed(b, b("y", "window", x, past=4, future=0)) == []
