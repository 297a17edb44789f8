"""The language's specification, `tests/lang/*.md`, and the pages of `asrc explain`, executed."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from asrc.compiler.source import Source
from asrc.dsl.check import read_model
from asrc.tests.lang.mdtest import Snippet, differences, snippets, update

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted((ROOT / "tests/lang").glob("*.md")), ROOT / "compiler/codes.md"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a snippet; `--update-golden` first writes what the snippets show."""
    if metafunc.config.getoption("update_golden"):
        with TemporaryDirectory() as folder:
            for document in DOCUMENTS:
                update(document, Path(folder))
    found = [snippet for document in DOCUMENTS for snippet in snippets(document)]
    if "snippet" in metafunc.fixturenames:
        metafunc.parametrize("snippet", found, ids=str)


def test_a_model_is_refused_for_its_size_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asrc.dsl.builder.MAX_VALUES", 40)
    body = "y = x |> repeat(50) { relu }\nz = x |> relu\nout a = y\nout b = z"
    text = f"asr 1\nmodel m\ninput x: [8] @ 10ms\nnet n(x) {{\n{body}\n}}"
    (found,) = read_model(Source("m.asr", text)).diagnostics
    assert str(found) == "m.asr:5:23: error[E0006]: the model has more than 40 values"


def test_snippet(snippet: Snippet, tmp_path: Path) -> None:
    problems = differences(snippet, tmp_path)
    if problems:
        pytest.fail("\n".join([str(snippet), *problems]), pytrace=False)
