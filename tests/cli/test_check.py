"""`asrc check`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from asrc.compiler.artefact import write_artefact

from .helpers import CONFORMER, RNNT, TINY, Program, Run


def table(text: str) -> dict[str, list[str]]:
    """The rows of `--plain` tables by their first field."""
    rows = (line.split("\t") for line in text.splitlines())
    return {first: rest for first, *rest in rows}


def test_a_summary_of_nets_and_pipelines(run: Run) -> None:
    done = run("check", CONFORMER, "--plain")
    assert (done.exit_code, done.stderr) == (0, "")
    rows = table(done.stdout)
    assert rows["net"] == "type look-ahead state(frame) state(step) parameters MACs".split()
    assert rows["encoder"][:3] == ["[256] @ 40ms", "unbounded", "grows"]
    assert rows["predictor"][:2] == ["[256] @ label", "-"]
    assert rows["total"][4] == "20.04 M"
    assert rows["offline"][:2] == ["unbounded", "grows"]
    assert rows["stream"][:2] == ["+295ms", "1.686 MiB"]


def test_the_summary_as_it_looks(run: Run, golden: Callable[[str, str], None]) -> None:
    done = run("check", RNNT)
    assert done.exit_code == 0
    golden("cli/check-rnnt.txt", done.stdout.replace(RNNT, "rnnt.asr"))


def test_one_pipeline(run: Run) -> None:
    done = run("check", CONFORMER, "--pipeline", "stream", "--plain")
    assert "model conformer_t after pipeline stream" in done.stdout
    rows = table(done.stdout)
    assert rows["encoder"][1] == "+295ms"
    assert "offline" not in rows


def test_a_pipeline_that_is_not_there(run: Run) -> None:
    done = run("check", CONFORMER, "--pipeline", "strem")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "error[E0806]: there is no pipeline `strem`" in done.stderr
    assert "did you mean `stream`?" in done.stderr


def test_stdin(run: Run) -> None:
    done = run("check", "-", stdin=TINY)
    assert done.exit_code == 0
    assert "tiny" in done.stdout
    broken = run("check", "-", stdin=TINY.replace("dense(4)", "dense()"))
    assert broken.exit_code == 1
    assert "--> <stdin>:8:24" in broken.stderr


def test_stdin_that_is_closed(program: Program) -> None:
    done = program("check", "-", before="import sys; sys.stdin = None")
    assert (done.returncode, "E0008" in done.stderr) == (3, True)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"asr 1\n\xff", "E0002"), (b"asr 1\0", "E0002"), (b"#" * (1 << 20) + b"#", "E0003")],
)
def test_stdin_that_is_no_model(run: Run, data: bytes, code: str) -> None:
    done = run("check", "-", stdin=data)
    assert done.exit_code == 1
    assert f"error[{code}]" in done.stderr


@pytest.mark.parametrize("command", ["check", "inspect", "fmt"])
def test_a_compiled_artefact_is_no_text(run: Run, tmp_path: Path, command: str) -> None:
    """A large one, whose end is not read, and one of another name too."""
    for name, size in (("a.asrc", 9), ("large.asrc", 3 << 20), ("model", 9)):
        write_artefact(tmp_path / name, {"weights": Random(0).randbytes(size)})
        done = run(command, str(tmp_path / name), "--plain")
        assert done.exit_code == 1
        assert f"error[E0002]: `{tmp_path / name}` is a compiled artefact" in done.stderr
        for reader in ("size", "run", "diff", "verify", "transcribe", "eval"):
            assert f"`asrc {reader}`" in done.stderr


def test_use_is_read_beside_the_file(run: Run, tiny: Path) -> None:
    folder = tiny.parent / "below"
    folder.mkdir()
    (folder / "mine.asr").write_text("asr 1\nblock Half(n) { out in |> dense(n) }\n")
    text = TINY.replace("\n\ninput", "\nuse mine (Half)\n\ninput").replace("dense(4)", "Half(4)")
    (folder / "m.asr").write_text(text)
    assert run("check", "below/m.asr").exit_code == 0


def test_a_library(run: Run, tiny: Path) -> None:
    tiny.with_name("mine.asr").write_text("asr 1\nblock Half(n) { out in |> dense(n) }\n")
    done = run("check", "mine.asr")
    assert (done.exit_code, done.stdout) == (0, "mine.asr: a library, all well\n")


# --- several files ---------------------------------------------------------------------------


def test_all_files_are_checked(run: Run, tiny: Path) -> None:
    (tiny.parent / "bad.asr").write_text(TINY.replace("dense(4)", "dens(4) |> rellu"))
    done = run("check", "bad.asr", "nope.asr", "tiny.asr")
    assert done.exit_code == 3
    assert done.stderr.count("error[E0101]") == 2
    assert done.stderr.count("error[E0008]") == 1
    assert "tiny.asr: model tiny" in done.stdout
    assert "bad.asr" not in done.stdout


# --- settings --------------------------------------------------------------------------------


def test_set(run: Run) -> None:
    wide = run("check", RNNT, "--set", "cell=1024")
    assert (wide.exit_code, wide.stdout) == (1, "")
    assert "error[E0501]" in wide.stderr  # more than 45 M parameters
    rows = table(
        run("check", RNNT, "--plain", "--set", "vocab=500 * 2", "--set", "cell=704").stdout
    )
    assert rows["joint"][0] == "[1001] @ 60ms x label"


@pytest.mark.parametrize(
    ("setting", "code", "words"),
    [
        ("cell=100", "E0110", "100 is not a multiple of 8"),
        ("cel=96", "E0101", "did you mean `cell`?"),
        ("cell=", "E0001", "expected an expression"),
        ("cell=3 +", "E0001", "--set cell:1:"),
    ],
)
def test_a_wrong_setting(run: Run, setting: str, code: str, words: str) -> None:
    done = run("check", RNNT, "--set", setting)
    assert done.exit_code == 1
    assert f"error[{code}]" in done.stderr
    assert words in done.stderr


@pytest.mark.parametrize("settings", [["cell"], ["cell=768", "cell=768"]])
def test_a_malformed_setting_is_wrong_usage(run: Run, settings: list[str]) -> None:
    args = [part for setting in settings for part in ("--set", setting)]
    assert run("check", RNNT, *args).exit_code == 2


# --- warnings --------------------------------------------------------------------------------

UNUSED = TINY.replace("  out mel", "  spare = mel |> relu\n  out mel")


def test_warnings_are_shown_and_pass(run: Run, tiny: Path) -> None:
    tiny.write_text(UNUSED)
    done = run("check", "tiny.asr")
    assert done.exit_code == 0
    assert "warning[W0104]" in done.stderr
    assert "model tiny" in done.stdout


def test_warnings_can_be_denied(run: Run, tiny: Path) -> None:
    tiny.write_text(UNUSED)
    assert run("check", "tiny.asr", "--deny-warnings").exit_code == 1
    tiny.write_text(TINY)
    assert run("check", "tiny.asr", "--deny-warnings").exit_code == 0


# --- styles ----------------------------------------------------------------------------------


def test_plain_mistakes_are_a_line_each(run: Run, tiny: Path) -> None:
    tiny.write_text(TINY.replace("dense(4)", "dens(4)"))
    for option in (["--plain"], ["--style", "plain"]):
        first, *rest = run("check", "tiny.asr", *option).stderr.splitlines()
        assert first.startswith("tiny.asr:8:24: error[E0101]: ")
        assert all(line.startswith("  ") for line in rest)


def test_json(run: Run) -> None:
    done = run("check", CONFORMER, "nope.asr", "--json")
    assert (done.exit_code, done.stderr) == (3, "")
    found = json.loads(done.stdout)
    model, missing = found["files"]
    assert [found["ok"], model["ok"], missing["ok"]] == [False, True, False]
    assert missing["diagnostics"][0]["code"] == "E0008"
    assert set(model) == {
        *("ok", "file", "diagnostics", "model", "nets", "total", "step_ms", "pipelines")
    }
    assert model["total"]["parameters"] == 20_041_153
    encoder = model["pipelines"]["stream"]["nets"]["encoder"]
    assert encoder["lookahead_ms"] == 295
    assert encoder["state_frame_bits"] == 441_744 * 32
    assert encoder["types"][0] == {
        "text": "[256] @ 40ms",
        "dims": [256],
        "taps": None,
        "element": "real",
        "vocab": None,
        "clock": "40ms",
        "period_ms": 40,
    }
    assert model["nets"]["encoder"]["lookahead_ms"] is None
    assert model["nets"]["encoder"]["state_frame_bits"] is None
    assert run("check", CONFORMER, "nope.asr", "--style", "json").stdout == done.stdout


# --- watching passes -------------------------------------------------------------------------


def test_ir_is_printed_and_kept(run: Run, tiny: Path) -> None:
    watched = ["--pipeline", "thin", "--print-ir-after", "dce", "--keep-ir", "kept"]
    done = run("check", "tiny.asr", *watched, "--time-passes")
    assert done.exit_code == 0
    assert done.stdout.startswith("asrir 1\n# after dce()\n")
    assert re.search(r"^pass +time\ndce\(\) +\d+\.\dms$", done.stdout, re.MULTILINE)
    kept = sorted(path.name for path in (tiny.parent / "kept").iterdir())
    assert kept == ["00-source.asrir", "01-dce.asrir"]


def test_what_cannot_be_watched(run: Run, tiny: Path) -> None:
    assert run("check", "tiny.asr", "--time-passes").exit_code == 2
    thin = ["check", "tiny.asr", "--pipeline", "thin"]
    assert run(*thin, "--json", "--time-passes").exit_code == 2
    assert "did you mean `dce`?" in run(*thin, "--print-ir-after", "dse").stderr
