"""The documents are true: their models check, their commands run, their Python works."""

from __future__ import annotations

import re
import shlex
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner

import asrc
from asrc.cli.main import cli
from asrc.compiler.ops import OPS, SURFACE, Op, Option
from asrc.compiler.source import Source
from asrc.compiler.units import format_number
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


def test_the_operator_page_is_the_operator_table(pytestconfig: pytest.Config) -> None:
    path = ROOT / "docs" / "operators.md"
    if pytestconfig.getoption("update_golden"):
        path.write_text(_operator_page(), "utf-8")
    assert path.read_text("utf-8") == _operator_page()


def _operator_page() -> str:
    head = (
        "# Operators\n\n"
        "Written by `pytest tests/test_docs.py --update-golden` from the operator table.\n"
        "An option without `=` must be given; the first may be given without its name.\n\n"
        "| operator | inputs | options | what it does |\n|---|---|---|---|\n"
    )
    return head + "".join(_operator_row(OPS[name]) for name in SURFACE)


def _operator_row(op: Op) -> str:
    low, high = op.inputs
    inputs = str(low) if low == high else f"{low} to {high}" if high else f"{low} or more"
    options = "; ".join(_option(name, option) for name, option in op.options.items())
    return f"| `{op.name}` | {inputs} | {options} | {op.doc} |\n"


KINDS = {
    "int": "whole number",
    "real": "number",
    "bool": "true or false",
    "time": "time",
    "rate": "rate",
    "span": "time or count",
}


def _takes(option: Option) -> str:
    """What may be written for an option: `number, at least 0, below 1`."""
    bounds = [f"at least {option.low}"] if option.low is not None else []
    bounds += [f"below {option.below}"] if option.below not in (None, 2**31) else []
    return ", ".join([KINDS.get(option.kind) or ", ".join(option.choices), *bounds])


def _option(name: str, option: Option) -> str:
    return f"{_default(name, option)} ({_takes(option)})"


def _default(name: str, option: Option) -> str:
    if option.required:
        return f"`{name}`"
    is_word = isinstance(option.default, bool) or option.default is None
    if isinstance(option.default, Fraction):
        return f"`{name}={format_number(option.default)}`"
    shown = str(option.default).lower() if is_word else option.default
    return f"`{name}={shown}`"
