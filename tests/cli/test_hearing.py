"""What `asrc eval`, `transcribe` and `verify` say around the words that are heard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asrc.runtime.recogniser import write_recogniser
from asrc.tests.runtime.test_recogniser import made
from asrc.tests.training.tiny import MODEL, RATE, corpus

from .helpers import STARTED, Program, Run


@pytest.fixture
def model(tmp_path: Path) -> str:
    """One that says something whatever it hears: its blank is unlikely."""
    found = made()
    with torch.no_grad():
        found.lowered.tensors()["joint.out.dense.bias"][-1] = 0.4
    write_recogniser(tmp_path / "model", found)
    return str(tmp_path / "model")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return corpus(tmp_path / "data", 3)


def lines(manifest: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def rewritten(manifest: Path, records: list[dict[str, object]]) -> None:
    manifest.write_text("".join(f"{json.dumps(one)}\n" for one in records))


# --- eval ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("never")
def test_a_table_by_a_key_of_no_line(run: Run, model: str, manifest: Path) -> None:
    done = run("eval", model, str(manifest), "--by", "dialect")
    assert done.exit_code == 2
    assert "has the key `dialect`; there are: " in " ".join(done.stderr.split())


def test_every_utterance_is_left_out(run: Run, model: str, manifest: Path) -> None:
    rewritten(manifest, [one | {"audio_filepath": "none.wav"} for one in lines(manifest)])
    done = run("eval", model, str(manifest))
    said = " ".join(done.stderr.split())
    assert done.exit_code == 1
    assert "error[E1005]: every utterance was left out (audio cannot be used: 3)" in said
    assert said.count("left out: ") == 3


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recognition fails, as a proof that it was not begun."""
    monkeypatch.setattr("asrc.training.recognise.recognise", None)


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("page", ["file/page.html", "data"])
def test_a_page_that_cannot_be_written(run: Run, model: str, manifest: Path, page: str) -> None:
    Path("file").write_text("")
    done = run("eval", model, str(manifest), "--page", page)
    assert done.exit_code == 3
    assert f"error[E0008]: cannot write `{page}`" in done.stderr


def test_scores_are_there_when_the_page_fails(
    run: Run, model: str, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asrc.compiler.files import read_bytes

    def full(path: Path, *_: object, **__: object) -> None:
        assert not path.exists()
        read_bytes(path)

    monkeypatch.setattr("asrc.training.scoring_page.write_page", full)
    done = run("eval", model, str(manifest), "--page", "page.html")
    assert done.exit_code == 3
    assert "utterances  correct" in done.stdout
    assert not list(Path().glob("page*"))


def test_lines_without_text_are_left_out(run: Run, model: str, manifest: Path) -> None:
    first, second, third = lines(manifest)
    del first["text"]
    rewritten(manifest, [first, second | {"text": ""}, third | {"audio_filepath": "gone.wav"}])
    done = run("eval", model, str(manifest), "--json", "--page", "page.html")
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert [(one["id"], one["words"]) for one in found["utterances"]] == [("u1", 0)]
    assert found["left_out"] == {"no text": 1, "audio cannot be used": 1}
    said = done.stderr.splitlines()
    assert said[0] == "left out: 1 without `text`, first `u0`"
    assert said[1].startswith("left out: u2: cannot use the audio `")
    counts = "left out: 1 no text, 1 audio cannot be used"
    assert counts in run("eval", model, str(manifest)).stdout.splitlines()
    assert f"<p>{counts}</p>" in Path("page.html").read_text()


# --- transcribe ------------------------------------------------------------------------------


def wavs(manifest: Path) -> list[str]:
    return [str(manifest.parent / str(one["audio_filepath"])) for one in lines(manifest)]


def test_partial_words_have_the_time_of_their_file(run: Run, model: str, manifest: Path) -> None:
    first, second, _ = wavs(manifest)
    alone = run("transcribe", model, second, "--partial").stderr.splitlines()[:-1]
    both = run("transcribe", model, first, second, "--partial").stderr.splitlines()[:-1]
    assert alone
    assert both[-len(alone) :] == alone


def test_several_files_as_json(run: Run, model: str, manifest: Path) -> None:
    first, second, third = wavs(manifest)
    done = run("transcribe", model, first, second, "--json", "--times", "--nbest", "2")
    found = json.loads(done.stdout)
    assert [one["audio"] for one in found["files"]] == [first, second]
    assert all({"text", "labels", "nbest"} <= one.keys() for one in found["files"])
    seconds = [1000 * soundfile.info(name).duration for name in (first, second)]
    assert [one["duration"] for one in found["files"]] == pytest.approx(seconds, abs=0.01)
    assert found["duration"] == pytest.approx(sum(seconds), abs=0.01)
    assert found["lookahead"] == 15
    assert found["real_time_factor"] > 0 < found["longest"]
    assert found["ok"]
    alone = json.loads(run("transcribe", model, third, "--json").stdout)
    assert (alone["audio"], alone["text"]) == (third, alone["files"][0]["text"])


def test_a_file_that_is_not_there_as_json(run: Run, model: str, manifest: Path) -> None:
    done = run("transcribe", model, "gone.wav", wavs(manifest)[0], "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert [one["audio"] for one in found["files"]] == wavs(manifest)[:1]
    assert not found["ok"]
    assert [one["code"] for one in found["diagnostics"]] == ["E1001"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [(b"", "`stdin`: it has no samples"), (b"RIFF" + bytes(96), "begin as a file does")],
)
def test_no_raw_samples_at_all(model: str, sent: bytes, said: str) -> None:
    done = heard("transcribe", model, "-", stdin=sent)
    assert done.returncode == 1
    assert b"error[E1001]" in done.stderr
    assert said in " ".join(done.stderr.decode().split())


def heard(*args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """`asrc` as users start it, with Python's own warnings."""
    command = [sys.executable, "-c", STARTED, *args]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


def test_raw_samples_with_a_byte_too_many(model: str) -> None:
    done = heard("transcribe", model, "-", stdin=bytes(2 * RATE + 1))
    said = done.stderr.decode().splitlines()
    assert done.returncode == 0
    assert said[0] == "warning: the raw samples end within a sample: 1 bytes are dropped"
    assert len(said) == 2


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_name_that_is_not_utf_8(model: str, manifest: Path, program: Program) -> None:
    """It is heard, and printed with an escape: a terminal takes UTF-8 alone."""
    first, second, _ = wavs(manifest)
    named = Path(first).rename(manifest.parent / os.fsdecode(b"\xe9.wav"))
    done = program("transcribe", model, str(named), second, PYTHONIOENCODING="utf-8:strict")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith(f"{manifest.parent}/\\udce9.wav: ")
    records = [one | {"audio_filepath": named.name} for one in lines(manifest)[:1]]
    rewritten(manifest, records)
    page = ("--page", str(manifest.parent / "page.html"), "--json")
    done = program("eval", model, str(manifest), *page, PYTHONIOENCODING="utf-8:strict")
    assert done.returncode == 0
    assert "%E9.wav" in (manifest.parent / "page.html").read_text("utf-8")


def test_half_a_wav_file(model: str, manifest: Path) -> None:
    path = Path(wavs(manifest)[2])
    path.write_bytes(path.read_bytes()[: 44 + RATE])
    whole = lines(manifest)[2]["duration"]
    said = heard("transcribe", model, str(path)).stderr.decode().splitlines()
    lengths = f"its header says {whole:.3f}s, and it holds 0.500s"
    assert said[0] == f"warning: the audio `{path}` is cut off: {lengths}"
    assert len(said) == 2


@pytest.mark.parametrize("live", [False, True])
def test_what_is_stopped(model: str, tmp_path: Path, live: bool) -> None:
    """A file that was not heard to its end is not told; what a source says on and on is."""
    long = tmp_path / "long.wav"
    soundfile.write(long, 0.1 * np.random.default_rng(0).standard_normal(600 * RATE), RATE)
    names = ["-"] if live else [str(long), str(long)]
    command = [sys.executable, "-c", STARTED, "transcribe", model, *names, "--partial"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as asrc:
        assert asrc.stdin is not None
        assert asrc.stderr is not None
        if live:
            asrc.stdin.write(bytes(2 * RATE))
            asrc.stdin.flush()
        asrc.stderr.readline()
        asrc.send_signal(signal.SIGINT)
        said = asrc.communicate()[0].decode()
    assert asrc.returncode == (0 if live else 130)
    assert said.startswith("stdin: ") if live else said == ""


# --- verify ----------------------------------------------------------------------------------


def test_a_trained_folder_is_verified(run: Run, model: str) -> None:
    done = run("verify", model)
    assert done.exit_code == 0, done.output
    assert f"{model}: model tiny, the weights of {model}" in done.stdout
    assert run("verify", model, "--passes", "dce()").exit_code == 2


def test_the_graph_of_a_trained_folder(run: Run, model: str) -> None:
    done = run("verify", f"{model}/model.asrir")
    assert done.exit_code == 1
    assert "error[E1006]" in done.stderr
    assert f"give its folder: {model}" in done.stderr


# --- bars ------------------------------------------------------------------------------------


def on_terminal(*args: str) -> tuple[str, str]:
    """stdout, and what a terminal on stderr gets."""
    mine, theirs = os.openpty()
    command = [sys.executable, "-c", STARTED, *args]
    env = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=env) as process:
        os.close(theirs)
        drawn = _drained(mine)
        assert process.stdout is not None
        return process.stdout.read().decode(), drawn


def _drained(terminal: int) -> str:
    """Everything until the other side is closed, which Linux reports as an error."""
    parts = []
    try:
        while part := os.read(terminal, 65536):
            parts.append(part)
    except OSError:
        pass
    os.close(terminal)
    return b"".join(parts).decode()


def test_a_bar_over_utterances(model: str, manifest: Path) -> None:
    first, *others = lines(manifest)
    rewritten(manifest, [first | {"audio_filepath": "gone.wav"}, *others])
    out, drawn = on_terminal("eval", model, str(manifest))
    assert "evaluating" in drawn
    assert "3/3" in drawn
    assert "\r\033[2Kleft out: u0" in drawn
    assert "utterances  correct" in out
    _, drawn = on_terminal("eval", model, str(manifest), "--plain")
    assert "evaluating" not in drawn


def test_a_bar_over_files(model: str, manifest: Path) -> None:
    out, drawn = on_terminal("transcribe", model, *wavs(manifest))
    assert out.count("\n") == 3
    assert "transcribing" in drawn
    assert "3/3" in drawn
    assert "transcribing" not in on_terminal("transcribe", model, wavs(manifest)[0])[1]


RECIPE = """
[optimiser]
updates = 4
[data]
vocabulary = "words"
size = 64
[pace]
validate = 4
save = 4
log = 1
"""


def test_a_bar_over_updates(manifest: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "tiny.asr").write_text(MODEL)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    files = [str(tmp_path / name) for name in ("tiny.asr", "recipe.toml", "out")]
    data = ("--train", str(manifest), "--dev", str(manifest), "--recipe", files[1])
    out, drawn = on_terminal("train", files[0], *data, "--out", files[2])
    assert "training" in drawn
    assert "4/4" in drawn
    assert "      4  loss" in out
    plain = program("train", files[0], *data, "--out", f"{files[2]}-plain")
    assert [line[:9] for line in plain.stdout.splitlines()] == [
        line[:9] for line in out.splitlines()
    ]
    assert plain.stderr == ""
    told = program("train", files[0], *data, "--out", f"{files[2]}-json", "--json").stdout
    every = [json.loads(line) for line in told.splitlines()]
    assert [one["update"] for one in every if "loss" in one] == [1, 2, 3, 4]
    assert [one["update"] for one in every if "dev.wer" in one] == [4]
    assert [one["text"] for one in every if "text" in one][1].startswith("train: 3 of 3")
