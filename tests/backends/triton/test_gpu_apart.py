"""The benchmark of a GPU loses nothing where a part of it fails, hangs or says nonsense."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from asrc.benchmarks.gpu_parts.apart import Limits, Report, Section, broken, started, warmed

BEGIN = """
import json, os, sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
def write(**record):
    with open(given["--records"], "a") as file:
        file.write(json.dumps(record) + chr(10))
for row in range(int(given["--first"]), 4):
    write(row=row, title=f"row {row}")
"""
"""A section of four rows; what it does at each comes behind."""
END = """
    write(lines=[f"| row {row} | made |"])
write(done=True)
"""


def ran(folder: Path, body: str, row: float = 20.0, section: float = 60.0) -> tuple[Report, str]:
    """What a section that does this comes to: its report, and the file."""
    script = folder / "section.py"
    script.write_text(BEGIN + body + END, encoding="utf-8")
    report = Report(folder / "table.md")
    limits = Limits(row, section, time.monotonic() + section)
    Section("some", [sys.executable, str(script)], limits, report).run()
    return report, (folder / "table.md").read_text(encoding="utf-8")


def titles(report: Report, of: str) -> list[str]:
    return [line.split("|")[1].strip() for line in report.rows if of in line]


def test_all_is_well(tmp_path: Path) -> None:
    report, text = ran(tmp_path, "")
    assert text.splitlines() == [f"| row {n} | made |" for n in range(4)]
    assert not report.traces


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("os.abort()", "ended with -6"),
        ("sys.exit(3)", "ended with 3"),
        ("raise ValueError('a kernel')", "ended with 1"),
        ("time.sleep(60)", "did not end in 4 s"),
        ("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
         "did not end in 4 s"),
    ],
)  # fmt: skip
def test_a_row_that_fails_costs_itself(tmp_path: Path, what: str, why: str) -> None:
    """Another process goes on with the next."""
    body = f"    if row == 1:\n        print('last words', flush=True)\n        {what}\n"
    report, text = ran(tmp_path, body, row=4.0 if "sleep" in what else 20.0)
    assert titles(report, "made") == ["row 0", "row 2", "row 3"]
    assert titles(report, why) == ["row 1"]
    assert "last words" in text


def test_a_trace_is_in_the_file(tmp_path: Path) -> None:
    body = "    if row == 2:\n        write(traces=['Traceback: here'])\n"
    report, text = ran(tmp_path, body)
    assert len(titles(report, "made")) == 4
    assert "some: row 2\nTraceback: here" in text


def test_a_spoiled_process_hands_over(tmp_path: Path) -> None:
    """It ends well before all is done: the rows behind are another one's."""
    body = "    write(lines=[f'| by {os.getpid()} |'])\n    if row == 1: sys.exit()\n"
    report, _ = ran(tmp_path, body)
    makers = titles(report, "by")
    assert len(makers) == 4
    assert len(set(makers)) == 2


def test_nonsense_is_passed_by(tmp_path: Path) -> None:
    body = "    print('| no row |'); open(given['--records'], 'ab').write(b'\\xff{\\n[1]\\n7\\n')\n"
    report, _ = ran(tmp_path, body)
    assert report.rows == [f"| row {n} | made |" for n in range(4)]


def test_one_that_never_begins(tmp_path: Path) -> None:
    """Its processes end without a row: there is no second try."""
    script = tmp_path / "broken.py"
    script.write_text("raise ImportError('no such thing')", encoding="utf-8")
    report, limits = Report(tmp_path / "table.md"), Limits(5, 60, time.monotonic() + 60)
    Section("some", [sys.executable, str(script)], limits, report).run()
    assert len(report.rows) == 2
    assert "ended with 1" in report.rows[0]
    assert "no such thing" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_the_time_of_a_section(tmp_path: Path) -> None:
    """Rows that have no time left are not begun, and say so."""
    report, _ = ran(tmp_path, "    time.sleep(5)\n", section=12.0)
    assert titles(report, "made")[:1] == ["row 0"]
    assert "not measured" in report.rows[-1]


def test_a_file_is_whole(tmp_path: Path) -> None:
    """Each row is there when it is made, and no part of a file is."""
    report = Report(tmp_path / "deep/table.md")
    for n in range(3):
        report.add(f"| {n} |")
        text = (tmp_path / "deep/table.md").read_text(encoding="utf-8")
        assert text.splitlines()[-1] == f"| {n} |"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["table.md"]


def test_records_that_are_half_there(tmp_path: Path) -> None:
    """Are read when the other half is."""
    running = started([sys.executable, "-c", "pass"], tmp_path, "some")
    running.process.wait(30)
    line = json.dumps({"row": 1, "title": "x"})
    running.records.write_text(line[:5], encoding="utf-8")
    assert list(running.new()) == []
    running.records.write_text(f"{line}\n", encoding="utf-8")
    assert list(running.new()) == [{"row": 1, "title": "x"}]
    assert list(running.new()) == []


def test_compiling_beforehand_ends() -> None:
    """Whatever some of its processes do."""
    codes = "pass", "raise SystemExit(1)", "import time; time.sleep(600)"
    assert warmed([[sys.executable, "-c", code] for code in codes], 10.0) == 1


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; assert os.environ['TOLD'] == 'so'", None),
        ("raise RuntimeError('a chain makes something else.')", "RuntimeError: a chain makes some"),
        ("raise SystemExit(3)", "ended with 3"),
        ("import time; time.sleep(60)", "did not end in 5 s"),
    ],
)
def test_why_a_command_is_broken(code: str, why: str | None) -> None:
    found = broken([sys.executable, "-c", code], 5.0, TOLD="so")
    assert found is None if why is None else why in str(found)
