"""Options and fixtures that every test shares."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports triton

GOLDEN = Path(__file__).parent / "golden"

# The same examples on every machine: a red run can be repeated, and a slow one is not a failure.
hypothesis.settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/")
    parser.addoption("--runs", type=int, metavar="N", help="examples for each counted test")


@pytest.fixture(autouse=True)
def _same_numbers_each_run() -> None:
    """Draws without a generator are the same in every run and in every order of the tests."""
    random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def golden(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """`golden(name, text)`: the text equals `tests/golden/<name>`, to the character."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if pytestconfig.getoption("update_golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        elif not path.is_file():
            pytest.fail(f"no golden file {name}: pytest --update-golden", pytrace=False)
        elif difference := _diff(name, path.read_bytes().decode("utf-8"), text):
            pytest.fail(difference, pytrace=False)

    return compare


def _diff(name: str, wanted: str, got: str) -> str:
    lines = unified_diff(
        wanted.splitlines(), got.splitlines(), f"golden/{name}", "this run", lineterm=""
    )
    # Texts that differ only in their line ends give no diff lines.
    return "\n".join(lines) or ("" if wanted == got else f"{name}: other line ends")


@pytest.fixture
def runs(pytestconfig: pytest.Config) -> Callable[[int], int]:
    """`runs(2_000)`: how many examples to try; `--runs N` overrides every test's own count.

    With hypothesis, decorate inside the test: `@settings(max_examples=runs(2_000))`.
    """
    return lambda count: pytestconfig.getoption("runs") or count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what passing tests measured: `record_property("measured", "42 functions")`."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    lines = [
        f"{report.nodeid.partition('::')[2]}: {value}"
        for report in reports
        for key, value in report.user_properties
        if key == "measured"
    ]
    if lines:
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(lines))
