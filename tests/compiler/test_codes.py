"""Every code that the compiler can report has a page, and snippets or a test that shows it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from asrc.compiler.codes import explain, titles
from asrc.tests.lang.mdtest import Snippet, claims, snippets

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "compiler/codes.md"
CHAPTERS = sorted((ROOT / "tests/lang").glob("*.md"))

# What no snippet can show: bytes, files, and passes that misbehave.
ORDINARY = {
    "E0002": "tests/dsl/test_parse.py::test_bytes_that_are_not_text",
    "E0003": "tests/dsl/test_parse.py::test_large_files",
    "E0008": "tests/dsl/test_parse.py::test_files_that_cannot_be_read",
    "E0010": "tests/compiler/test_manager.py::test_other_files_are_no_reproducers",
    "E0601": "tests/backends/nna/test_proof.py::test_deep_maps_overflow",
    "W0602": "tests/backends/nna/test_norms.py::test_quiet_frames_are_told",
    "E0701": "tests/compiler/test_placement.py::test_what_neither_side_has",
    "E0702": "tests/backends/nna/test_machine.py::test_an_unknown_machine",
    "E0704": "tests/backends/nna/test_machine.py::test_what_vela_does_not_take",
    "E0801": "tests/compiler/test_manager.py::test_a_broken_promise_is_blamed_on_the_pass",
    "E0802": "tests/compiler/test_manager.py::test_order",
    "E0999": "tests/compiler/test_manager.py::test_a_crash_leaves_a_reproducer",
    "E1001": "tests/runtime/test_audio.py::test_files_that_are_no_audio",
    "E1002": "tests/training/test_manifest.py::test_all_mistakes_are_told",
    "E1003": "tests/training/corpora/test_packages.py::test_missing_packages_name_their_line",
    "E1004": "tests/runtime/test_vocabulary.py::test_text_without_labels",
    "E1005": "tests/training/test_selection.py::test_nothing_is_left",
    "E1006": "tests/training/test_batches.py::test_positions_that_cannot_be",
    "E1007": "tests/training/test_checkpoint.py::test_a_full_disk",
    "E1008": "tests/training/test_batches.py::test_options_that_cannot_be",
    "E1009": "tests/training/test_trainer.py::test_divergence",
    "E1010": "tests/training/test_devices.py::test_a_process_that_is_left_alone",
    "E1201": "tests/compiler/test_artefact.py::test_every_flipped_byte_is_found",
    "E1202": "tests/compiler/test_artefact.py::test_other_versions",
    "E1203": "tests/runtime/test_compiled.py::test_without_the_extra",
    "E1204": "tests/runtime/test_compiled.py::test_golden_vectors_name_what_differs",
    "E1205": "tests/runtime/test_differences.py::test_a_program_on_codes_from_a_file",
    "E1206": "tests/runtime/test_fast.py::test_without_a_gpu",
    "E0705": "tests/backends/torch/test_integers.py::test_ranges_that_nobody_took",
    "E0703": "tests/passes/test_quantize.py::test_what_is_refused",
    "E1101": "tests/cli/test_verify.py::test_a_broken_contract",
    "E1102": "tests/cli/test_verify.py::test_without_pytorch",
}


@cache
def raised() -> dict[str, str]:
    """Every code in the source, with a file that has it."""
    rooms = [p for p in ROOT.iterdir() if (p / "__init__.py").is_file()]
    files = [*ROOT.glob("*.py"), *(file for room in rooms for file in room.rglob("*.py"))]
    return {code: file.name for file in files for code in codes_in(file.read_text("utf-8"))}


def codes_in(source: str) -> set[str]:
    texts = (n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant))
    return {t for t in texts if isinstance(t, str) and re.fullmatch(r"[EW]\d{4}", t)}


def reported(snippet: Snippet) -> set[str]:
    """The codes that a snippet declares, in comments or in what it shows."""
    said = " ".join(c.text for c in claims(snippet.text) if c.kind != "revealed")
    shown = snippet.rendered[1] if snippet.rendered else ""
    return set(re.findall(r"\[([EW]\d{4})\]", said + shown))


def shows_both(code: str, found: list[Snippet]) -> bool:
    """Whether one section has a snippet that reports the code and one that reports nothing."""
    failing = {s.section for s in found if code in reported(s)}
    passing = {s.section for s in found if not reported(s)}
    return bool(failing & passing)


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    assert {c: raised().get(c) for c in raised().keys() ^ titles().keys()} == {}


def test_codes_are_found_in_the_source() -> None:
    assert codes_in('f(code="E0101")\nx = {"W0104": f"{y}"} if z else "E1"') == {"E0101", "W0104"}


@pytest.mark.parametrize("code", sorted(titles()))
def test_a_code_is_shown(code: str) -> None:
    if code in ORDINARY:
        file, _, name = ORDINARY[code].partition("::")
        text = (ROOT / file).read_text("utf-8")
        assert f"def {name}(" in text
        assert code in text
        return
    page = [s for s in snippets(PAGES) if explain(code).count(s.text)]
    assert shows_both(code, page), "its page needs a wrong snippet and a right one"
    assert any(shows_both(code, snippets(c)) for c in CHAPTERS), "no chapter has both"


def test_pages() -> None:
    assert list(titles()) == sorted(titles())
    assert titles()["E0301"] == "look-ahead over budget"
    page = explain("e0301")
    assert page is not None
    assert page.startswith("## E0301 look-ahead over budget\n")
    assert page.count("## ") == 1
    assert page.endswith("```\n")
    assert explain("E9999") is None


def test_explaining_loads_next_to_nothing() -> None:
    code = "import sys, asrc.compiler.codes as c; c.explain('E0301'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"lark", "networkx", "numpy"} & set(done.stdout.split())
