"""Syntax mistakes in the words of the language (E0001), never in those of the parser."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right

from lark.exceptions import UnexpectedInput

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
    message = f"`{first.text}` does not begin a declaration"
    return diagnostic("E0001", message, first.span(source), help=declaration_help(first.text))


def _situation(source: Source, island: Island, error: UnexpectedInput) -> Situation:
    """The parser saw the island's text from its first lexeme on, so positions start there."""
    position = error.pos_in_stream
    at_end = position is None or getattr(getattr(error, "token", None), "type", "") == "$END"
    if at_end or position is None:
        index = len(island)
    else:
        starts = [lexeme.start for lexeme in island]
        index = bisect_right(starts, position + starts[0]) - 1
    parser = error.interactive_parser  # type: ignore[attr-defined]
    return Situation(source, island, index, frozenset(parser.accepts()))


def _plain(s: Situation) -> Diagnostic:
    found = s.found_text
    if s.found and not s.found.text.isascii():
        name = unicodedata.name(s.found.text[0], "unnamed character")
        found = f"`{s.found.text}` (U+{ord(s.found.text[0]):04X}, {name.lower()})"
    item = s.error(f"expected {alternatives(s.expected)}, found {found}")
    return s.with_opener(item) if s.closer_fits and s.closer != "}" else item
