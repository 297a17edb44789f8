"""Sections of `benchmarks/gpu.py` in processes of their own, and the file of what they found.

A section appends a record of JSON a line to a file: which row it begins, the lines of the table
that it made, what was raised. Who reads them ends a process that takes too long for a row, and
starts another one with the next row; so does a process that is not to be trusted any more.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

STARTING = 90.0
"""Seconds from a process to its first row: of a fresh machine's disk, PyTorch takes its time."""
LATE = 20.0
"""Seconds that a section may go on for, which begins no new row."""
POLL = 0.1
LONGEST = 6000
"""Letters of a trace, the last ones."""


def empty(title: str, why: str) -> str:
    return f"| {title} | | {why} | | | | | | | |"


@dataclass
class Report:
    """The table so far, also in a file; what was raised comes behind it."""

    out: Path | None = None
    rows: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)

    def add(self, *lines: str) -> None:
        print(*lines, sep="\n", flush=True)
        self.rows += lines
        self.write()

    def trace(self, title: str, text: str) -> None:
        self.traces.append(f"{title}\n{text[-LONGEST:].strip()}")
        self.write()

    def write(self) -> None:
        """Whole, or not at all."""
        if self.out is None:
            return
        self.out.parent.mkdir(parents=True, exist_ok=True)
        beside = self.out.with_name(f"{self.out.name}.part")
        beside.write_text("\n".join(self._lines()) + "\n", encoding="utf-8")
        beside.replace(self.out)

    def _lines(self) -> Iterator[str]:
        yield from self.rows
        if self.traces:
            yield "\n### What was raised"
        for text in self.traces:
            yield f"\n```text\n{text}\n```"


@dataclass(frozen=True)
class Limits:
    """Seconds: of a row, of the section in which rows begin, and until all have to be over, by
    `time.monotonic`."""

    row: float
    section: float
    end: float


class Writer:
    """The other end: records of a section, each in the file when it is made."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, **record: object) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


@dataclass
class Running:
    """A process of a section, and as much of its records as was read."""

    process: subprocess.Popen[bytes]
    records: Path
    said: Path
    read: int = 0

    def new(self) -> Iterator[dict[str, Any]]:
        """Records since the last time; what is none is passed by."""
        with suppress(OSError), self.records.open("rb") as file:
            file.seek(self.read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.read += len(line)
                with suppress(ValueError):
                    found = json.loads(line)
                    if isinstance(found, dict):
                        yield found

    def end(self) -> None:
        """It and what it started. One that a driver holds on to is left behind."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, how)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(2 if how == signal.SIGTERM else 10)

    def last(self) -> str:
        with suppress(OSError):
            return self.said.read_text(encoding="utf-8", errors="replace")
        return ""


def started(command: Sequence[str], folder: Path, name: str, **more: str) -> Running:
    """A command that is told where its records go."""
    records, said = folder / f"{name}.jsonl", folder / f"{name}.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--records", str(records)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **more},
            start_new_session=True,
        )
    return Running(process, records, said)


class Section:
    """One section, in as many processes as it takes."""

    def __init__(self, name: str, command: Sequence[str], limits: Limits, report: Report) -> None:
        self.name, self.command, self.limits, self.report = name, command, limits, report
        self.until = min(time.monotonic() + limits.section, limits.end)
        self.next, self.title, self.done = 0, "", False

    def run(self) -> None:
        """Each process but the first begins a row that none has begun."""
        before = -1
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            while not self.done and before < self.next and time.monotonic() < self.until:
                before = self.next
                self._process(Path(folder))
        if not self.done:
            self.report.add(empty(self.name, "its other rows: not measured"))

    def _process(self, folder: Path) -> None:
        left = max(1.0, self.until - time.monotonic())
        given = ["--section", self.name, "--first", str(self.next), "--limit", f"{left:.0f}"]
        running = started([*self.command, *given], folder, f"{self.name}-{self.next}")
        self.title, why = "", ""
        try:
            why = self._followed(running)
        finally:
            running.end()
        if why:
            self.report.add(empty(self.title or self.name, why))
            self.report.trace(f"{self.name}: {self.title}: {why}", running.last())

    def _followed(self, running: Running) -> str:
        """Why it did not come to an end."""
        begin, limit = time.monotonic(), STARTING
        while True:
            over = running.process.poll()  # first: what it wrote before is there then
            for record in running.new():
                self._take(record)
                if "row" in record:
                    begin, limit = time.monotonic(), self.limits.row
            if over is not None:
                return "" if over == 0 else f"ended with {over}"
            now = time.monotonic()
            if now - begin > limit:
                return f"did not end in {limit:.0f} s"
            if now > min(self.until + LATE, self.limits.end):
                return "not measured: out of time"
            time.sleep(POLL)

    def _take(self, record: dict[str, Any]) -> None:
        if "row" in record:
            self.next, self.title = int(record["row"]) + 1, str(record["title"])
        if "lines" in record:
            self.report.add(*map(str, record["lines"]))
        for text in record.get("traces", ()):
            self.report.trace(f"{self.name}: {self.title}", str(text))
        self.done = self.done or bool(record.get("done"))


def warmed(commands: Sequence[Sequence[str]], seconds: float) -> int:
    """Runs them all at once, for so long at most; how many came to an end."""
    end = time.monotonic() + seconds
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        all_of_them = [
            started(command, Path(folder), str(n), OMP_NUM_THREADS="1")
            for n, command in enumerate(commands)
        ]
        try:
            while time.monotonic() < end and any(x.process.poll() is None for x in all_of_them):
                time.sleep(POLL)
            return sum(x.process.poll() == 0 for x in all_of_them)
        finally:
            for running in all_of_them:
                running.end()


def broken(command: Sequence[str], seconds: float, **more: str) -> str | None:
    """Why a command does not end well, `more` being in its environment; None if it does."""
    env = {**os.environ, **more}
    try:
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
            env=env,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"a look at it did not end in {seconds:.0f} s"
    if ran.returncode == 0:
        return None
    said = ran.stderr.strip().splitlines() or [f"ended with {ran.returncode}"]
    return said[-1][:160].rstrip(".")


def of(script: str, *given: str) -> list[str]:
    return [sys.executable, script, *given]
