"""Running commands, inside this process and as a program of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from asrc.cli.main import cli

from .helpers import STARTED, TINY, Program, Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("check", "m.asr")` in an empty folder; exceptions are not swallowed."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(cli, list(args), input=stdin, catch_exceptions=False)

    return run


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """`program("check", "m.asr")`: `asrc` as users start it; `before` is Python to run first."""

    def program(
        *args: str, stdin: str = "", before: str = "", **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", f"{before}\n{STARTED}", *args],
            cwd=tmp_path,
            input=stdin,
            env={**os.environ, "TMPDIR": str(tmp_path), **env},
            capture_output=True,
            text=True,
        )

    return program


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A file with the model `TINY`."""
    path = tmp_path / "tiny.asr"
    path.write_text(TINY, encoding="utf-8")
    return path
