"""`asrc bench`: what is timed is the whole work of a step, a label, an utterance."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from asrc.backends.nna.executor import Executor
from asrc.cli.main import cli
from asrc.compiler.artefact import read_artefact, write_artefact
from asrc.runtime.bench import LEAST, Job, Timed, jobs, timed
from asrc.runtime.fast import compiled_fast
from asrc.runtime.recogniser import write_recogniser
from asrc.tests.runtime.test_compiled import artefact as artefact  # a fixture
from asrc.tests.runtime.test_recogniser import made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "run"
    write_recogniser(path, made())
    return path


def test_models_take_turns() -> None:
    order: list[str] = []
    found = {
        "one": [Job("step", lambda: order.append("one"), 2.0), Job("label", list)],
        "other": [Job("step", lambda: order.append("other"), 1.0)],
    }
    first, second, label = timed(found, 0)
    assert order[2 * LEAST :] == ["one", "other"] * LEAST
    assert [(row.what, row.by) for row in (first, second, label)] == [
        ("step", "one"), ("step", "other"), ("label", "one"),
    ]  # fmt: skip
    assert len(first.times) == len(second.times) == len(label.times) == LEAST


def test_ratios_are_for_the_same_amount_of_sound() -> None:
    one, other = Timed("step", "a", 2.0, (1.0, 3.0, 8.0)), Timed("step", "b", 1.0, (6.0,))
    assert (one.median, one.least, one.faster) == (3, 1, pytest.approx(2 / 3))
    assert other.beside(one) == 4
    assert Timed("label", "b", 0.0, (6.0,)).beside(Timed("label", "a", 0.0, (3.0,))) == 2


def test_work_of_a_folder(folder: Path) -> None:
    ((by, work),) = jobs(folder, (1, 3), 0.5).items()
    assert by == str(folder)
    assert [job.what for job in work] == [
        "step, 1 stream", "step, 3 streams", "label, 1 stream", "label, 3 streams",
        "whole, 1 x 0.5 s", "whole, 3 x 0.5 s",
    ]  # fmt: skip
    assert [job.audio > 0 for job in work] == [True, True, False, False, True, True]
    assert work[1].audio == 3 * work[0].audio
    for turn in range(4):  # each push is one step: a frame comes out, once the first is there
        (block,) = work[1].call().values()  # type: ignore[attr-defined]
        assert block.data.shape[0] == 3
        if turn == 3:
            assert block.data.shape[1] >= 1
    assert {x.shape[0] for x in work[5].call().values()} == {3}  # type: ignore[attr-defined]


def test_the_table(folder: Path) -> None:
    given = ["bench", str(folder), "--seconds", "0.5", "--for", "0"]
    rows = json.loads(CliRunner().invoke(cli, [*given, "--json"]).stdout)
    assert [row["what"] for row in rows] == [
        "step, 1 stream",
        "label, 1 stream",
        "whole, 1 x 0.5 s",
    ]
    assert all(0 < row["least"] <= row["median"] and row["turns"] == LEAST for row in rows)
    shown = CliRunner().invoke(cli, [*given, "--plain"]).stdout.splitlines()
    assert shown[0].split("\t")[0] == "what"
    assert len(shown) == 4


def test_integers_are_timed_where_they_run(artefact: Path, tmp_path: Path) -> None:
    """An artefact for kernels: on these first, beside the same programs in NumPy."""
    pytest.importorskip("triton")
    from asrc.backends.triton.exact_stream import ExactStream

    parts = read_artefact(artefact)
    manifest = json.loads(parts["manifest.json"]) | {"on": "triton"}
    path = tmp_path / "exact.asrc"
    write_artefact(path, parts | {"manifest.json": json.dumps(manifest).encode()})
    found = jobs(path, (1,), 0.5)
    first, second, *_ = found
    assert (first, second) == (str(path), f"{path}, in NumPy")
    whats = [job.what for job in found[first]]
    assert whats[1:] == [job.what for job in found[second]]
    runs = {by: found[by][-1].call for by in (first, second)}
    steps = {by: cast("partial[dict[str, object]]", call) for by, call in runs.items()}
    assert isinstance(steps[first].func.__self__, ExactStream)
    assert isinstance(steps[second].func.__self__, Executor)
    assert steps[first]().keys() == steps[second]().keys()


def test_work_of_integers(artefact: Path) -> None:
    """On the executor with features and without, on LiteRT in two ways."""
    found = jobs(artefact, (1,), 0.5)
    programs = [f"{part} program" for part in ("encoder", "predictor", "joint")]
    mine, reference, fast = ([job.what for job in work] for work in found.values())
    assert mine == ["step, 1 stream", *programs]
    assert reference == fast == programs
    step, encoder = next(iter(found.values()))[:2]
    assert step.audio == encoder.audio > 0
    assert len(list(timed(found, 0))) == 10


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
def test_work_on_kernels(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    write_artefact(tmp_path / "fast.asrc", compiled_fast(made()))
    (work,) = jobs(tmp_path / "fast.asrc", (1,), 0.1).values()
    assert [job.what for job in work] == ["step, 1 stream", "label, 1 stream", "whole, 1 x 0.1 s"]
    for job in work:
        job.call()


def test_no_model(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["bench", str(tmp_path / "none")])
    assert result.exit_code in (1, 3)
    assert "error[E" in result.stderr
