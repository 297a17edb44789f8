"""Look-ahead is exact: it equals what comes out when every frame waits for all that it reads."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import inf

import pytest

from asrc.compiler.facts import Facts
from asrc.compiler.facts.need import Timing, infer_timing
from asrc.compiler.graph import Graph
from asrc.compiler.types import Stream, Type
from asrc.tests.builders import Builder, ms
from asrc.tests.facts import normal_form
from asrc.tests.facts.brute import Brute
from asrc.tests.facts.networks import check_networks, random_network

BLOCKS = 20


def check_lookahead(graph: Graph) -> None:
    """Every phase of every value, and the figure that a user sees; both kinds of switch."""
    facts = Facts(graph)
    for quick in (False, True):
        brute = Brute(graph, quick=quick)
        timing = infer_timing(graph, facts.types, best=quick)
        for path in brute.period:
            assert waits(timing, path, brute) == brute_waits(path, brute), f"{path}, {quick=}"
            assert facts.lookahead(path, best=quick) == brute.lookahead(path), f"{path}, {quick=}"


def waits(timing: Timing, path: str, brute: Brute) -> list[Fraction | float]:
    """When each frame of the measured stretch is ready, in seconds, as inferred."""
    need = timing.needs[path]
    if need.worst == inf:
        return [inf for _ in brute.frames(path)]
    return [need.ready(i) * timing.tick for i in brute.frames(path)]


def brute_waits(path: str, brute: Brute) -> list[Fraction | float]:
    times = (brute.ready(path, i) for i in brute.frames(path))
    return [t if t == inf else Fraction(int(t), brute.per_second) for t in times]


def test_random_networks(runs: Callable[[int], int]) -> None:
    check_networks(check_lookahead, range(runs(2_000)))


@pytest.mark.long
@pytest.mark.parametrize("block", range(BLOCKS))
def test_many_random_networks(runs: Callable[[int], int], block: int) -> None:
    size = runs(100_000) // BLOCKS
    check_networks(check_lookahead, range(block * size, (block + 1) * size))


def check_normal_form(graph: Graph) -> None:
    facts = Facts(graph)
    for path, lookahead in normal_form.lookaheads(graph, dict(facts.types)).items():
        assert facts.lookahead(path) == lookahead, path


def test_the_normal_form_says_the_same(
    runs: Callable[[int], int], record_property: Callable[[str, object], None]
) -> None:
    seeds = range(runs(3_000))
    covered = [seed for seed in seeds if normal_form.is_covered(random_network(seed))]
    record_property("measured", f"{len(covered)} of {len(seeds)} networks have a normal form")
    assert len(covered) > len(seeds) // 8
    for seed in covered:
        check_networks(check_normal_form, range(seed, seed + 1))


# --- cases with figures that one can work out ---


def stream(period: int | Fraction = 10) -> tuple[Builder, str]:
    b = Builder()
    kind = Type((4,), Stream(Fraction(period) / 1000))
    return b, b("x", "input", type=kind)


def chunked(b: Builder, path: str, x: str, chunk: int) -> str:
    return b(path, "attend", x, x, x, heads=1, mask="chunk", chunk=ms(chunk))


def lookahead(b: Builder, path: str) -> Fraction | None:
    found = Facts(b.graph(out=path)).lookahead(path)
    return None if found is None else found * 1000


def test_one_right_frame_costs_a_whole_chunk() -> None:
    b, x = stream()
    first = chunked(b, "first", x, 40)
    assert lookahead(b, first) == 30
    ahead = b("ahead", "ahead", first, frames=1)
    assert lookahead(b, ahead) == 40  # the last frame of a chunk waits for the whole next one
    assert lookahead(b, chunked(b, "second", ahead, 40)) == 30 + 40


def test_chunks_of_two_sizes() -> None:
    """Frame 0 waits for the end of its 60ms, where a chunk of 40ms has just begun."""
    b, x = stream()
    both = chunked(b, "outer", chunked(b, "inner", x, 40), 60)
    facts = Facts(b.graph(out=both))
    assert facts.lookahead(both) == Fraction(70, 1000)
    assert facts.timing.needs[both].delays == (7, 6, 5, 4, 3, 2, 5, 4, 3, 2, 1, 0)


def test_upsampled_frames_wait_for_the_slow_frame() -> None:
    b, x = stream(40)
    fast = b("fast", "upsample", x, factor=4)
    assert Facts(b.graph(out=fast)).timing.needs[fast].delays == (3, 2, 1, 0)
    assert lookahead(b, fast) == 30


def test_stride_keeps_the_last_frame() -> None:
    b, x = stream()
    slow = b("slow", "stride", x, factor=3)
    assert lookahead(b, slow) == 0
    assert lookahead(b, b("ahead", "ahead", slow, frames=1)) == 30


@pytest.mark.parametrize(("by", "expected"), [(1, 20), (2, 20), (3, 0), (4, 0)])
def test_a_dilated_window_clipped_by_its_chunk(by: int, expected: int) -> None:
    """Of three frames in a chunk, taps three or more frames ahead are never there."""
    b, x = stream()
    y = b("y", "window", x, past=0, future=2, by=by, in_chunk=True, chunk=ms(30))
    assert lookahead(b, y) == expected


def test_recurrences_that_pass_on_their_past_state() -> None:
    """Each layer reads `h[t-1]` of the one below: inference settles layer by layer."""
    b, x = stream()
    for layer in range(8):
        before = b(f"{layer}.delay", "delay", f"{layer}.h", frames=1)
        b(f"{layer}.h", "dense", before, x, n=4)
        x = before
    assert lookahead(b, x) == 0
    assert Facts(b.graph(out=x)).timing.needs[x].delays == (-8,)


def test_full_attention_has_no_bound() -> None:
    b, x = stream()
    y = b("y", "attend", x, x, x, heads=1, mask="full")
    assert lookahead(b, y) is None
    assert lookahead(b, b("z", "stride", y, factor=2)) is None
