"""The program as a whole: start, exit codes, colours, streams."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from asrc.cli.main import COMMANDS, cli

from .helpers import RNNT, STARTED, Program, Run


def test_help_lists_every_command_and_exit_code(run: Run) -> None:
    text = run("--help").output
    for name in COMMANDS:
        assert f"\n  {name} " in text
    for code in (0, 1, 2, 3, 70, 130, 141):
        assert f"\n  {code:>4}  " in text or f" {code}  " in text


def test_every_command_is_named_after_its_module() -> None:
    with click.Context(cli) as ctx:
        for name in COMMANDS:
            command = cli.get_command(ctx, name)
            assert command is not None
            assert command.name == name
            assert command.get_short_help_str()


def test_a_misspelt_command_is_answered_with_the_near_one(run: Run) -> None:
    done = run("chekc", "m.asr")
    assert done.exit_code == 2
    assert "did you mean `check`?" in done.stderr
    assert "commands are bench, check, " in run("zzz").stderr


@pytest.mark.parametrize("args", [["check"], ["inspect", "m.asr", "--depth", "-1"], ["--nope"]])
def test_wrong_usage(program: Program, args: list[str]) -> None:
    done = program(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage: asrc" in done.stderr


def test_a_file_that_is_not_there(program: Program) -> None:
    done = program("check", "nope.asr")
    assert done.returncode == 3
    assert "error[E0008]: cannot read `nope.asr`: No such file or directory" in done.stderr


def test_mistakes_in_a_model(program: Program, tiny: Path) -> None:
    tiny.write_text(tiny.read_text().replace("dense(4)", "dens(4)"))
    done = program("check", "tiny.asr")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "error[E0101]" in done.stderr
    assert "tiny.asr:8:24" in done.stderr


BREAK = "import asrc.dsl.check as c\ndef broken(*a): raise ValueError('a lost frame')\n"


def test_an_internal_error_is_one_line_and_a_report(program: Program, tiny: Path) -> None:
    done = program("check", "tiny.asr", before=f"{BREAK}c.read_model = broken")
    assert done.returncode == 70
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("internal error (ValueError): this is a mistake in asrc; see ")
    report = Path(line.rpartition(" ")[2]).read_text()
    assert "$ asrc check tiny.asr" in report
    assert "ValueError: a lost frame" in report


def test_an_internal_error_in_a_pass_has_a_reproducer(program: Program, tiny: Path) -> None:
    spoil = "from asrc.passes.dce import Dce\ndef broken(*a): raise KeyError('x')\nDce.run = broken"
    done = program("check", "tiny.asr", before=spoil)
    assert done.returncode == 70
    assert "error[E0999]: internal error in pass `dce`: KeyError" in done.stderr
    (report,) = tiny.parent.glob("asrc-dce-*.txt")
    assert f"asrc passes --replay {report.name}" in done.stderr
    again = program("passes", "--replay", report.name, before=spoil)
    assert again.returncode == 70
    healed = program("passes", "--replay", report.name)
    assert (healed.returncode, healed.stdout) == (0, "it runs without an error now\n")


def test_control_c(tmp_path: Path) -> None:
    asrc = subprocess.Popen(
        [sys.executable, "-c", f"print(flush=True)\n{STARTED}", "check", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with asrc:
        assert asrc.stdout is not None
        asrc.stdout.readline()
        asrc.stdin.write("asr 1\n")  # type: ignore[union-attr]
        asrc.stdin.flush()  # type: ignore[union-attr]
        with pytest.raises(subprocess.TimeoutExpired):
            asrc.wait(1)
        asrc.send_signal(signal.SIGINT)
        _, errors = asrc.communicate()
    assert asrc.returncode == 130
    assert "Traceback" not in errors


def test_a_reader_that_goes_away() -> None:
    asrc = subprocess.Popen(
        [sys.executable, "-c", STARTED, "inspect", RNNT, "--ir"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with asrc:
        assert asrc.stdout is not None
        asrc.stdout.close()
        assert asrc.stderr is not None
        assert asrc.stderr.read() == ""
    assert asrc.returncode == 141


# --- colours ---------------------------------------------------------------------------------


def test_no_colour_where_nobody_looks(program: Program) -> None:
    assert "\x1b" not in program("check", "nope").stderr
    assert "\x1b" in program("check", "nope", "--color", "always").stderr


def test_no_color_is_respected(tiny: Path) -> None:
    """On a terminal, so that colour is what there would be."""
    script = (
        "import os, pty, sys\n"
        "code = pty.spawn([sys.executable, '-c', sys.argv[1], 'check', 'nope', *sys.argv[2:]])\n"
    )

    def seen(*args: str, **env: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", script, STARTED, *args],
            cwd=tiny.parent,
            env={"PATH": "", "TERM": "xterm", **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        ).stdout

    assert "\x1b[1;31m" in seen()
    assert "\x1b" not in seen(NO_COLOR="1")
    assert "\x1b" not in seen(TERM="dumb")
    assert "\x1b" not in seen("--color", "never")
    assert "\x1b" not in seen("--plain")
    assert "\x1b" in seen("--color", "always", NO_COLOR="1")


# --- light -----------------------------------------------------------------------------------


def test_help_loads_click_and_nothing_else(program: Program) -> None:
    probe = (
        "import atexit, sys\n"
        "heavy = {'networkx', 'lark', 'numpy', 'torch', 'triton', 'asrc.compiler.graph'}\n"
        "atexit.register(lambda: print('loaded:', *sorted(heavy & set(sys.modules))))"
    )
    done = program("--help", before=probe)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_check_and_inspect_load_no_numerics(program: Program) -> None:
    probe = (
        "import atexit, sys\n"
        "heavy = {'networkx', 'numpy', 'torch', 'triton'}\n"
        "atexit.register(lambda: print('loaded:', *sorted(heavy & set(sys.modules))))"
    )
    for args in (["check", RNNT], ["inspect", RNNT, "--json"]):
        done = program(*args, before=probe)
        assert done.returncode == 0
        assert done.stdout.splitlines()[-1] == "loaded: networkx"


# --- completion ------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run: Run, shell: str) -> None:
    done = run("completion", shell)
    assert done.exit_code == 0
    assert f"_ASRC_COMPLETE={shell}_complete" in done.stdout


def test_what_is_completed(program: Program) -> None:
    def completed(line: str) -> set[str]:
        place = str(len(line.split(" ")) - 1)
        done = program(_ASRC_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=place)
        return {item.partition(",")[2] for item in done.stdout.splitlines()}

    assert completed("asrc in") == {"inspect"}
    assert completed("asrc inspect --dep") == {"--depth"}
    assert {"mask", "dce"} <= completed("asrc passes ")
    assert completed("asrc new x --template rn") == {"rnnt"}


def test_json_of_a_failure_is_json(run: Run) -> None:
    for args in (["inspect", "nope", "--json"], ["inspect", RNNT, "--json", "--set", "cell="]):
        done = run(*args)
        assert done.exit_code != 0
        found = json.loads(done.stdout)
        assert found["ok"] is False
        assert [item["severity"] for item in found["diagnostics"]] == ["error"]
