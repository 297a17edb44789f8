"""Streaming state and demand are exact: they equal a count of frames, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import inf

import pytest

from asrc.compiler.facts import Facts
from asrc.compiler.facts.demand import infer_demand
from asrc.compiler.facts.need import infer_timing
from asrc.compiler.facts.state import Held
from asrc.compiler.graph import Graph
from asrc.compiler.types import Stream, Type
from asrc.tests.builders import Builder, ms
from asrc.tests.facts.brute import Brute
from asrc.tests.facts.networks import check_networks

BLOCKS = 20


def check_state(graph: Graph) -> None:
    facts = Facts(graph)
    for step in (True, False):
        brute = Brute(graph, chunked=step, patient=True)
        check_demand(facts, brute)
        check_held(facts, brute)


def check_demand(facts: Facts, brute: Brute) -> None:
    timing = infer_timing(facts.graph, facts.types, quantum=brute.chunked)
    demand = infer_demand(facts.graph, timing)
    for path in brute.period:
        phases = demand[path]
        inferred = {i for i in brute.frames(path) if phases[i % len(phases)]}
        marked = {i for i in brute.frames(path) if (path, i) in brute.demanded}
        assert inferred == marked, f"demand of {path}, {brute.chunked=}"


def check_held(facts: Facts, brute: Brute) -> None:
    """Values that are computed only after the stream has ended have no state to compare."""
    entries = facts.held_step if brute.chunked else facts.held_frame
    needs = facts.timing.needs
    inferred = {(h.path, h.kind): h.frames for h in entries if needs[h.path].worst < inf}
    counted = {buffer: frames for buffer, frames in brute.held().items() if frames != 0}
    assert inferred == counted, f"{brute.chunked=}"
    if brute.chunked and brute.step:
        assert facts.step_seconds == Fraction(brute.step, brute.per_second)


def test_random_networks(runs: Callable[[int], int]) -> None:
    check_networks(check_state, range(runs(2_000)))


@pytest.mark.long
@pytest.mark.parametrize("block", range(BLOCKS))
def test_many_random_networks(runs: Callable[[int], int], block: int) -> None:
    size = runs(100_000) // BLOCKS
    check_networks(check_state, range(block * size, (block + 1) * size))


# --- cases with figures that one can work out ---


def stream() -> tuple[Builder, str]:
    b = Builder()
    return b, b("x", "input", type=Type((4,), Stream(Fraction(1, 100))))


def frames(held: tuple[Held, ...]) -> dict[str, int | None]:
    return {entry.path: entry.frames for entry in held}


def test_windows_of_one_value_share_its_frames() -> None:
    b, x = stream()
    short = b("short", "dense", b("w2", "window", x, past=2, future=0), n=4)
    long = b("long", "dense", b("w5", "window", x, past=5, future=0), n=4)
    facts = Facts(b.graph(out=b("out", "add", short, long)))
    assert frames(facts.held_frame) == {"x": 5}
    (entry,) = facts.held_frame
    assert (entry.values, entry.readers) == (20, ("short", "long"))


def test_a_skip_path_waits_for_the_path_that_looks_ahead() -> None:
    """`y` reads three frames ahead, so three frames of `a` wait to meet it, besides `y`'s past."""
    b, x = stream()
    a = b("a", "dense", x, n=4)
    y = b("y", "dense", b("window", "window", x, past=1, future=3), n=4)
    facts = Facts(b.graph(out=b("out", "add", a, y)))
    assert frames(facts.held_frame) == {"x": 4, "a": 3}


def test_a_chunk_frees_its_frames_within_the_step() -> None:
    b, x = stream()
    q = b("q", "dense", x, n=4)
    y = b("y", "attend", q, x, x, heads=1, mask="chunk", chunk=ms(40), left=8)
    facts = Facts(b.graph(out=b("out", "add", y, x)))
    assert frames(facts.held_step) == {"x": 8}
    assert frames(facts.held_frame) == {"x": 8}
    assert facts.step_seconds == Fraction(40, 1000)


def test_attention_over_strided_frames_keeps_only_those() -> None:
    b, x = stream()
    a = b("a", "dense", x, n=4)
    b("h.delay", "delay", "h", frames=1)
    h = b("h", "dense", a, "h.delay", n=4)  # every frame of h is needed, for the recurrence
    s = b("s", "stride", h, factor=2)
    y = b("y", "attend", s, s, s, heads=1, mask="causal", left=6)
    held = {(e.path, e.kind): e.frames for e in Facts(b.graph(out=y)).held_step}
    assert held == {("h", "recurrent"): 1, ("h", "history"): 6}


def test_a_recurrence_carries_its_state_and_not_what_is_made_of_it() -> None:
    """`a` could be made as soon as `h` is there, but a step machine makes it in its own step."""
    b, x = stream()
    b("h.delay", "delay", "h", frames=1)
    b("a", "dense", "h.delay", n=64)
    h = b("h", "dense", "a", x, n=8)
    held = {(e.path, e.kind): e.values for e in Facts(b.graph(out=h)).held_step}
    assert held == {("h", "recurrent"): 8}


def test_a_dilated_window_under_a_stride_keeps_only_what_is_still_read() -> None:
    """Frames 1, 3, 5.. read x[i-3] and x[i]; between steps only the last even frame is owed."""
    b, x = stream()
    y = b("y", "dense", b("window", "window", x, past=1, future=0, by=3), n=4)
    out = b("out", "dense", b("stride", "stride", y, factor=2), n=4)
    assert frames(Facts(b.graph(out=out)).held_step) == {"x": 1}


def test_taps_of_a_dilated_window_that_its_chunk_clips() -> None:
    """Odd frames read odd frames only, in both models, so half of `a` need not be computed."""
    b, x = stream()
    a = b("a", "dense", x, n=4)
    w = b("w", "window", a, past=1, future=1, by=2, in_chunk=True, chunk=ms(80))
    facts = Facts(b.graph(out=b("out", "stride", b("y", "dense", w, n=4), factor=2)))
    assert facts.macs["a"].second == 4 * 4 * 50
    assert frames(facts.held_frame) == {"a": 1}


def test_an_output_that_is_a_view_sets_the_step() -> None:
    b, x = stream()
    facts = Facts(b.graph(out=b("s", "stride", b("y", "dense", x, n=4), factor=3)))
    assert facts.step_seconds == Fraction(30, 1000)
    assert frames(facts.held_step) == {}


def test_unlimited_left_context_grows() -> None:
    b, x = stream()
    facts = Facts(b.graph(out=b("y", "attend", x, x, x, heads=1, mask="causal", left=None)))
    assert frames(facts.held_step) == {"x": None}
    assert facts.held_bits(["x"], step=True) is None


def test_what_only_a_loss_needs_counts_in_no_figure() -> None:
    b, x = stream()
    h = b("h", "dense", x, n=8)
    b("ctc", "dense", b("w", "window", h, past=4, future=4), n=1000)
    b("mean", "mean", h)
    facts = Facts(replace(b.graph(out=h), losses={"ctc": "ctc", "mean": "mean"}))
    assert facts.param_count(facts.graph.nodes) == 4 * 8 + 8
    assert facts.cost(facts.graph.nodes).worst.second == 4 * 8 * 100
    assert facts.held_step == facts.held_frame == ()
    assert facts.lookahead(h) == 0
