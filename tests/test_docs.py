"""The documents are true: their models check, their commands run, their Python works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

import asrc
from asrc.cli.main import cli
from asrc.compiler.source import Source
from asrc.dsl.check import check_model, read_model
from asrc.dsl.format import format_source

ROOT = Path(asrc.__file__).parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fenced(kind: str) -> list[pytest.ParameterSet]:
    """The fenced blocks of one kind in all documents."""
    return [
        pytest.param(text, id=f"{path.relative_to(ROOT)}-{number}")
        for path in DOCUMENTS
        for number, (found, text) in enumerate(FENCE.findall(path.read_text("utf-8")))
        if found == kind
    ]


@pytest.mark.parametrize("text", fenced("asr"))
def test_models_check_and_are_formatted(text: str) -> None:
    source = Source("document.asr", text)
    model = check_model(read_model(source))
    assert [str(d) for d in model.diagnostics] == []
    assert format_source(source) == text


@pytest.mark.parametrize("text", fenced("console"))
def test_commands_run(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`$ asrc ...` succeeds; with `# fails` it ends with exit status 1."""
    monkeypatch.chdir(ROOT)
    for line in text.splitlines():
        if line.startswith("$ "):
            command, _, remark = line[2:].partition("#")
            words = shlex.split(command)
            assert words[0] == "asrc"
            result = CliRunner().invoke(cli, words[1:])
            wanted = 1 if remark.strip().startswith("fails") else 0
            assert result.exit_code == wanted, f"{line}\n{result.output}"


@pytest.mark.parametrize("text", fenced("python"))
def test_python_runs(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(text, "document", "exec"), {})  # noqa: S102 - our own documents
