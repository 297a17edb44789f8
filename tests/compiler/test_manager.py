"""The pass manager: every pass is held to its word, and every mistake has somebody to blame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from asrc.compiler.budgets import Budget, Literal, Measure
from asrc.compiler.diagnostics import AsrcError, Diagnostic
from asrc.compiler.files import write_text
from asrc.compiler.graph import Graph, Node
from asrc.compiler.irread import parse_graph
from asrc.compiler.irtext import print_graph
from asrc.compiler.manager import Options, run_pipeline
from asrc.compiler.passtable import KEEPS, PASSES, Entry
from asrc.compiler.passtable import Option as Schema
from asrc.compiler.protocol import Weights
from asrc.compiler.reproducer import parse_reproducer, replay_command
from asrc.compiler.source import Source, Span
from asrc.compiler.spec import Call
from tests.builders import conformer, ms, recurrent

CALLS = Source("pipeline", "mask(encoder, chunk=320ms, left=2560ms)\nchange(full)\n")


def call(name: str, *args: str, **options: object) -> Call:
    return Call(name, args, options)  # type: ignore[arg-type]


CHUNKED = Call("mask", ("encoder",), {"chunk": ms(320), "left": ms(2560)}, Span(CALLS, 0, 39))


EDITS: dict[str, tuple[str, dict[str, object]]] = {
    "rate": ("encoder.x", {"factor": 2}),
    "shapes": ("encoder.dense", {"n": 5}),
    "parameters": ("encoder.dense", {"bias": False}),
    "lookahead": ("encoder.x.window", {"past": 1, "future": 1}),
    "state": ("encoder.low.1.delay", {"frames": 2}),
}
"""What to break -> the value and the options that break exactly that."""

WRONG = {
    "types": Node("encoder.dense", "add", ("encoder.mel", "encoder.low.1.h")),
    "malformed": Node("encoder.dense", "dense", ("nowhere",), {"n": 4, "bias": True}),
}


@dataclass(frozen=True)
class Change:
    """Breaks what it is asked to break, while promising to keep everything."""

    name: ClassVar[str] = "change"
    keeps: ClassVar[frozenset[str]] = frozenset(KEEPS)

    what: str

    def run(self, graph: Graph, weights: Weights | None) -> tuple[Graph, Weights | None]:
        if self.what == "crash":
            raise ValueError("a mistake in the pass")
        if self.what == "output":
            return replace(graph, outputs={}), weights
        if self.what == "double":
            return graph, {k: 2 * v for k, v in (weights or {}).items()}
        if self.what in EDITS:
            path, attrs = EDITS[self.what]
            node = graph[path].with_attrs(**attrs)  # type: ignore[arg-type]
            return replace(graph, nodes={**graph.nodes, path: node}), weights
        wrong = {n.path: n for what, n in WRONG.items() if what == self.what}
        return replace(graph, nodes={**graph.nodes, **wrong}), weights


@pytest.fixture(autouse=True)
def change_is_a_pass(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also moves to a folder where crashes may leave their files."""
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
    entry = Entry(
        __name__, "Change", "for tests", (Schema("what", "text", "what to break", positional=True),)
    )
    monkeypatch.setitem(PASSES, "change", entry)


def failure(graph: Graph, *calls: Call, options: Options | None = None) -> Diagnostic:
    with pytest.raises(AsrcError) as caught:
        run_pipeline(graph, calls, options=options)
    return caught.value.diagnostics[0]


# --- running -------------------------------------------------------------------------------------


def test_passes_run_in_order_and_leave_their_names() -> None:
    result = run_pipeline(conformer(2), [CHUNKED, call("dce")])
    assert result.graph.provenance == (f"after {CHUNKED}", "after dce()")
    assert [str(step.call) for step in result.steps] == [str(CHUNKED), "dce()"]
    assert [step.changed for step in result.steps] == [True, False]
    assert result.facts.lookahead(result.graph.outputs["encoder"]) == Fraction(295, 1000)
    assert result.diagnostics == ()


def test_a_pipeline_of_nothing() -> None:
    graph = recurrent()
    result = run_pipeline(graph, [])
    assert result.graph == graph
    assert result.facts.lookahead("encoder.dense") == Fraction(15, 1000)


def test_steps_know_both_sides_and_their_time() -> None:
    (step,) = run_pipeline(conformer(2), [CHUNKED]).steps
    output = step.after.graph.outputs["encoder"]
    assert (step.before.lookahead(output), step.after.lookahead(output)) == (
        None,
        Fraction(295, 1000),
    )
    assert 0 <= step.seconds < 60


def test_an_empty_graph_goes_through() -> None:
    result = run_pipeline(Graph("empty", {}), [call("dce")])
    assert [step.changed for step in result.steps] == [False]


def test_a_pass_gets_and_gives_weights() -> None:
    weights: Mapping[str, np.ndarray] = {"encoder.dense.bias": np.ones(4)}
    result = run_pipeline(recurrent(), [call("change", "double")], weights=weights)
    assert result.weights is not None
    assert result.weights["encoder.dense.bias"].tolist() == [2, 2, 2, 2]
    assert weights["encoder.dense.bias"].tolist() == [1, 1, 1, 1]


def test_all_wrong_calls_are_reported_before_one_runs() -> None:
    calls = [call("maks"), call("mask"), call("change", "crash")]
    with pytest.raises(AsrcError) as caught:
        run_pipeline(recurrent(), calls)
    assert [d.code for d in caught.value.diagnostics] == ["E0804", "E0805"]


# --- promises ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("rate", "keep rate, but `encoder.x` went from @ 30ms to @ 20ms"),
        ("shapes", "keep shapes, but `encoder.dense` went from [4] to [5]"),
        (
            "parameters",
            (
                "keep parameters, but `encoder.dense` went from weight [4, 8], bias [4]"
                " to weight [4, 8]"
            ),
        ),
        ("lookahead", "keep lookahead, but `encoder.x.window` went from 15ms to 25ms"),
        (
            "state",
            (
                "keep state, but `encoder.low.1.h` went from 1 frame of `encoder.low.1.h`"
                " to 2 frames of `encoder.low.1.h`"
            ),
        ),
        ("output", "keep outputs, but `encoder` went from an output to gone"),
    ],
)
def test_a_broken_promise_is_blamed_on_the_pass(what: str, message: str) -> None:
    found = failure(recurrent(), call("change", what))
    assert found.code == "E0801"
    assert found.message == f"`change` promised to {message}"


def test_a_pass_that_keeps_its_word_passes() -> None:
    assert run_pipeline(recurrent(), [call("change", "nothing")]).diagnostics == ()


def test_only_what_is_promised_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Change, "keeps", frozenset({"rate"}))
    assert (
        run_pipeline(recurrent(), [call("change", "shapes")]).graph["encoder.dense"].attrs["n"] == 5
    )


def test_numerics_are_compared_on_request() -> None:
    weights = {"w": np.ones(1)}

    def compare(
        old: Graph, before: Weights | None, new: Graph, after: Weights | None
    ) -> str | None:
        assert before is not None
        assert after is not None
        gap = float(abs(before["w"] - after["w"]).max())
        return f"`w` differs by {gap}" if gap else None

    options = Options(numerics=compare)
    run_pipeline(recurrent(), [call("change", "nothing")], weights=weights, options=options)
    run_pipeline(recurrent(), [call("change", "double")], weights=weights)
    with pytest.raises(AsrcError, match=r"E0801.*`change` promised to keep numerics: `w` differs"):
        run_pipeline(recurrent(), [call("change", "double")], weights=weights, options=options)


def test_an_ill_typed_graph_is_blamed_on_the_pass() -> None:
    place = Span(CALLS, 40, 52)
    found = failure(recurrent(), Call("change", ("types",), {}, place))
    assert found.code == "E0202"
    assert found.span == place
    assert found.labels[0].text == "after this pass"


# --- order ---------------------------------------------------------------------------------------


def test_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "dce", replace(PASSES["dce"], after=("mask",)))
    wrong = failure(conformer(1), call("dce"), CHUNKED)
    assert (wrong.code, wrong.message) == ("E0802", "`dce` must come after `mask`")
    assert wrong.span == CHUNKED.span
    run_pipeline(conformer(1), [CHUNKED, call("dce")])
    run_pipeline(conformer(1), [call("dce")])


# --- what passes raise ---------------------------------------------------------------------------


def test_a_selector_that_matches_nothing_points_at_the_option() -> None:
    text = Source("cli", "mask(encoder.boddy.*, full)")
    whole, on = Span(text, 0, 27), Span(text, 5, 20)
    found = failure(conformer(3), Call("mask", ("encoder.boddy.*", "full"), {}, whole, {0: on}))
    assert found.code == "E0803"
    assert found.message == "`encoder.boddy.*` selects nothing: `encoder` has mel, body, sub"
    assert found.help == ("did you mean `encoder.body.*` (3 blocks)?",)
    assert found.span == on


def test_a_chunk_that_is_no_whole_number_of_frames_points_at_the_call() -> None:
    found = failure(conformer(1), replace(CHUNKED, options={"chunk": ms(330)}))
    assert found.code == "E0204"
    assert found.span == CHUNKED.span
    assert [label.span.source.name for label in found.labels] == ["pipeline", "conformer.asr"]


# --- internal errors -----------------------------------------------------------------------------


def test_a_crash_leaves_a_reproducer(tmp_path: Path) -> None:
    rest = [call("change", "crash"), call("dce")]
    graph = run_pipeline(conformer(1), [CHUNKED]).graph
    found = failure(conformer(1), CHUNKED, *rest, options=Options(crash_folder=tmp_path))
    assert found.code == "E0999"
    assert found.message == "internal error in pass `change`: ValueError: a mistake in the pass"
    (path,) = tmp_path.iterdir()
    assert found.help == (
        f"`{path}` has all that is needed to see it again: `{replay_command(path)}`",
    )
    text = path.read_text(encoding="utf-8")
    report = parse_reproducer(text, path.name)
    assert str(report) == text
    assert parse_graph(report.graph) == graph
    assert report.calls == "change(crash)\ndce()"
    assert "networkx" in report.versions
    assert report.traceback.endswith("ValueError: a mistake in the pass")


def test_a_malformed_graph_is_an_internal_error_too(tmp_path: Path) -> None:
    options = Options(crash_folder=tmp_path)
    found = failure(recurrent(), call("change", "malformed"), options=options)
    assert found.code == "E0999"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_crash_is_reported_even_where_nothing_can_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("")
    found = failure(recurrent(), call("change", "crash"), options=Options(crash_folder=folder))
    assert found.code == "E0999"
    assert found.help[0].startswith("cannot write")


@pytest.mark.parametrize("text", ["", "asrc reproducer 1\n--- calls\n", "else\n"])
def test_other_files_are_no_reproducers(text: str) -> None:
    with pytest.raises(AsrcError, match="E0010"):
        parse_reproducer(text, "x.txt")


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.txt"
    write_text(path, "one\n")
    write_text(path, "two\n")
    assert [p.name for p in path.parent.iterdir()] == ["x.txt"]
    assert path.read_bytes() == b"two\n"
    with pytest.raises(AsrcError, match="E0008"):
        write_text(path / "below", "")


# --- hooks ---------------------------------------------------------------------------------------


def test_ir_is_kept_after_every_pass(tmp_path: Path) -> None:
    options = Options(keep_ir=tmp_path / "ir")
    result = run_pipeline(conformer(1), [CHUNKED, call("dce")], options=options)
    texts = {p.name: p.read_text(encoding="utf-8") for p in sorted((tmp_path / "ir").iterdir())}
    assert list(texts) == ["00-source.asrir", "01-mask.asrir", "02-dce.asrir"]
    assert parse_graph(texts["00-source.asrir"]) == conformer(1)
    assert parse_graph(texts["02-dce.asrir"]) == result.graph


def test_ir_is_printed_on_request() -> None:
    shown: list[str] = []
    options = Options(print_after=frozenset({"dce"}), show=shown.append)
    result = run_pipeline(conformer(1), [CHUNKED, call("dce")], options=options)
    assert shown == [print_graph(result.graph)]


def test_ir_is_printed_on_change() -> None:
    shown: list[str] = []
    options = Options(print_on_change=True, show=shown.append)
    result = run_pipeline(conformer(1), [CHUNKED, call("dce")], options=options)
    assert shown == [print_graph(result.steps[0].after.graph)]


# --- budgets -------------------------------------------------------------------------------------

SHORT = Budget(Measure("lookahead", "encoder"), "<=", Literal(Fraction(320, 1000), "time"))


def test_a_budget_must_hold_in_the_end() -> None:
    graph = replace(conformer(1), budgets=(SHORT,))
    assert run_pipeline(graph, [CHUNKED]).diagnostics == ()
    (found,) = run_pipeline(graph, []).diagnostics
    assert found.code == "E0303"


def test_the_pass_that_broke_a_budget_is_named() -> None:
    graph = replace(conformer(1), budgets=(SHORT,))
    full = Call("mask", ("encoder", "full"), {}, Span(CALLS, 40, 52))
    (found,) = run_pipeline(graph, [CHUNKED, full, call("dce")]).diagnostics
    assert found.code == "E0303"
    assert found.notes[-1] == "it held before `mask(encoder, full)`"
    assert full.span in [label.span for label in found.labels]


def test_a_budget_of_a_pipeline_is_in_force_from_its_place() -> None:
    full = call("mask", "encoder", "full")
    (found,) = run_pipeline(conformer(1), [CHUNKED, full], [(2, SHORT)]).diagnostics
    assert not any("held before" in note for note in found.notes)
    (found,) = run_pipeline(conformer(1), [CHUNKED, full], [(1, SHORT)]).diagnostics
    assert found.notes[-1] == "it held before `mask(encoder, full)`"
    assert run_pipeline(conformer(1), [full, CHUNKED], [(0, SHORT)]).diagnostics == ()


def test_warnings_of_a_pass_are_collected() -> None:
    second = Call("mask", ("encoder.body.2",), {"chunk": ms(480)}, Span(CALLS, 0, 4))
    (found,) = run_pipeline(conformer(2), [CHUNKED, second]).diagnostics
    assert found.code == "W0311"
    assert found.span == second.span
