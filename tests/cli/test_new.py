"""`asrc new`."""

from __future__ import annotations

from pathlib import Path

import pytest

from asrc.cli.new import TEMPLATES

from .helpers import Run


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_checked_and_formatted(run: Run, template: str) -> None:
    assert run("new", "mine", "--template", template).exit_code == 0
    done = run("check", "mine.asr", "--deny-warnings")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "mine.asr: model mine\n" in done.stdout
    assert run("fmt", "--diff", "mine.asr").output == ""


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_teaches(run: Run, tmp_path: Path, template: str) -> None:
    run("new", "mine", "--template", template)
    text = (tmp_path / "mine.asr").read_text()
    comments = [line for line in text.splitlines() if "#" in line]
    assert len(comments) >= 8
    for command in ("asrc check FILE --set", "asrc inspect FILE"):
        assert command in text


def test_what_a_template_says_to_type_works(run: Run) -> None:
    run("new", "a", "--template", "conformer")
    assert run("check", "a.asr", "--set", "layers=12").exit_code == 0
    assert run("inspect", "a.asr", "--pipeline", "stream").exit_code == 0
    run("new", "b", "--template", "blocks")
    assert "80ms" in run("inspect", "b.asr", "--contributors", "encoder").stdout
    run("new", "c.asr", "--template", "rnnt")
    assert run("check", "c.asr", "--set", "cell=512").exit_code == 0


def test_a_file_that_is_there_stays(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.asr").write_text("mine")
    done = run("new", "mine")
    assert done.exit_code == 2
    assert "`mine.asr` exists and stays as it is" in done.stderr
    assert (tmp_path / "mine.asr").read_text() == "mine"


@pytest.mark.parametrize("name", ["no-name", "3d", ".asr", "a b"])
def test_a_name_that_is_none(run: Run, tmp_path: Path, name: str) -> None:
    assert run("new", name).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(run: Run) -> None:
    done = run("new", "nope/mine")
    assert done.exit_code == 3
    assert "error[E0008]: cannot write `nope/mine.asr`" in done.stderr


def test_an_unknown_template(run: Run) -> None:
    done = run("new", "mine", "--template", "rnn")
    assert done.exit_code == 2
    assert all(f"'{name}'" in done.stderr for name in TEMPLATES)
