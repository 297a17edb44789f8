"""The textual IR: it round-trips, reads well, and is never taken on trust."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrc.compiler.budgets import Arithmetic, Budget, Literal, Measure, Term
from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.compiler.graph import Graph, Scope
from asrc.compiler.irread import parse_graph
from asrc.compiler.irtext import print_graph
from asrc.compiler.types import Finite, Lattice, Static, Stream, Type
from asrc.compiler.units import Quantity
from tests.builders import CONFORMER, PCM, Builder, conformer, ms, recurrent, words

SMALL = """\
asrir 1
# after mask(encoder, causal)
model small
source 0 "a.asr"

audio: [1] @ 16kHz = input !0:0-5
mel: [8] @ 10ms = logmel(audio) bins=8 window=25ms hop=10ms
h.delay: [4] @ 10ms = delay(h) frames=1
h: [4] @ 10ms = dense(mel, h.delay) n=4

output encoder = h
require lookahead(encoder) <= 20ms
"""


def budget(left: Term, op: str, right: Term, upper: Term | None = None) -> Budget:
    return Budget(left, op, right, upper)


def test_the_text_reads_well(golden: Callable[[str, str], None]) -> None:
    """Spans, names, scopes, a recurrence, budgets and provenance, in one small model."""
    size = Literal(Fraction(8 * 24 * 1024), "size")
    share = Arithmetic("/", Measure("params", "encoder"), Measure("params", None))
    graph = replace(
        recurrent(),
        provenance=("after mask(encoder, causal)",),
        losses={"encoder.compute": "encoder.dense"},
        budgets=(
            budget(Measure("state", "encoder", "step"), "<=", size),
            budget(share, "in", Literal(Fraction(1, 2), "number"), Literal(Fraction(1), "number")),
        ),
    )
    text = print_graph(graph)
    golden("ir/recurrent.asrir", text)
    assert parse_graph(text) == graph


def test_an_attention_layer_reads_well(golden: Callable[[str, str], None]) -> None:
    golden("ir/conformer.asrir", print_graph(conformer(1, width=16, channels=4)))


@pytest.mark.parametrize("graph", [recurrent(), conformer(2), Graph("empty", {})])
def test_round_trip(graph: Graph) -> None:
    assert parse_graph(print_graph(graph)) == graph


def test_places_come_back_with_their_sources() -> None:
    graph = conformer(1)
    text = print_graph(graph)
    sources = {CONFORMER.name: CONFORMER}
    again = parse_graph(text, sources=sources)
    assert [n.span for n in again] == [n.span for n in graph]
    assert print_graph(again) == text
    assert all(node.span is None for node in parse_graph(text))


def test_all_kinds_of_types() -> None:
    b = Builder()
    frames = Stream(Fraction(1, 100))
    phrases = Finite("phrases", 300, Static())
    b("audio", "input", type=PCM)
    b("prev", "input", type=words(100))
    b("flag", "input", type=Type((1,), frames, elem="flag"))
    b("catalogue", "input", type=Type((1,), Finite("chars", 24, phrases), elem="token", vocab=50))
    b("bands", "input", type=Type((2, 40), frames, taps=3))
    b("inner", "input", type=Type((3,), Finite("f", None, frames)))
    b("odd", "input", type=Type((1,), Stream(Fraction(1, 7000))))
    b("joint", "input", type=Type((4,), Lattice(frames)))
    b("static", "input", type=Type((128,), Static()))
    graph = b.graph("a name with spaces")
    text = print_graph(graph)
    assert "catalogue: token[50] over chars(24), phrases(300) = input" in text
    assert "bands: [2, 40; 3] @ 10ms = input" in text
    assert "inner: [3] over f @ 10ms = input" in text
    assert "joint: [4] @ 10ms x label = input" in text
    assert parse_graph(text) == graph


def test_shared_parameters_keep_their_owner() -> None:
    b = Builder()
    x = b("x", "input", type=Type((4,), Stream(Fraction(1, 100))))
    b("a", "dense", x, n=4)
    b("b", "dense", "a", n=4, owner="a")
    graph = b.graph(out="b")
    assert "b: [4] @ 10ms = dense(a) n=4 ^a" in print_graph(graph)
    assert parse_graph(print_graph(graph)) == graph


# --- any graph -----------------------------------------------------------------------------------

NAMES = st.text('ab.1_*"\\ \n#é', min_size=1, max_size=4)
NUMBERS = st.fractions(min_value=-1000, max_value=1000, max_denominator=1000)
FIGURES = st.sampled_from(["params", "lookahead", "state"])
LEAVES = st.one_of(
    st.builds(Literal, NUMBERS, st.sampled_from(["number", "time", "rate", "size"])),
    st.builds(Measure, FIGURES, st.none()),
    st.builds(Measure, FIGURES, NAMES, st.sampled_from([None, "step"])),
)
TERMS = LEAVES | st.builds(Arithmetic, st.sampled_from("+-*/"), LEAVES, LEAVES)
TERMS |= st.builds(Arithmetic, st.sampled_from("+-*/"), TERMS, TERMS)
BUDGETS = st.builds(Budget, TERMS, st.sampled_from(["<=", "<", ">=", ">", "=="]), TERMS)
BUDGETS |= st.builds(Budget, TERMS, st.just("in"), TERMS, TERMS)
PERIODS = st.fractions(min_value=Fraction(1, 50000), max_value=3, max_denominator=50000)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Small random graphs on one clock, with names of any letters."""
    b = Builder(CONFORMER)
    period = draw(PERIODS)
    names = draw(st.lists(NAMES, min_size=2, max_size=8, unique=True))
    made = [b(names[0], "input", type=Type((4,), Stream(period)))]
    for name in names[1:]:
        source, other = draw(st.sampled_from(made)), draw(st.sampled_from(made))
        made.append(_value(draw, b, name, source, other))
    scope = Scope(draw(NAMES), "block", draw(NAMES), b.span("glu"))
    return replace(
        b.graph(draw(NAMES)),
        outputs={draw(NAMES): made[-1]},
        names=draw(st.dictionaries(NAMES, st.sampled_from(made), max_size=3)),
        losses=draw(st.dictionaries(NAMES, st.sampled_from(made), max_size=1)),
        scopes={scope.path: scope},
        budgets=tuple(draw(st.lists(BUDGETS, max_size=2))),
        provenance=tuple(draw(st.lists(st.sampled_from(["after dce()", ""]), max_size=2))),
    )


def _value(draw: st.DrawFn, b: Builder, name: str, source: str, other: str) -> str:
    at = draw(st.sampled_from(["", "glu", "s = attend"]))
    match draw(st.sampled_from(["relu", "add", "dense", "delay", "attend", "dropout"])):
        case "add":
            return b(name, "add", source, other, at=at)
        case "dense":
            owner = draw(st.sampled_from([None, source]))
            return b(name, "dense", source, n=4, bias=draw(st.booleans()), owner=owner, at=at)
        case "delay":
            return b(name, "delay", source, frames=draw(st.integers(1, 1000)), at=at)
        case "attend":
            left = draw(st.none() | st.integers(0, 100))
            return b(name, "attend", source, other, other, heads=2, mask="causal", left=left)
        case "dropout":
            return b(name, "dropout", source, p=abs(draw(NUMBERS)) % 1, at=at)
    return b(name, "relu", source, at=at)


def test_any_graph_round_trips(runs: Callable[[int], int]) -> None:
    @settings(max_examples=runs(300))
    @given(graphs())
    def check(graph: Graph) -> None:
        text = print_graph(graph)
        again = parse_graph(text, sources={CONFORMER.name: CONFORMER})
        assert again == graph
        assert print_graph(again) == text

    check()


# --- malformed text ------------------------------------------------------------------------------


def refused(text: str, name: str = "<ir>") -> list[tuple[str, str]]:
    """Code and place of every mistake."""
    with pytest.raises(AsrcError) as caught:
        parse_graph(text, name)
    return [(d.code, str(d.span)) for d in caught.value.diagnostics]


def test_the_small_text_is_right() -> None:
    graph = parse_graph(SMALL)
    assert graph.provenance == ("after mask(encoder, causal)",)
    assert Facts(graph).lookahead("h") == Fraction(15, 1000)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("asrir 1", "asrir 2", "1:1"),
        ("asrir 1", "asr 1", "1:1"),
        ("dense(mel", "dence(mel", "9:17"),
        ("dense(mel", "dense(mell", "9:23"),
        ("n=4", "n=four", "9:39"),
        ("n=4", "n=0", "9:39"),
        ("n=4", "m=4", "9:37"),
        (" n=4", "", "9:36"),
        ("n=4", "n=4 n=4", "9:41"),
        ("n=4", "n=4 bias=maybe", "9:46"),
        ("n=4", "n=4.5", "9:39"),
        ("frames=1", "frames=65537", "8:39"),
        ("n=4", "n=" + "9" * 40, "9:39"),
        ("hop=10ms", "hop=10", "7:56"),
        ("hop=10ms", "hop=10ms/0", "7:60"),
        ("(mel, h.delay)", "(mel h.delay)", "9:27"),
        ("delay(h)", "delay(h, h, h)", "8:37"),
        ("mel: [8]", "mel: [0]", "7:7"),
        ("mel: [8] @ 10ms", "mel: [8] @ 0ms", "7:12"),
        ("mel: [8] @ 10ms", "mel: [8] @ 10MB", "7:12"),
        ("mel: [8]", "mel: vector", "7:6"),
        ("mel: [8] @ 10ms", "mel: [8] over " + "a, " * 20 + "b", "7:6"),
        ("!0:0-5", "!1:0-5", "6:29"),
        ("output encoder = h", "output encoder = g", "11:18"),
        ("h.delay: [4]", "h: [4]", "9:1"),
        ("<= 20ms", "=< 20ms", "12:28"),
        ("lookahead(encoder)", "(" * 100 + "1", "12:74"),
        ("small", '"small', "3:7"),
    ],
)
def test_malformed(old: str, new: str, place: str) -> None:
    assert old in SMALL
    assert refused(SMALL.replace(old, new, 1)) == [("E0010", f"<ir>:{place}")]


def test_rates_are_options_too() -> None:
    text = SMALL.replace("hop=10ms", "hop=10ms high=3.8kHz")
    graph = parse_graph(text)
    assert graph["mel"].attrs["high"] == Quantity(Fraction(3800), "rate")
    assert parse_graph(print_graph(graph)) == graph
    assert refused(text.replace("3.8kHz", "3.8ms")) == [("E0010", "<ir>:7:66")]


def test_types_on_binders_are_checked() -> None:
    assert refused(SMALL.replace("h: [4]", "h: [5]"), "m.asrir") == [("E0203", "m.asrir:9:4")]


def test_what_inference_refuses_points_into_the_text() -> None:
    for shift in ("tanh(h)", "stride(h) factor=2"):
        assert refused(SMALL.replace("delay(h) frames=1", shift)) == [("E0305", "<ir>:8:10")]
    wide = SMALL.replace("h.delay: [4] @ 10ms = delay(h) frames=1", "g: [4] @ 10ms = glu(mel)")
    twice = wide.replace("dense(mel, h.delay) n=4", "add(mel, g)")
    assert refused(twice) == [("E0201", "<ir>:9:4")]


def test_mutated_texts_never_break_the_reader(runs: Callable[[int], int]) -> None:
    texts = [SMALL, print_graph(recurrent()), print_graph(conformer(1, width=16, channels=4))]
    pieces = ["0", "-1", "(", ")", "[", "]", "1/0", "\x00", "\n", '"', "none", "9" * 5000, "h", "@"]

    @settings(max_examples=runs(600))
    @given(st.sampled_from(texts), st.integers(0), st.integers(0, 8), st.sampled_from(pieces))
    def check(text: str, at: int, cut: int, piece: str) -> None:
        at %= len(text)
        with suppress(AsrcError):
            graph = parse_graph(text[:at] + piece + text[at + cut :])
            assert parse_graph(print_graph(graph)) == graph

    check()


def test_quantities_are_exact() -> None:
    b = Builder()
    third = Quantity(Fraction(1, 3000), "time")
    x = b("x", "input", type=Type((4,), Stream(third.value)))
    b("a", "attend", x, x, x, heads=2, mask="limited", left=third, right=ms(1))
    graph = b.graph(out="a")
    assert parse_graph(print_graph(graph)) == graph
