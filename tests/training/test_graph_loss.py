"""A loss that the model's text has trains the model, and the journal has its value."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from asrc.compiler.facts import Facts
from asrc.compiler.protocol import Weights
from asrc.compiler.source import Source
from asrc.dsl.check import read_model, setting
from asrc.tests.training.tiny import MODEL, corpus, job
from asrc.training.job import train
from asrc.training.processes import Processes

SIZE = "h = x |> Lstm(24) |> dense(16)\n  loss size = (30.0 * h * h) |> mean\n  out h"
"""The encoder's output is to be small, which no other loss wants."""


def build(size: int, weights: Weights | None) -> tuple[Facts, Weights | None]:
    text = MODEL.replace("out x |> Lstm(24) |> dense(16)", SIZE)
    model = read_model(Source("tiny.asr", text), {"vocab": setting("vocab", str(size))})
    assert model.facts is not None, model.diagnostics
    return model.facts, weights


def column(out: Path, name: str) -> list[float]:
    rows = csv.DictReader((out / "log.csv").read_text().splitlines())
    return [float(row["value"]) for row in rows if row["name"] == name]


@pytest.mark.parametrize("beginning", [0, 100])
def test_a_loss_of_the_graph_is_trained(tmp_path: Path, beginning: int) -> None:
    """Also where CTC alone trains of those that a recipe knows."""
    task = job(corpus(tmp_path / "data"), tmp_path / "out", 40, beginning={"ctc": beginning})
    train(replace(task, build=build), Processes(), lambda line: None, lambda update, numbers: None)
    found = column(tmp_path / "out", "graph")
    assert len(found) == 8
    assert 0 < max(found) < 8  # 37 and more where its gradient is missing


def test_without_one_the_journal_has_none(tmp_path: Path) -> None:
    task = job(corpus(tmp_path / "data"), tmp_path / "out", 5)
    train(task, Processes(), lambda line: None, lambda update, numbers: None)
    assert not column(tmp_path / "out", "graph")
