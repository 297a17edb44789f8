"""Selectors: what they mean, and what is said when they mean nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.select import select, select_blocks
from asrc.compiler.source import Source, Span
from tests.builders import conformer

TEXT = Source("m.asr", "require lookahead(encoder) <= 320ms")
PLACE = Span(TEXT, 0, 35)


def test_selectors() -> None:
    graph = conformer(3)
    assert select(graph, "encoder") == [p for p in graph.nodes if p != "audio"]
    assert select(graph, "encoder.body.3") == [p for p in graph.nodes if ".body.3." in p]
    assert select(graph, "encoder.body.*.Ffn") == [p for p in graph.nodes if ".Ffn." in p]
    assert select(graph, "encoder.mel") == ["encoder.mel.logmel", "encoder.mel"]
    assert select(graph, "audio") == ["audio"]
    assert select(graph, "*") == list(graph.nodes)
    renamed = replace(graph, names={"encoder.alias": "encoder.mel"})
    assert select(renamed, "encoder.alias") == ["encoder.mel"]


def test_blocks() -> None:
    graph = conformer(2)
    assert select_blocks(graph, "encoder.body.1", "Ffn") == [
        "encoder.body.1.Ffn",
        "encoder.body.1.Ffn_2",
    ]
    assert len(select_blocks(graph, "encoder.body.*")) == 10
    with pytest.raises(AsrcError) as caught:
        select_blocks(graph, "encoder.body.*", "Fnn", PLACE)
    (found,) = caught.value.diagnostics
    assert (found.code, found.span) == ("E0803", PLACE)
    assert found.help == ("did you mean `at=Ffn`?",)


@pytest.mark.parametrize(
    ("selector", "message", "help"),
    [
        ("encoder.boddy.*", "`encoder` has mel, body, sub",
         "did you mean `encoder.body.*` (2 blocks)?"),
        ("encoder.body.3", "`encoder.body` has 1, 2", ""),
        ("encoder.body.*.Fnn", "`encoder.body.*` has Ffn, Attn, Conv, Ffn_2",
         "did you mean `encoder.body.*.Ffn`?"),
        ("encodr", "the model has encoder", "did you mean `encoder`?"),
        ("encoder.mel.logmel.x", "`encoder.mel.logmel` has nothing below it", ""),
    ],
)  # fmt: skip
def test_selectors_that_match_nothing(selector: str, message: str, help: str) -> None:
    with pytest.raises(AsrcError) as caught:
        select(conformer(2), selector, PLACE)
    (found,) = caught.value.diagnostics
    assert found.message == f"`{selector}` selects nothing: {message}"
    assert (found.code, found.labels[0].text, found.span) == ("E0803", message, PLACE)
    assert found.help == ((help,) if help else ())
