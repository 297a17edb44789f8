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


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("y = x |> dens(4)", '1: not declared: # error: 10..14 [E0101] "nothing is called `dens`'),
        ('y = x |> dense(4)  # error: 10 [E0101] "x"', '1: not reported: # error: 10 [E0101] "x"'),
        ("y = x |> dens(4)  # error: 9 [E0101]", "1: not reported: # error: 9 [E0101]"),
        ("y = x |> dens(4)  # error: 10..15 [E0101]", "1: not reported: # error: 10..15"),
        ("y = x |> dens(4)  # error: 10 [E0102]", "1: not reported: # error: 10 [E0102]"),
        ('y = x |> dens(4)  # error: 10 [E0101] "dense"', "1: not reported: # error: 10"),
        ("y = x |> dens(4)  # warning: 10 [E0101]", "1: not reported: # warning: 10"),
        ("# error: 10 [E0101]\n\ny = x |> dens(4)", "2: not reported: # error: 10 [E0101]"),
        ("y = x |> dense(4)  # revealed: [8] @ 10ms", "1: # revealed: [4] @ 10ms"),
        ("y = x[t+1]  # revealed: [8] @ 10ms, +0ms", "1: # revealed: [8] @ 10ms, +10ms"),
        ("y = x |> relu |> mean  # revealed: [8], +0ms", "1: # revealed: [8] @ static, +unbounded"),
        ("z = x |> relu  # revealed: [8] @ 10ms, state 9\ny = z[t-2..t] |> depthwise",
         "1: # revealed: [8] @ 10ms, state 16"),
        ("a, b = x |> split(2)  # revealed: [8] @ 10ms", "1: # revealed: [4] @ 10ms"),
        ("y = relu  # revealed: [8] @ 10ms", "1: # revealed: nothing"),
    ],
)  # fmt: skip
def test_a_wrong_comment_is_noticed(line: str, problem: str, tmp_path: Path) -> None:
    document = tmp_path / "wrong.md"
    document.write_text(f"# Wrong\n\n```asr\n{line}\n```\n", encoding="utf-8")
    (snippet,) = snippets(document)
    assert any(found.startswith(problem) for found in differences(snippet, tmp_path))


def test_what_is_shown_is_compared_and_written(tmp_path: Path) -> None:
    document = tmp_path / "shown.md"
    start = "# Shown\n\n```asr\ny = x |> dens(4)\n```\n\n```text\n"
    document.write_text(f"{start}error[E0101]: something else\n```\n\nMore.\n", encoding="utf-8")
    (snippet,) = snippets(document)
    (problem,) = differences(snippet, tmp_path)
    assert problem.startswith(
        "it shows\nerror[E0101]: nothing is called `dens` here\n --> model.asr:1:10"
    )
    update(document, tmp_path)
    (snippet,) = snippets(document)
    assert differences(snippet, tmp_path) == []
    text = document.read_text("utf-8")
    assert text.startswith(f"{start}error[E0101]: nothing is called")
    assert text.endswith("explain: asrc explain E0101\n```\n\nMore.\n")


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
