"""The look-ahead of the two transducers that the design was drawn on, from their text."""

from __future__ import annotations

from fractions import Fraction

import pytest

from asrc.compiler.diagnostics import Diagnostic
from asrc.compiler.facts import Facts
from asrc.compiler.source import Source
from asrc.dsl.check import Model, check_model, read_model
from asrc.dsl.load import load_source
from asrc.tests.models.helpers import MODELS


def check(text: str) -> Model:
    return check_model(read_model(Source("conformer.asr", text)))


@pytest.fixture(scope="module")
def conformer() -> str:
    text = load_source(MODELS / "conformer_transducer.asr").text
    assert text.count("u[t-(k-1)..t]") == 1
    return text


def values(facts: Facts, net: str, *, step: bool) -> int:
    held = facts.held_step if step else facts.held_frame
    return sum(h.values or 0 for h in held if h.path.startswith(f"{net}.") or h.path == "audio")


def test_the_two_speed_rnnt() -> None:
    model = check_model(read_model(load_source(MODELS / "rnnt.asr")))
    facts = model.facts
    assert model.ok
    assert facts is not None
    encoder = facts.graph.outputs["encoder"]
    assert str(facts.types[encoder]) == "[640] @ 60ms"
    assert facts.lookahead(encoder) == Fraction(15, 1000)
    assert facts.param_count(facts.graph.nodes) == 40_017_733
    # h and c of six layers, the frame before the time reduction, two mel frames, 15 ms of samples
    assert values(facts, "encoder", step=False) == 2 * 6 * 768 + 768 + 2 * 64 + 240 == 10_352
    # a step of 60 ms ends where both strides do, so that neither of their windows is cut
    assert facts.step_seconds == Fraction(60, 1000)
    assert values(facts, "encoder", step=True) == 2 * 6 * 768 + 240 == 9_456


def test_the_streaming_conformer(conformer: str) -> None:
    facts = check(conformer).results["stream"].facts
    encoder = facts.graph.outputs["encoder"]
    assert facts.lookahead(encoder) == Fraction(295, 1000)
    keys_and_values, depthwise, subsampling = 12 * 2 * 64 * 256, 12 * 14 * 256, 2 * 80 + 2 * 2560
    assert values(facts, "encoder", step=False) == 441_744
    assert keys_and_values + depthwise + subsampling + 240 == 441_744


@pytest.mark.parametrize(
    ("window", "milliseconds"), [("u[t-(k-2)..t+1]", 3855), ("u[t-7..t+7]", 4095)]
)
def test_a_chunk_spill_names_what_it_is_made_of(
    conformer: str, window: str, milliseconds: int
) -> None:
    model = check(conformer.replace("u[t-(k-1)..t]", window))
    facts = model.results["stream"].facts
    assert facts.lookahead(facts.graph.outputs["encoder"]) == Fraction(milliseconds, 1000)
    (found,) = model.errors
    assert found.code == "E0304"
    assert found.labels[0].span.text == window
    assert any("mask(encoder, chunk=320ms" in label.span.text for label in found.labels)
    assert sum(noted(found)) == milliseconds
    assert [help.endswith(": 295ms") for help in found.help] == [True, True]
    assert "`u[t-14..t]`" in found.help[0]
    assert "in chunk]`" in found.help[1]


def noted(found: Diagnostic) -> list[int]:
    """The milliseconds of each note."""
    return [int(note.strip().partition("ms")[0]) for note in found.notes]


@pytest.mark.parametrize("fix", ["u[t-14..t]", "u[t-7..t+7 in chunk]", "u[t-13..t+1 in chunk]"])
def test_the_fixes_give_what_they_promise(conformer: str, fix: str) -> None:
    model = check(conformer.replace("u[t-(k-1)..t]", fix))
    facts = model.results["stream"].facts
    assert facts.lookahead(facts.graph.outputs["encoder"]) == Fraction(295, 1000)
    assert not model.errors


SLOW = "repeat(4) { Lstm(cell) }"
FAST = "repeat(4) { switch(hard) { Lstm(cell) } else { Lstm(cell/4)%s } }"


def gated(projection: str) -> Model:
    """The RNN-T whose upper layers have a quarter-width way round, chosen frame by frame."""
    text = load_source(MODELS / "rnnt.asr").text
    for old, new in {
        SLOW: FAST % projection,
        "net encoder(audio)": "input hard: flag @ 60ms\nnet encoder(audio, hard)",
        "require params in 30M..45M": "",
        "require state(encoder) <= 48KiB": "",
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    return check(text)


def test_gated_branches_are_closed_by_a_projection() -> None:
    model = gated(" |> dense(cell)")
    assert model.ok, [str(d) for d in model.errors]
    facts = model.facts
    assert facts is not None
    encoder = facts.graph.outputs["encoder"]
    assert str(facts.types[encoder]) == "[640] @ 60ms"
    assert facts.lookahead(encoder) == Fraction(15, 1000)
    first, later, projection = (
        4 * 192 * (1536 + 192 + 1),
        4 * 192 * (768 + 192 + 1),
        192 * 768 + 768,
    )
    fast = first + 3 * later + 4 * projection
    assert facts.param_count(facts.graph.nodes) == 40_017_733 + fast
    cost = facts.cost(facts.graph.nodes)
    slow = 3072 * (1536 + 768) + 3 * 3072 * 1536
    cheap = 768 * (1536 + 192) + 3 * 768 * (768 + 192) + 4 * 192 * 768
    assert cost.worst.second - cost.best.second == (slow - cheap) * Fraction(1000, 60)


def test_gated_branches_of_different_width_are_refused() -> None:
    (found,) = gated("").errors
    assert found.code == "E0312"
    assert "dense" in found.help[0]
