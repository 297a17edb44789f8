"""`asrc fmt`."""

from __future__ import annotations

import json
from pathlib import Path

from .helpers import TINY, Run

UNTIDY = TINY.replace("logmel(bins=8, ", "logmel( bins = 8,").replace("\n\ninput", "\n\n\n\ninput")


def test_files_are_rewritten(run: Run, tiny: Path) -> None:
    tiny.write_text(UNTIDY)
    done = run("fmt", "tiny.asr")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "formatted: tiny.asr\n"
    assert tiny.read_text() == TINY
    again = run("fmt", "tiny.asr")
    assert (again.exit_code, again.output) == (0, "")


def test_a_link_stays_a_link(run: Run, tiny: Path) -> None:
    tiny.write_text(UNTIDY)
    link = tiny.with_name("link.asr")
    link.symlink_to(tiny)
    assert run("fmt", "link.asr").exit_code == 0
    assert link.is_symlink()
    assert tiny.read_text() == TINY


def test_a_file_that_does_not_parse_stays(run: Run, tiny: Path) -> None:
    broken = UNTIDY.replace("{ dce() }", "{ dce( }")
    tiny.write_text(broken)
    other = tiny.with_name("other.asr")
    other.write_text(UNTIDY)
    done = run("fmt", "tiny.asr", "other.asr")
    assert done.exit_code == 1
    assert "error[E0001]" in done.stderr
    assert tiny.read_text() == broken
    assert other.read_text() == TINY


def test_a_file_that_cannot_be_read(run: Run) -> None:
    assert run("fmt", "nope.asr").exit_code == 3


def test_check(run: Run, tiny: Path) -> None:
    assert run("fmt", "--check", "tiny.asr").exit_code == 0
    tiny.write_text(UNTIDY)
    done = run("fmt", "--check", "tiny.asr")
    assert (done.exit_code, done.stderr) == (1, "would be formatted: tiny.asr\n")
    assert tiny.read_text() == UNTIDY


def test_diff(run: Run, tiny: Path) -> None:
    tiny.write_text(UNTIDY)
    done = run("fmt", "--diff", "tiny.asr")
    assert done.exit_code == 1
    assert "\n-  mel = audio |> logmel( bins = 8,window=25ms, hop=10ms)\n" in done.stdout
    assert "\n+  mel = audio |> logmel(bins=8, window=25ms, hop=10ms)\n" in done.stdout
    assert tiny.read_text() == UNTIDY


def test_stdout_and_stdin(run: Run, tiny: Path) -> None:
    tiny.write_text(UNTIDY)
    assert run("fmt", "--stdout", "tiny.asr").stdout == TINY
    assert tiny.read_text() == UNTIDY
    assert run("fmt", "-", stdin=UNTIDY).stdout == TINY
    done = run("fmt", "-", stdin="asr 1\nnet (")
    assert (done.exit_code, done.stdout) == (1, "")
    assert run("fmt", "--stdout", "--check", "tiny.asr").exit_code == 2


def test_json(run: Run, tiny: Path) -> None:
    tiny.write_text(UNTIDY)
    done = run("fmt", "--check", "--json", "tiny.asr", "nope.asr")
    found = json.loads(done.stdout)
    assert found["changed"] == ["tiny.asr"]
    assert [item["code"] for item in found["diagnostics"]] == ["E0008"]
