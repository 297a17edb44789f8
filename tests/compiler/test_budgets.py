"""Budgets: figures, units, and explanations that add up."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import pytest

from asrc.compiler.budget_check import check_budgets, check_causal, check_within
from asrc.compiler.budgets import Arithmetic, Budget, Literal, Measure, Term
from asrc.compiler.diagnostics import Diagnostic
from asrc.compiler.facts import Facts
from asrc.compiler.graph import Graph
from asrc.compiler.measure import Amount, evaluate
from asrc.compiler.source import Source, Span
from asrc.compiler.units import UNITS
from asrc.passes.mask import Mask
from tests.builders import Builder, conformer, frontend, ms, recurrent

TEXT = Source("m.asr", "require lookahead(encoder) <= 320ms")
PLACE = Span(TEXT, 0, 35)


def number(value: int | Fraction) -> Literal:
    return Literal(Fraction(value), "number")


def time(milliseconds: int) -> Literal:
    return Literal(Fraction(milliseconds, 1000), "time")


def kib(count: int) -> Literal:
    return Literal(Fraction(count * 8 * 1024), "size")


def figure(name: str, selector: str | None = "encoder", variant: str | None = None) -> Measure:
    return Measure(name, selector, variant)


def check(
    graph: Graph, left: Term, op: str, right: Term, upper: Term | None = None
) -> list[Diagnostic]:
    return check_budgets(Facts(graph), [Budget(left, op, right, upper, PLACE)])


def only(found: list[Diagnostic]) -> Diagnostic:
    (item,) = found
    return item


def streaming(layers: int = 12, future: int = 0) -> Graph:
    return Mask("encoder", chunk=ms(320), left=ms(2560)).run(conformer(layers, future), None)[0]


def total(notes: tuple[str, ...]) -> Fraction:
    """The sum of the amounts that open each note, in base units."""
    found = Fraction(0)
    for note in notes:
        amount = re.match(r" *(-?[\d.]+)(ms|KiB|B)  ", note)
        assert amount, note
        found += Fraction(amount.group(1)) * UNITS[amount.group(2)][1]
    return found


# --- comparisons ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "milliseconds", "good"),
    [
        ("<=", 295, True),
        ("<=", 294, False),
        ("<", 296, True),
        ("<", 295, False),
        (">=", 295, True),
        (">=", 296, False),
        (">", 294, True),
        (">", 295, False),
        ("==", 295, True),
        ("==", 294, False),
    ],
)
def test_comparisons(op: str, milliseconds: int, good: bool) -> None:
    assert (check(streaming(1), figure("lookahead"), op, time(milliseconds)) == []) is good


def test_ranges_include_both_ends() -> None:
    graph = streaming(1)
    for low, high, good in [(295, 295, True), (100, 295, True), (296, 400, False), (0, 294, False)]:
        found = check(graph, figure("lookahead"), "in", time(low), time(high))
        assert (found == []) is good


def test_units_must_agree() -> None:
    found = only(check(streaming(1), figure("lookahead"), "<=", number(320)))
    assert found.code == "E0206"
    assert found.message == "a time is compared with a plain number"
    assert found.help == ("a time is written like `320ms`",)
    assert found.span == PLACE
    assert only(check(streaming(1), figure("params"), "in", number(1), kib(1))).code == "E0206"


def test_a_wrong_selector_is_reported_once_and_the_rest_is_checked() -> None:
    facts = Facts(streaming(1))
    wrong = Budget(figure("params", "encodr"), "<=", number(1))
    tight = Budget(figure("params"), "<=", number(1))
    assert [d.code for d in check_budgets(facts, [wrong, tight])] == ["E0803", "E0501"]


# --- look-ahead ----------------------------------------------------------------------------------


def test_over_budget_says_where_it_comes_from() -> None:
    found = only(check(streaming(), figure("lookahead"), "<=", time(100)))
    assert found.code == "E0301"
    assert found.message == "look-ahead of `encoder` is 295ms, the budget is 100ms"
    assert found.span == PLACE
    assert found.notes == (
        "280ms  attention waits for the end of its 320ms chunk (line 4)",
        " 15ms  logmel: 25ms window, 10ms hop (line 1)",
    )


def test_rows_name_their_files_where_there_are_two() -> None:
    graph = streaming(1)
    library = Source("std.conformer", "\n\nattend(h)")
    path = "encoder.body.1.Attn.attend"
    moved = replace(graph[path], span=Span(library, 2, 8))
    other = replace(graph, nodes={**graph.nodes, path: moved})
    found = only(check(other, figure("lookahead"), "<=", time(100)))
    assert [note.rpartition(" ")[2] for note in found.notes] == [
        "(std.conformer:3)",
        "(conformer.asr:1)",
    ]


def test_right_context_spills_over_chunks() -> None:
    graph = streaming(12, 7)
    mask = Span(Source("p", "mask(encoder, chunk=320ms)"), 0, 26)
    places = {node.path: mask for node in graph if node.op == "attend"}
    budget = Budget(figure("lookahead"), "<=", time(320), None, PLACE)
    found = only(check_budgets(Facts(graph), [budget], places))
    assert found.code == "E0304"
    assert found.message == "look-ahead of `encoder` is 4095ms, the budget is 320ms"
    assert [(label.span.text, label.text) for label in found.labels] == [
        ("u[t-a..t+b]", "reads 7 frames (280ms) past its own frame, in each of 12 places"),
        (mask.text, "so each later attention waits for one more whole chunk"),
        (PLACE.text, "the budget"),
    ]
    assert found.help == (
        "`u[t-14..t]` is causal: 295ms",
        "`u[t-7..t+7 in chunk]` stops at the chunk edge: 295ms",
    )


@pytest.mark.parametrize(("future", "milliseconds"), [(0, 295), (1, 3855), (3, 3935), (7, 4095)])
def test_notes_sum_exactly(future: int, milliseconds: int) -> None:
    found = only(check(streaming(12, future), figure("lookahead"), "<=", time(1)))
    assert total(found.notes) == Fraction(milliseconds, 1000)
    amounts = [total((note,)) for note in found.notes]
    assert amounts == sorted(amounts, reverse=True)


def test_the_fixes_are_computed_not_assumed() -> None:
    """With another wait in the way, the causal form gives more than a chunk."""
    b = Builder()
    x = frontend(b, 8)
    b("encoder.a", "attend", x, x, x, heads=2, mask="chunk", chunk=ms(40))
    b("encoder.w", "window", "encoder.a", past=1, future=2)
    y = b("encoder.d", "dense", "encoder.w", n=8)
    b("encoder.b", "attend", y, y, y, heads=2, mask="chunk", chunk=ms(60))
    found = only(check(b.graph(encoder="encoder.b"), figure("lookahead"), "<=", time(1)))
    before, causal, clipped = (
        Facts(
            replace(b.graph(encoder="encoder.b"), nodes={**b.nodes, "encoder.w": window})
        ).lookahead("encoder.b")
        for window in (
            b.nodes["encoder.w"],
            b.nodes["encoder.w"].with_attrs(past=3, future=0),
            b.nodes["encoder.w"].with_attrs(in_chunk=True, chunk=ms(40)),
        )
    )
    assert found.code == "E0304"
    assert before == total(found.notes)
    assert found.help == (
        f"`a[t-3..t]` is causal: {float(causal or 0) * 1000:g}ms",
        f"`a[t-1..t+2 in chunk]` stops at the chunk edge: {float(clipped or 0) * 1000:g}ms",
    )


@pytest.mark.parametrize(
    ("op", "attrs", "help"),
    [
        ("ahead", {"frames": 3}, "`a[t]` is causal: 45ms"),
        (
            "attend",
            {"heads": 2, "mask": "limited", "left": 0, "right": 3},
            "`right=0` is causal: 45ms",
        ),
    ],
)
def test_other_right_context(op: str, attrs: dict[str, int | str], help: str) -> None:
    b = Builder()
    x = frontend(b, 8)
    b("encoder.a", "dense", x, n=8)
    inputs = ("encoder.a",) * (3 if op == "attend" else 1)
    y = b("encoder.w", op, *inputs, **attrs)
    b("encoder.b", "attend", y, y, y, heads=2, mask="chunk", chunk=ms(40))
    found = only(check(b.graph(encoder="encoder.b"), figure("lookahead"), "<=", time(1)))
    assert found.code == "E0304"
    assert found.help == (help,)


def test_without_bound_says_where_the_wait_begins() -> None:
    found = only(check(conformer(3), figure("lookahead"), "<=", time(320)))
    assert found.code == "E0303"
    assert found.message == "look-ahead of `encoder` is unbounded, the budget is 320ms"
    assert found.notes == ("the wait begins at attention over the whole utterance (line 4)",)
    assert "mask(encoder, chunk=320ms, left=2560ms)" in found.help[0]
    assert check(conformer(3), figure("lookahead"), ">=", time(320)) == []


def test_a_mean_over_the_stream_has_no_bound() -> None:
    b = Builder()
    x = frontend(b, 8)
    b("encoder.mean", "mean", x)
    b("encoder.out", "sub", x, "encoder.mean")
    found = only(check(b.graph(encoder="encoder.out"), figure("lookahead"), "<=", time(320)))
    assert found.code == "E0303"
    assert "running mean" in found.help[0]


# --- state ---------------------------------------------------------------------------------------


def test_state_over_budget_by_owner() -> None:
    found = only(check(streaming(), figure("state"), "<=", kib(512)))
    assert found.code == "E0401"
    assert found.message == "state of `encoder` is 1.685 MiB, the budget is 512 KiB"
    assert found.notes[:3] == (
        "  768KiB  12 x `encoder.body.*.Attn.k` [256]: 64 frames",
        "  768KiB  12 x `encoder.body.*.Attn.v` [256]: 64 frames",
        "  168KiB  12 x `encoder.body.*.Conv.u` [256]: 14 frames (line 5)",
    )
    assert total(found.notes) == 441_744 * 32
    assert check(streaming(), figure("state"), "<=", kib(1726)) == []


def test_each_figure_of_state_has_its_own_account() -> None:
    for variant, values in (("frame", 441_744), ("step", 439_104)):
        found = only(check(streaming(), figure("state", variant=variant), "<=", kib(1)))
        assert total(found.notes) == values * 32


def test_many_owners_are_summed_up() -> None:
    found = only(check(streaming(12, 7), figure("state"), "<=", kib(1)))
    assert found.notes[-1].endswith("others")
    facts = Facts(streaming(12, 7))
    assert Amount(total(found.notes), "size") == evaluate(facts, figure("state"))


def test_the_state_of_a_recurrence_is_called_so() -> None:
    found = only(check(recurrent(), figure("state"), "<=", kib(0)))
    text = "`encoder.low.*.h` [8]: 1 frame of the recurrence"
    assert any(text in note for note in found.notes)


def test_state_that_grows_with_the_stream() -> None:
    graph = Mask("encoder", "causal").run(conformer(3), None)[0]
    found = only(check(graph, figure("state"), "<=", kib(512)))
    assert found.code == "E0404"
    assert found.notes[0] == "3 x `encoder.body.*.Attn.k` is kept from the start of the stream"
    assert found.help == ("`left=2560ms` bounds what attention keeps",)


# --- counts --------------------------------------------------------------------------------------


def test_counts_show_the_values_of_sub_expressions() -> None:
    share = Arithmetic("/", figure("params", "encoder.body"), figure("params", None))
    found = only(check(streaming(), share, "<=", number(Fraction(1, 2))))
    assert found.code == "E0501"
    assert found.message == (
        "`(params(encoder.body) / params) <= 0.5` does not hold: 0.9981 against 0.5"
    )
    assert found.notes[1] == "params = 19,381,184"


@pytest.mark.parametrize(
    ("name", "limit", "message"),
    [
        (
            "params",
            number(10**6),
            "the number of parameters of `encoder` is 19.38 M, the budget is 1 M",
        ),
        (
            "params",
            number(19_381_183),
            "the number of parameters of `encoder` is 19,381,184, the budget is 19,381,183",
        ),
        (
            "weights",
            kib(1024),
            "the size of the weights of `encoder` is 73.93 MiB, the budget is 1 MiB",
        ),
        (
            "macs",
            number(10**6),
            "the work a second in MACs of `encoder` is 497.7 M, the budget is 1 M",
        ),
    ],
)
def test_counts_over_budget(name: str, limit: Literal, message: str) -> None:
    found = only(check(streaming(), figure(name), "<=", limit))
    assert (found.code, found.message) == ("E0501", message)


def test_work_without_bound() -> None:
    found = only(check(conformer(1), figure("macs"), "<=", number(10**9)))
    assert found.code == "E0501"
    assert "is unbounded" in found.message


# --- ascriptions ---------------------------------------------------------------------------------


def test_within() -> None:
    facts = Facts(streaming(2))
    path = facts.graph.outputs["encoder"]
    assert check_within(facts, path, Fraction(295, 1000), PLACE) is None
    late = check_within(facts, path, Fraction(294, 1000), PLACE)
    assert late is not None
    assert (late.code, late.span) == ("E0301", PLACE)
    assert late.message == f"look-ahead of `{path}` is 295ms, not within 294ms"
    never = check_within(Facts(conformer(1)), conformer(1).outputs["encoder"], Fraction(9), PLACE)
    assert never is not None
    assert never.code == "E0303"


def test_causal_does_not_count_the_analysis_window() -> None:
    graph = Mask("encoder", "causal").run(conformer(2), None)[0]
    assert check_causal(Facts(graph), graph.outputs["encoder"], PLACE) is None
    assert check_causal(Facts(recurrent()), "encoder.dense", PLACE) is None


def test_causal_finds_a_future_hidden_behind_the_overhang() -> None:
    """Five samples ahead are less than the 15ms of the analysis window, yet they are ahead."""
    b = Builder()
    x = frontend(b, 8)
    b("late", "ahead", "audio", frames=5)
    b("rate", "stride", "late", factor=160)
    b("out", "concat", x, "rate")
    found = check_causal(Facts(b.graph(out="out")), "out", PLACE)
    assert found is not None
    assert (found.code, found.span) == ("E0302", PLACE)
    assert found.notes == ("312.5us  `audio[t+5]` reads 5 frames ahead",)


def test_a_delay_makes_up_for_what_is_ahead() -> None:
    b = Builder()
    x = frontend(b, 8)
    b("late", "ahead", x, frames=2)
    b("back", "delay", "late", frames=2)
    graph = b.graph(late="late", back="back")
    assert check_causal(Facts(graph), "back", None) is None
    found = check_causal(Facts(graph), "late", None)
    assert found is not None
    assert found.notes == ("20ms  `mel[t+2]` reads 2 frames ahead",)


def test_attention_over_everything_is_not_causal() -> None:
    found = check_causal(Facts(conformer(1)), conformer(1).outputs["encoder"], PLACE)
    assert found is not None
    assert found.code == "E0302"
    assert found.notes == ("the wait begins at attention over the whole utterance (line 4)",)
