"""A self-contained report of an internal error: one text file that shows it again.

It holds the graph before the pass, the calls that were still to run, the versions of what took
part and the traceback. The weights of a trained model are not in it.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from .diagnostics import AsrcError, Diagnostic, diagnostic
from .files import write_text
from .graph import Graph
from .irtext import print_graph
from .source import Source, Span
from .spec import Call

HEADER = "asrc reproducer 1"
_SECTIONS = ("versions", "calls", "traceback", "graph")


@dataclass(frozen=True, slots=True)
class Reproducer:
    """`graph` is IR text, `calls` are pass calls in the spec grammar."""

    versions: str
    calls: str
    traceback: str
    graph: str

    def __str__(self) -> str:
        parts = (f"--- {name}\n{getattr(self, name).rstrip()}\n" for name in _SECTIONS)
        return "\n".join([f"{HEADER}\n", *parts])


def parse_reproducer(text: str, name: str) -> Reproducer:
    """Raises AsrcError E0010 for a text that is no reproducer."""
    found: dict[str, list[str]] = {}
    lines = text.splitlines()
    current: list[str] = []
    for line in lines[1:]:
        if line.removeprefix("--- ") in _SECTIONS and line.startswith("--- "):
            current = found.setdefault(line.removeprefix("--- "), [])
        else:
            current.append(line)
    if lines[:1] != [HEADER] or set(found) != set(_SECTIONS):
        span = Span(Source(name, text), 0, len(lines[0]) if lines else 0)
        raise AsrcError(diagnostic("E0010", "this is no reproducer", span, help=f"`{HEADER}`"))
    return Reproducer(**{part: "\n".join(body).strip("\n") for part, body in found.items()})


@dataclass(frozen=True)
class Guard:
    """`with Guard(...)`: an unexpected exception becomes E0999 with a reproducer beside it."""

    graph: Graph
    calls: Sequence[Call]
    folder: Path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if isinstance(error, Exception) and not isinstance(error, AsrcError):
            raise AsrcError(self._report(error)) from error
        return False

    def _report(self, error: Exception) -> Diagnostic:
        call = self.calls[0]
        message = f"internal error in pass `{call.name}`: {type(error).__name__}: {error}"
        try:
            path = write_reproducer(self.folder, self.graph, self.calls, error)
        except AsrcError as failed:
            return diagnostic("E0999", message, call.span, help=failed.diagnostics[0].message)
        return diagnostic(
            "E0999",
            message,
            call.span,
            help=f"`{path}` has all that is needed to see it again: `{replay_command(path)}`",
        )


def replay_command(path: Path) -> str:
    """What to type to run the rest of the pipeline again."""
    return f"asrc passes --replay {path}"


def write_reproducer(
    folder: Path, graph: Graph, calls: Sequence[Call], error: BaseException
) -> Path:
    """The file that was written. Raises AsrcError E0008."""
    report = Reproducer(
        _versions(),
        "\n".join(map(str, calls)),
        "".join(traceback.format_exception(error)),
        print_graph(graph),
    )
    text = str(report)
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    path = folder / f"asrc-{calls[0].name}-{mark}.txt"
    write_text(path, text)
    return path


def _versions() -> str:
    import platform

    lines: Iterable[str] = (f"{name} {_version(name)}" for name in ("asrc", "networkx", "numpy"))
    return "\n".join([f"python {platform.python_version()}", *lines])


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
