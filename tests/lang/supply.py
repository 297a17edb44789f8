"""Completes a partial snippet to a file of the language, without moving what is in it.

* A snippet that begins with `asr` is a whole file and stays as it is.
* Any other gets `asr 1` and, unless it has its own, a `model m`.
* Statements in column one, outside of all braces, stand in a net `main`. Unless they have an `out`
  of their own, every name in lower case that they bind is an output.
* The streams of `STREAMS` that a net reads, and that nothing declares, become inputs.

What is supplied is cut out of all diagnostics again, so columns and lines are those of the snippet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from asrc.compiler.diagnostics import Bag, Diagnostic
from asrc.compiler.source import Source, Span
from asrc.dsl import syntax
from asrc.dsl.parse import parse_module
from asrc.dsl.scan import CLOSERS, DECLARATIONS, OPENERS, Lexeme, scan
from asrc.dsl.uses import bound_names

STREAMS = {
    "audio": "pcm @ 16kHz",
    "prev": "token[100]",
    "x": "[8] @ 10ms",
    "slow": "[8] @ 40ms",
    "mel": "[80] @ 10ms",
    "wake": "flag @ 10ms",
    "names": "phrases[chars=40] up to 20 by 10",
    "who": "[8] @ static",
}


@dataclass(frozen=True)
class Supplied:
    """A whole file; `cuts` are the pieces (start, end) of its text that are not the snippet's."""

    snippet: Source
    source: Source
    cuts: tuple[tuple[int, int], ...]

    def seen(self, item: Diagnostic) -> Diagnostic:
        """A diagnostic of the whole file, as one of the snippet."""
        labels = (replace(label, span=self._seen(label.span)) for label in item.labels)
        return replace(item, labels=tuple(labels))

    def line(self, number: int) -> int:
        """The line of the whole file that is line `number` of the snippet."""
        offset = sum(len(text) + 1 for text in self.snippet.text.split("\n")[: number - 1])
        for start, end in self.cuts:
            offset += end - start if start <= offset else 0
        return self.source.position(offset)[0]

    def _seen(self, span: Span) -> Span:
        if span.source is not self.source or any(a <= span.start < b for a, b in self.cuts):
            return span
        before = sum(b - a for a, b in self.cuts if b <= span.start)
        return Span(self.snippet, span.start - before, span.end - before)


def supply(name: str, text: str) -> Supplied:
    """The file that a snippet stands for."""
    words = scan(text).lexemes
    firsts = {lexeme.text for lexeme in words if _in_column_one(text, lexeme)}
    added: list[tuple[int, str]] = []
    if "asr" not in firsts:
        model = "" if "model" in firsts else "model m\n"
        added = [(0, f"asr 1\n{model}"), *_net_and_inputs(text, words)]
    return _insert(Source(name, text), added)


def _insert(snippet: Source, added: list[tuple[int, str]]) -> Supplied:
    text, cuts, done = "", [], 0
    for at, piece in added:
        text += snippet.text[done:at]
        cuts.append((len(text), len(text) + len(piece)))
        text += piece
        done = at
    return Supplied(snippet, Source("supplied", text + snippet.text[done:]), tuple(cuts))


def _net_and_inputs(text: str, words: list[Lexeme]) -> Iterator[tuple[int, str]]:
    start, end = _statements(text, words)
    body = text[start:end]
    bound, has_out = _bound(body)
    used = [lexeme.text for lexeme in words if start <= lexeme.start < end]
    streams = [s for s in STREAMS if s in used and s not in bound]
    if body:
        outs = "" if has_out else "".join(f"out {b} = {b}\n" for b in bound if b[0].islower())
        yield start, f"net main({', '.join(streams)}) {{\n"
        yield end, f"{outs}}}\n"
    formals = re.findall(r"^net \w+\(([^)]*)\)", text, re.MULTILINE)
    wanted = {*streams, *re.findall(r"\w+", " ".join(formals))}
    declared = re.findall(r"^(?:input|net) (\w+)", text, re.MULTILINE)
    missing = [s for s in STREAMS if s in wanted and s not in declared]
    yield len(text), "".join(f"input {s}: {STREAMS[s]}\n" for s in missing)


def _statements(text: str, words: list[Lexeme]) -> tuple[int, int]:
    """Where the statements outside of all braces begin and end; they stand together."""
    depth, start = 0, None
    for lexeme in words:
        if depth == 0 and _in_column_one(text, lexeme):
            if start is None and lexeme.text not in DECLARATIONS:
                start = lexeme.start
            elif start is not None and lexeme.text in DECLARATIONS:
                return start, lexeme.start
        depth += (lexeme.text in OPENERS) - (lexeme.text in CLOSERS)
    return (len(text) if start is None else start), len(text)


def _in_column_one(text: str, lexeme: Lexeme) -> bool:
    return lexeme.kind == "word" and (lexeme.start == 0 or text[lexeme.start - 1] == "\n")


def _bound(body: str) -> tuple[list[str], bool]:
    """The names that statements bind, and whether there is an `out` among them."""
    parsed = parse_module(Source("body", f"net n {{\n{body}}}"), Bag())
    statements = [s for net in parsed.items if isinstance(net, syntax.Net) for s in net.body]
    return list(bound_names(statements)), any(isinstance(s, syntax.Out) for s in statements)
