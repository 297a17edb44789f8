"""Syntax mistakes in the words of the language (E0001), never in those of the parser."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from typing import cast

from lark.exceptions import UnexpectedInput, UnexpectedToken

from ..compiler.diagnostics import Diagnostic, diagnostic
from ..compiler.source import Source
from .hints import CHECKS, declaration_help
from .islands import Island
from .scan import DECLARATIONS
from .situation import Situation, alternatives


def explain(source: Source, island: Island, error: UnexpectedInput) -> Diagnostic:
    """The mistake at which the parser stopped, with a fix where it is a frequent one."""
    situation = _situation(source, island, error)
    for check in CHECKS:
        found = check(situation)
        if found:
            return found
    return _plain(situation)


def unknown_declaration(source: Source, island: Island) -> Diagnostic | None:
    """`modle x`: the first word of an island must be a declaration's."""
    first = island[0]
    if first.kind != "word" or first.text in DECLARATIONS:
        return None
    message = f"{first.shown} does not begin a declaration"
    return diagnostic("E0001", message, first.span(source), help=declaration_help(first.text))


def _situation(source: Source, island: Island, error: UnexpectedInput) -> Situation:
    accepted = error.interactive_parser.accepts()  # type: ignore[no-untyped-call]
    return Situation(source, island, _index(island, error), frozenset(accepted))


def _index(island: Island, error: UnexpectedInput) -> int:
    """The offending lexeme. The parser saw the island's text from its first lexeme on."""
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return len(island)
    starts = [lexeme.start for lexeme in island]
    return bisect_right(starts, cast(int, error.pos_in_stream) + starts[0]) - 1


def _plain(s: Situation) -> Diagnostic:
    found = s.found_text
    if s.found and not s.found.text.isascii():
        name = unicodedata.name(s.found.text[0], "unnamed character")
        found = f"{s.found.shown} (U+{ord(s.found.text[0]):04X}, {name.lower()})"
    item = s.error(f"expected {alternatives(s.expected)}, found {found}")
    return s.with_opener(item) if s.closer_fits and s.closer != "}" else item
