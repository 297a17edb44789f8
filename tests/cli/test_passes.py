"""`asrc passes`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asrc.compiler.passtable import PASSES

from .helpers import CONFORMER, Run


def test_the_list_has_every_pass(run: Run) -> None:
    lines = run("passes", "--plain").stdout.splitlines()[1:]
    rows = dict(line.split("\t") for line in lines)
    assert {name: rows[name] for name in PASSES} == {n: e.summary for n, e in PASSES.items()}
    listed = {item["name"] for item in json.loads(run("passes", "--json").stdout)}
    assert set(PASSES) <= listed


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_is_described(run: Run, name: str) -> None:
    text = run("passes", name).stdout
    assert text.startswith(f"{name}: {PASSES[name].summary}\n")
    for option in PASSES[name].options:
        assert option.doc in text
    for promise in PASSES[name].keeps:
        assert promise in text.partition("keeps: ")[2]


def test_options_are_data(run: Run) -> None:
    found = json.loads(run("passes", "mask", "--json").stdout)
    options = {option["name"]: option for option in found["options"]}
    assert options["on"]["required"] is True
    assert options["mode"]["choices"] == ["full", "causal"]
    assert options["chunk"] == {
        "name": "chunk",
        "kind": "time",
        "doc": "attention sees its own chunk of this length",
        "required": False,
        "default": None,
        "positional": False,
        "least": None,
        "choices": [],
    }


def test_an_unknown_pass(run: Run) -> None:
    done = run("passes", "msk")
    assert done.exit_code == 1
    assert "did you mean `mask`?" in done.stderr


# --- what passes do --------------------------------------------------------------------------


def effects(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_each_pass_is_explained(run: Run) -> None:
    stream = ["--pipeline", "stream"]
    done = run("passes", "--explain", CONFORMER, *stream, "--plain")
    assert done.exit_code == 0
    head, start, mask = effects(done.stdout)
    assert head[:4] == ["pass", "values", "look-ahead", "state(frame)"]
    assert start[:5] == ["as written", "466", "unbounded", "grows", "20.04 M"]
    assert mask[0] == "mask(encoder, chunk=320ms, left=2560ms)"
    assert mask[1:5] == ["=", "+295ms", "1.686 MiB", "="]


def test_a_pass_that_removes_values(run: Run, tiny: Path) -> None:
    tiny.write_text(tiny.read_text().replace("  out mel", "  spare = mel |> dense(7)\n  out mel"))
    done = run("passes", "--explain", "tiny.asr", "--pipeline", "thin", "--plain")
    _, start, dce = effects(done.stdout)
    assert [start[1], dce[1]] == ["5", "4"]
    assert [start[4], dce[4]] == ["163", "100"]


def test_explanations_as_json(run: Run) -> None:
    done = run("passes", "--explain", CONFORMER, "--passes", "dce(), mask(encoder, full)", "--json")
    found = json.loads(done.stdout)
    assert [step["call"] for step in found["passes"]] == ["dce()", "mask(encoder, full)"]
    assert [step["changed"] for step in found["passes"]] == [False, False]
    assert set(found["passes"][0]) == {"call", "changed", "seconds", "before", "after"}


def test_a_broken_budget_fails(run: Run, tiny: Path) -> None:
    text = tiny.read_text().replace("{ dce() }", "{ dce() require lookahead(encoder) <= 5ms }")
    tiny.write_text(text)
    done = run("passes", "--explain", "tiny.asr", "--pipeline", "thin")
    assert done.exit_code == 1
    assert "error[E0301]" in done.stderr
    assert "dce()" in done.stdout


@pytest.mark.parametrize(
    "args", [["mask", "--explain", CONFORMER], ["--explain", CONFORMER], ["mask", "--replay", "x"]]
)
def test_wrong_usage(run: Run, args: list[str]) -> None:
    assert run("passes", *args).exit_code == 2


def test_a_reproducer_that_is_none(run: Run, tiny: Path) -> None:
    done = run("passes", "--replay", "tiny.asr")
    assert done.exit_code == 1
    assert "error[E0010]" in done.stderr
