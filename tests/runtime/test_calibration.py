"""Utterances to take ranges from."""

from __future__ import annotations

from pathlib import Path

import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.calibration import graph_inputs
from asrc.tests.runtime.test_listener import noise
from asrc.tests.runtime.test_recogniser import made


def test_without_a_label() -> None:
    """Predictor and joint would get the ranges of the start alone; one text is enough."""
    model = made()
    heard = [(noise(0.2, seed), "") for seed in range(2)]
    with pytest.raises(AsrcError, match=r"E1005.*none of 2 utterances of `data.jsonl` has text"):
        list(graph_inputs(model.lowered, model.vocabulary, heard, Path("data.jsonl")))
    spoken = [*heard, (noise(0.2, 2), "low")]
    assert len(list(graph_inputs(model.lowered, model.vocabulary, spoken))) == 3
    assert not list(graph_inputs(model.lowered, model.vocabulary, []))
