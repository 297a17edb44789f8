"""`asrc explain`."""

from __future__ import annotations

import json

import pytest

from asrc.compiler.codes import explain, readable, titles

from .helpers import Run


@pytest.mark.parametrize("code", ["E0304", "e0304"])
def test_a_page(run: Run, code: str) -> None:
    text = run("explain", code).stdout
    assert text.startswith(f"E0304 {titles()['E0304']}\n")
    assert "```asr" in text
    assert "# E0304: look-ahead of `encoder` is 320ms\n" in text
    page = explain("E0304")
    assert page is not None
    assert text.splitlines()[1:] == readable(page).splitlines()[1:]


def test_the_list(run: Run) -> None:
    lines = run("explain", "--list", "--plain").stdout.splitlines()[1:]
    assert dict(line.split("\t") for line in lines) == titles()
    listed = json.loads(run("explain", "--list", "--json").stdout)
    assert {item["code"]: item["title"] for item in listed} == titles()


def test_json(run: Run) -> None:
    found = json.loads(run("explain", "E0203", "--json").stdout)
    assert found == {"code": "E0203", "title": titles()["E0203"], "text": explain("E0203")}


def test_an_unknown_code(run: Run) -> None:
    done = run("explain", "E0394")
    assert done.exit_code == 2
    assert "there is no code `E0394`; did you mean `E0304`?" in done.stderr


@pytest.mark.parametrize("args", [[], ["E0304", "--list"]])
def test_wrong_usage(run: Run, args: list[str]) -> None:
    assert run("explain", *args).exit_code == 2
