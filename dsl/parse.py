"""`text -> Module`. Every syntax mistake is reported; what parses is there for the checker."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any

from lark import Lark
from lark.exceptions import UnexpectedInput

from ..compiler.diagnostics import Bag, diagnostic
from ..compiler.source import Source, Span
from .build import Build
from .islands import Island, cut_islands
from .limits import over_limits
from .load import load_source, source_from_bytes
from .mistakes import explain, unknown_declaration
from .scan import scan
from .syntax import Comment, Declaration, Expr, Module, PassCall
from .tables import load_parser

__all__ = [
    "load_source",
    "parse_calls",
    "parse_expression",
    "parse_module",
    "source_from_bytes",
]

MAX_MISTAKES = 100


def parse_module(source: Source, bag: Bag) -> Module:
    """One file. Mistakes go to `bag` (E0001, E0004, E0005) and leave `complete` false."""
    found = scan(source.text)
    items: list[Declaration] = []
    lost: set[str] = set()
    mistakes = 0
    islands = cut_islands(source.text, found.lexemes)
    for index, island in enumerate(islands):
        if mistakes == MAX_MISTAKES:
            message = f"more than {MAX_MISTAKES} mistakes: the rest of the file is not read"
            bag.add(diagnostic("E0001", message, island[0].span(source)))
            lost = lost.union(*map(_declared, islands[index:]))
            break
        parsed = _parse_declarations(source, island, bag)
        items.extend(parsed or ())
        if parsed is None:
            mistakes += 1
            lost |= _declared(island)
    comments = tuple(Comment(comment.span(source)) for comment in found.comments)
    return Module(source, tuple(items), comments, not mistakes, frozenset(lost))


def parse_calls(source: Source, bag: Bag) -> tuple[PassCall, ...]:
    """Pass calls as on the command line: `mask(encoder, chunk=320ms), dce()`."""
    calls: tuple[PassCall, ...] | None = _parse(source, scan(source.text).lexemes, "calls", bag)
    return calls or ()


def parse_expression(source: Source, bag: Bag) -> Expr | None:
    """One expression or range, `None` when it does not parse."""
    expr: Expr | None = _parse(source, scan(source.text).lexemes, "expression", bag)
    return expr


def _parse_declarations(source: Source, island: Island, bag: Bag) -> tuple[Declaration, ...] | None:
    unknown = unknown_declaration(source, island)
    if unknown:
        bag.add(unknown)
        return None
    items: tuple[Declaration, ...] | None = _parse(source, island, "module", bag)
    return items


def _declared(island: Island) -> set[str]:
    """The names that a piece which does not parse seems to declare."""
    words = [lexeme.text for lexeme in island if lexeme.kind == "word"]
    return set(words[1:] if words[:1] == ["use"] else words[1:2])


def _parse(source: Source, island: Island, start: str, bag: Bag) -> Any:
    """The syntax of the text from the first lexeme to the last, `None` after a mistake."""
    limits = list(islice(over_limits(source, island), MAX_MISTAKES))
    if limits:
        bag.extend(limits)
        return None
    build, parser = _parser()
    span = Span(source, island[0].start, island[-1].end) if island else Span(source, 0, 0)
    build.source, build.offset = source, span.start
    try:
        return parser.parse(span.text, start)
    except UnexpectedInput as error:
        bag.add(explain(source, island, error))
        return None


@cache
def _parser() -> tuple[Build, Lark]:
    build = Build()
    return build, load_parser(build)
