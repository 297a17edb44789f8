"""The figures that budgets compare, alone and in arithmetic."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from asrc.compiler.budgets import Arithmetic, Literal, Measure, Term
from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.compiler.graph import Graph
from asrc.compiler.measure import Amount, evaluate
from asrc.compiler.types import Type
from asrc.passes.mask import Mask
from tests.builders import PCM, Builder, conformer, frontend, ms, words


def number(value: int | Fraction) -> Literal:
    return Literal(Fraction(value), "number")


def figure(name: str, selector: str | None = "encoder", variant: str | None = None) -> Measure:
    return Measure(name, selector, variant)


def streaming(layers: int = 12, future: int = 0) -> Graph:
    return Mask("encoder", chunk=ms(320), left=ms(2560)).run(conformer(layers, future), None)[0]


@pytest.mark.parametrize(
    ("term", "value", "dimension"),
    [
        (figure("params"), 19_381_184, "number"),
        (figure("params", None), 19_381_184, "number"),
        (figure("params", "encoder.body.*.Ffn"), 12 * 526_080, "number"),
        (figure("weights"), 19_381_184 * 32, "size"),
        (figure("lookahead"), Fraction(295, 1000), "time"),
        (figure("lookahead", None), Fraction(295, 1000), "time"),
        (figure("lookahead", "encoder.mel"), Fraction(15, 1000), "time"),
        (figure("state", variant="frame"), 441_744 * 32, "size"),
        (figure("state", variant="step"), 439_104 * 32, "size"),
        (figure("state"), 441_744 * 32, "size"),
        (figure("macs"), 497_715_200, "number"),
        (figure("period"), Fraction(40, 1000), "time"),
        (Arithmetic("*", number(2), figure("period")), Fraction(80, 1000), "time"),
        (Arithmetic("/", figure("lookahead"), figure("period")), Fraction(295, 40), "number"),
        (Arithmetic("-", figure("params"), number(1)), 19_381_183, "number"),
        (Arithmetic("/", figure("state"), number(32)), 441_744, "size"),
    ],
)
def test_figures_of_the_streaming_conformer(
    term: Term, value: int | Fraction, dimension: str
) -> None:
    assert evaluate(Facts(streaming()), term) == Amount(Fraction(value), dimension)


def test_state_of_a_net_includes_the_samples_it_waits_for() -> None:
    b = Builder()
    frontend(b, 8)
    facts = Facts(b.graph(encoder="encoder.mel"))
    assert evaluate(facts, figure("state")) == Amount(Fraction(240 * 32), "size")
    assert evaluate(facts, figure("state", "audio")) == Amount(Fraction(240 * 32), "size")


def test_the_latest_of_several_outputs_counts() -> None:
    b = Builder()
    x = frontend(b, 8)
    b("net.late", "ahead", x, frames=2)
    graph = replace(b.graph(), outputs={"net.a": x, "net.b": "net.late"})
    assert evaluate(Facts(graph), figure("lookahead", "net")).value == Fraction(35, 1000)


@pytest.mark.parametrize(
    ("term", "code"),
    [
        (figure("parms"), "E0101"),
        (figure("params", "encodr"), "E0803"),
        (figure("period", None), None),
        (figure("period", "encoder.mel"), None),
        (figure("period", "encoder.sub"), "E0206"),
        (figure("period", "encoder.body.1.Attn.u"), "E0206"),
        (Arithmetic("+", figure("period"), number(1)), "E0206"),
        (Arithmetic("*", figure("period"), figure("period")), "E0206"),
        (Arithmetic("/", number(1), figure("period")), "E0206"),
        (Arithmetic("/", figure("period"), number(0)), "E0206"),
    ],
)
def test_terms_that_mean_nothing(term: Term, code: str | None) -> None:
    if code is None:
        assert evaluate(Facts(streaming(1)), term).dimension == "time"
        return
    with pytest.raises(AsrcError) as caught:
        evaluate(Facts(streaming(1)), term)
    assert [d.code for d in caught.value.diagnostics] == [code]


def test_labels_have_no_period() -> None:
    b = Builder()
    b("prev", "input", type=words(5))
    b("audio", "input", type=PCM)
    b("code", "input", type=Type((2,), PCM.clock))
    with pytest.raises(AsrcError, match="E0206"):
        evaluate(Facts(b.graph(p="prev")), figure("period", "p"))
