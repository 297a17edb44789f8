"""The language's specification, `tests/lang/*.md`, and the pages of `asrc explain`, executed."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

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
    metafunc.parametrize("snippet", found, ids=str)


def test_snippet(snippet: Snippet, tmp_path: Path) -> None:
    problems = differences(snippet, tmp_path)
    if problems:
        pytest.fail("\n".join([str(snippet), *problems]), pytrace=False)
