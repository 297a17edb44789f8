"""Markdown as tests: every snippet of the language does what its comments say, and no more.

    y = mel[t-3..t] |> stride(4)   # revealed: [80; 4] @ 40ms, +0ms
    z = y + mel                    # error: 5..12 [E0202] "40ms and 10ms"

`revealed` is the type of what the line binds, on request with its look-ahead and with the numbers
that a one-frame step keeps of it. `error` and `warning` give the column of the primary span (and
of its end, the first column after it), the code, and some words of the message. A comment that
has its line for itself speaks of the next line; several may follow each other.

Words after the fence's `asr`:

    file=my/blocks.asr   a library beside the other snippets of its section
    set=D=260            as `--set D=260`
    pipeline=stream      `revealed` speaks of the graph after this pipeline

A `text` fence after a snippet is everything that it reports, as a terminal shows it;
`pytest --update-golden` writes it. `supply.py` says what a partial snippet is completed to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from asrc.compiler.diagnostics import Bag, Diagnostic
from asrc.compiler.source import Source, Span
from asrc.dsl.parse import parse_expression
from asrc.dsl.render import render
from asrc.dsl.scan import scan
from asrc.tests.lang.checked import Checked, check
from asrc.tests.lang.reveal import revealed
from asrc.tests.lang.supply import supply

OPTIONS = {"file", "set", "pipeline"}
_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$|^#+ (?P<title>[^\n]*)$", re.M | re.S)
_CLAIM = re.compile(r"# (?P<kind>revealed|error|warning): ?(?P<text>.*?)\s*(?=# (?:rev|err|war)|$)")
_MISTAKE = re.compile(r'(?P<at>\d+)(?:\.\.(?P<end>\d+))? \[(?P<code>\w+)\](?: "(?P<words>.*)")?')


@dataclass(frozen=True)
class Snippet:
    """A fence of a document; `section` is the offset of its heading, `rendered` the text (and its
    offset) of the fence that shows what the snippet reports."""

    path: Path
    section: int
    line: int
    text: str
    options: Mapping[str, str]
    libraries: tuple[tuple[str, str], ...] = ()
    rendered: tuple[int, str] | None = None

    @property
    def name(self) -> str:
        return self.options.get("file", "model.asr")

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}"


@dataclass(frozen=True)
class Claim:
    """What a comment says of a line: a type, or a diagnostic."""

    line: int
    kind: str
    text: str


def snippets(path: Path) -> list[Snippet]:
    """The snippets of a document, in order."""
    document = path.read_text(encoding="utf-8")
    found: list[Snippet] = []
    section = 0
    for match in _FENCE.finditer(document):
        language, _, words = (match["info"] or "").partition(" ")
        if match["title"] is not None:
            section = match.start()
        elif language == "text" and found:
            found[-1] = replace(found[-1], rendered=(match.start("text"), match["text"]))
        elif language == "asr":
            options = dict(word.split("=", 1) for word in words.split())
            if not options.keys() <= OPTIONS:
                raise ValueError(f"{path.name}: no such option: {words}")
            line = document.count("\n", 0, match.start("text"))
            found.append(Snippet(path, section, line, match["text"], options))
    return [replace(one, libraries=_libraries(one.section, found)) for one in found]


def _libraries(section: int, found: list[Snippet]) -> tuple[tuple[str, str], ...]:
    there = (s for s in found if s.section == section)
    return tuple((s.options["file"], s.text) for s in there if "file" in s.options)


def claims(text: str) -> Iterator[Claim]:
    """What the comments of a snippet say."""
    source = Source("snippet", text)
    waiting: list[tuple[str, str]] = []
    for comment in scan(text).comments:
        line, column = source.position(comment.start)
        found = [(m["kind"], m["text"]) for m in _CLAIM.finditer(comment.text)]
        if found and not source.line(line)[: column - 1].strip():
            waiting += found
            if not source.line(line + 1).lstrip().startswith("#"):
                yield from (Claim(line + 1, *claim) for claim in waiting)
                waiting = []
        else:
            yield from (Claim(line, *claim) for claim in found)


# --- running -------------------------------------------------------------------------------------


def run(snippet: Snippet, folder: Path) -> tuple[Checked, list[Diagnostic]]:
    """Check a snippet; its diagnostics are seen from the snippet's own text."""
    for name, text in snippet.libraries:
        _write(folder / name, text)
    supplied = supply(snippet.name, snippet.text)
    checked = check(supplied.source, _settings(snippet), folder)
    return checked, [_local(supplied.seen(d), folder) for d in checked.diagnostics]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _settings(snippet: Snippet) -> dict[str, object]:
    name, _, value = snippet.options.get("set", "").partition("=")
    return {name: parse_expression(Source("--set", value), Bag())} if name else {}


def _local(item: Diagnostic, folder: Path) -> Diagnostic:
    """Files of the snippet by the names that it gives them."""

    def renamed(span: Span) -> Span:
        name = span.source.name.removeprefix(f"{folder}/")
        return replace(span, source=Source(name, span.source.text))

    labels = (replace(label, span=renamed(label.span)) for label in item.labels)
    return replace(item, labels=tuple(labels))


# --- comparing -----------------------------------------------------------------------------------


def differences(snippet: Snippet, folder: Path) -> list[str]:
    """What a snippet's comments say and its check does not, and the other way round."""
    checked, found = run(snippet, folder)
    said = list(claims(snippet.text))
    problems = list(_wrong_types(snippet, checked, [c for c in said if c.kind == "revealed"]))
    mistakes = [c for c in said if c.kind != "revealed"]
    if mistakes or snippet.rendered is None:
        problems += _wrong_diagnostics(snippet.name, mistakes, found)
    if snippet.rendered is not None and snippet.rendered[1] != render(found, "graphical"):
        problems.append(f"it shows\n{render(found, 'graphical')}")
    return problems


def _wrong_types(snippet: Snippet, checked: Checked, said: list[Claim]) -> Iterator[str]:
    graph = checked.graph_after(snippet.options.get("pipeline"))
    module, constants = checked.model.syntax, checked.elaborated.constants
    supplied = supply(snippet.name, snippet.text)
    for claim in said:
        line = supplied.line(claim.line)
        found = revealed(module, graph, constants, line, claim.text)
        if found != claim.text:
            yield f"{claim.line}: # revealed: {found}"


def _wrong_diagnostics(name: str, said: list[Claim], found: list[Diagnostic]) -> Iterator[str]:
    left = list(found)
    for claim in said:
        hit = next((d for d in left if _agrees(claim, name, d)), None)
        if hit is None:
            yield f"{claim.line}: not reported: # {claim.kind}: {claim.text}"
        else:
            left.remove(hit)
    yield from (f"{_line(name, d)}: not declared: {_as_claim(name, d)}" for d in left)


def _agrees(claim: Claim, name: str, item: Diagnostic) -> bool:
    match = _MISTAKE.fullmatch(claim.text)
    span = _place(name, item)
    if match is None or span is None or (claim.line, claim.kind) != (span.line, item.severity):
        return False
    end = span.source.position(span.end)[1]
    return (
        (int(match["at"]), match["code"]) == (span.column, item.code)
        and match["end"] in (None, str(end))
        and (match["words"] or "") in item.message
    )


def _place(name: str, item: Diagnostic) -> Span | None:
    """The first span in the snippet itself: a setting, say, is also shown where it is declared."""
    return next((label.span for label in item.labels if label.span.source.name == name), None)


def _line(name: str, item: Diagnostic) -> int | str:
    span = _place(name, item)
    return span.line if span else str(item.span)


def _as_claim(name: str, item: Diagnostic) -> str:
    span = _place(name, item)
    at = f"{span.column}..{span.source.position(span.end)[1]}" if span else "?"
    return f'# {item.severity}: {at} [{item.code}] "{item.message}"'


# --- writing -------------------------------------------------------------------------------------


def update(path: Path, folder: Path) -> None:
    """Write what the snippets of a document show into their `text` fences."""
    document = path.read_text(encoding="utf-8")
    for snippet in reversed(snippets(path)):
        if snippet.rendered is not None:
            start, old = snippet.rendered
            shown = render(run(snippet, folder)[1], "graphical")
            document = document[:start] + shown + document[start + len(old) :]
    path.write_text(document, encoding="utf-8", newline="\n")
