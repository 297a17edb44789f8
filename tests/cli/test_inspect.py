"""`asrc inspect`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .helpers import CONFORMER, RNNT, TINY, Program, Run

Golden = Callable[[str, str], None]

STREAM = "mask(encoder, chunk=320ms, left=2560ms)"


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("inspect-rnnt", []),
        ("inspect-rnnt-depth-0", ["--depth", "0"]),
        ("inspect-rnnt-depth-2", ["--depth", "2"]),
        ("inspect-rnnt-state", ["--state"]),
        ("inspect-rnnt-params", ["--params"]),
        ("inspect-rnnt-contributors", ["--contributors", "joint"]),
        ("inspect-rnnt-plain", ["--plain"]),
        ("inspect-rnnt-dot", ["--dot"]),
    ],
)
def test_the_rnnt(run: Run, golden: Golden, name: str, args: list[str]) -> None:
    done = run("inspect", RNNT, *args)
    assert (done.exit_code, done.stderr) == (0, "")
    golden(f"cli/{name}.txt", done.stdout)


def test_a_pipeline_and_its_passes_on_the_command_line(run: Run) -> None:
    named = run("inspect", CONFORMER, "--pipeline", "stream")
    typed = run("inspect", CONFORMER, "--passes", STREAM)
    assert named.stdout == typed.stdout
    assert (
        "encoder.body.1..12 (x12)      Conformer           [256] @ 40ms               +295ms"
        in (named.stdout)
    )
    assert run("inspect", CONFORMER, "--pipeline", "stream", "--passes", STREAM).exit_code == 2


def test_layers_that_are_alike_but_not_ready_together(run: Run) -> None:
    """With one frame of right context, each layer waits for one more chunk."""
    done = run("inspect", CONFORMER, "--passes", STREAM, "--depth", "2", "--plain")
    rows = {line.split("\t")[0]: line.split("\t") for line in done.stdout.splitlines()}
    assert rows["encoder.body.1..12 (x12)"][3] == "+295ms"
    assert rows["encoder.body.1..12.Ffn (x12)"][3] == "+15ms..295ms"


def test_what_makes_the_look_ahead(run: Run) -> None:
    """The rows sum to it: 280 + 15."""
    done = run("inspect", CONFORMER, "--passes", STREAM, "--contributors", "encoder")
    first, chunk, window = done.stdout.splitlines()
    assert first == "encoder: look-ahead 295ms"
    assert chunk.startswith("  280ms  attention waits for the end of its 320ms chunk (")
    assert window.startswith("   15ms  logmel: 25ms window, 10ms hop (")


def test_what_waits_for_ever(run: Run) -> None:
    first, wait = run("inspect", CONFORMER, "--contributors", "encoder").stdout.splitlines()
    assert first == "encoder: look-ahead unbounded"
    assert wait.startswith("  unbounded  attention over the whole utterance (")


def test_a_value_that_is_not_there(run: Run) -> None:
    done = run("inspect", CONFORMER, "--contributors", "encodr")
    assert done.exit_code == 1
    assert "did you mean `encoder`" in done.stderr


def test_a_part_of_the_model_waits_as_its_latest_value(run: Run) -> None:
    """`--contributors` takes what `require lookahead(...)` takes."""
    for part in ("encoder.body.3", "encoder.body.*", "encoder.body.3.Ffn"):
        done = run("inspect", CONFORMER, "--passes", STREAM, "--contributors", part)
        assert done.stdout.startswith(f"{part}: look-ahead 295ms\n"), part


def test_watching_needs_passes(run: Run) -> None:
    assert run("inspect", RNNT, "--print-ir-after", "dce").exit_code == 2
    assert run("inspect", RNNT, "--time-passes").exit_code == 2


def test_warnings_of_the_model_are_in_the_json(run: Run, tiny: Path) -> None:
    tiny.write_text(TINY + "let idle = 3\n", encoding="utf-8")
    told = json.loads(run("inspect", "tiny.asr", "--json").stdout)
    assert [item["code"] for item in told["diagnostics"]] == ["W0104"]


def test_a_broken_budget_is_told_beside_the_table(run: Run) -> None:
    done = run("inspect", RNNT, "--set", "cell=1024")
    assert done.exit_code == 1
    assert "error[E0501]" in done.stderr
    assert "total " in done.stdout


def test_passes_that_do_not_parse(run: Run) -> None:
    done = run("inspect", CONFORMER, "--passes", "mask(encoder")
    assert done.exit_code == 1
    assert "--> --passes:1:" in done.stderr


def test_ir(run: Run) -> None:
    from asrc.compiler.irread import parse_graph

    text = run("inspect", CONFORMER, "--passes", STREAM, "--ir").stdout
    graph = parse_graph(text)
    assert graph.provenance == (f"after {STREAM}",)
    assert len(graph) == 466


def test_ir_after_and_on_change(run: Run, tiny: Path) -> None:
    passes = "dce(), mask(encoder, causal), dce()"
    done = run("inspect", CONFORMER, "--passes", passes, "--print-ir-on-change")
    assert done.stdout.count("asrir 1\n") == 1
    assert "# after mask(encoder, causal)\n" in done.stdout
    done = run("inspect", CONFORMER, "--passes", passes, "--print-ir-after", "dce")
    assert done.stdout.count("asrir 1\n") == 2


def test_one_view_at_a_time(run: Run) -> None:
    done = run("inspect", RNNT, "--ir", "--dot")
    assert done.exit_code == 2
    assert "one at a time: --ir, --dot" in done.stderr
    assert run("inspect", RNNT, "--dot", "--json").exit_code == 2


# --- JSON ------------------------------------------------------------------------------------


def test_json_has_every_fact_of_every_value(run: Run) -> None:
    found = json.loads(run("inspect", CONFORMER, "--passes", STREAM, "--json").stdout)
    assert set(found) == {
        *("ok", "model", "passes", "nets", "total", "step_ms", "layers", "contributors"),
        *("state", "tensors", "values", "diagnostics"),
    }
    assert found["passes"] == [STREAM]
    assert found["step_ms"] == 320
    assert len(found["values"]) == 466
    assert set(found["values"][0]) == {
        *("path", "op", "inputs", "type", "format", "lookahead_ms", "demanded", "parameters"),
        *("shares_parameters_of", "cached", "macs", "line", "held_frame", "held_step"),
    }


def test_json_sums_agree(run: Run) -> None:
    found = json.loads(run("inspect", CONFORMER, "--passes", STREAM, "--json").stdout)
    total, state = found["total"], found["state"]
    learned = [t for t in found["tensors"] if t["learned"]]
    assert sum(_product(t["shape"]) for t in learned) == total["parameters"] == 20_041_153
    for figure in ("frame", "step"):
        held = sum(row["bits"] for row in state if row["figure"] == figure)
        assert held == total[f"state_{figure}_bits"]
    inside = [row for row in found["layers"] if row["level"] == 1]
    assert sum(row["parameters"] for row in inside) == total["parameters"]
    waits = found["contributors"]["encoder"]
    assert sum(row["lookahead_ms"] for row in waits) == 295


def _product(shape: list[int]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


# --- drawings --------------------------------------------------------------------------------


def test_svg_without_graphviz(program: Program, tiny: Path) -> None:
    done = program("inspect", "tiny.asr", "--svg", "out.svg", PATH="")
    assert done.returncode == 3
    assert "error[E0008]: `dot` of Graphviz is not on the PATH" in done.stderr
    assert "install the package `graphviz`" in done.stderr
    assert not (tiny.parent / "out.svg").exists()


def test_svg_is_what_graphviz_makes_of_dot(
    run: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for Graphviz that hands back what it was given."""
    fake = tiny.parent / "bin" / "dot"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\ntest "$1" = -Tsvg && exec cat\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    assert run("inspect", "tiny.asr", "--svg", "out.svg").exit_code == 0
    assert (tiny.parent / "out.svg").read_text() == run("inspect", "tiny.asr", "--dot").stdout
    fake.write_text("#!/bin/sh\necho syntax >&2\nexit 1\n")
    assert "error[E0008]: `dot` fails: syntax" in run("inspect", "tiny.asr", "--svg", "x").stderr
