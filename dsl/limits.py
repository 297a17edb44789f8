"""Limits on what a text may ask for, checked before it is parsed.

They bound the depth of the syntax tree, so that no walk over it meets the recursion limit, and
the length of numbers, so that exact arithmetic stays cheap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..compiler.diagnostics import Diagnostic, diagnostic
from ..compiler.source import Source
from .scan import CLOSERS, OPENERS, Lexeme

MAX_NESTING = 64
MAX_OPERATORS = 128
MAX_DIGITS = 18
MAX_EXPONENT = 18

_NUMBER = re.compile(r"(?P<digits>[0-9.]+)(?:e(?P<exponent>[+-]?[0-9]+))?")
_OPERATORS = frozenset("+-*/^.") | {"**", "//", "->", "/*"}
_FRESH = frozenset({",", ";", ":", "=", "|>", "@", "..", "<=", ">=", "==", "<", ">"})


def over_limits(source: Source, lexemes: list[Lexeme]) -> Iterator[Diagnostic]:
    """E0004 at the first place that is too deep, E0005 at every number that is too long."""
    yield from _too_deep(source, lexemes)
    for lexeme in lexemes:
        if lexeme.kind == "number" and not _is_short(lexeme.text):
            yield diagnostic(
                "E0005",
                "this number is out of range",
                lexeme.span(source),
                f"at most {MAX_DIGITS} digits and an exponent of at most {MAX_EXPONENT}",
            )


def _is_short(text: str) -> bool:
    match = _NUMBER.match(text)
    assert match is not None
    digits = match["digits"].replace(".", "")
    exponent = (match["exponent"] or "0").lstrip("+-").lstrip("0") or "0"
    return len(digits) <= MAX_DIGITS and len(exponent) <= 2 and int(exponent) <= MAX_EXPONENT


def _too_deep(source: Source, lexemes: list[Lexeme]) -> Iterator[Diagnostic]:
    """Count open brackets, and the operators of all expressions that are open around a place.

    Each operator, call and index may add a level to the tree; a new operand, argument, stage or
    statement starts again from the bracket around it.
    """
    operators = [0]
    total = 0
    previous: Lexeme | None = None
    for lexeme in lexemes:
        text = lexeme.text
        if text in CLOSERS and len(operators) > 1:
            total -= operators.pop()
        elif text in _FRESH or (lexeme.kind == "word" and previous and previous.ends_operand):
            total -= operators[-1]
            operators[-1] = 0
        elif text in _OPERATORS or text in OPENERS:
            operators[-1] += 1
            total += 1
        if text in OPENERS:
            operators.append(0)
        message = _depth_message(len(operators) - 1, total)
        if message:
            yield diagnostic("E0004", message, lexeme.span(source), help="name a part of it")
            return
        previous = lexeme


def _depth_message(nesting: int, operators: int) -> str:
    if nesting > MAX_NESTING:
        return f"brackets are nested deeper than {MAX_NESTING} levels"
    if operators > MAX_OPERATORS:
        return f"more than {MAX_OPERATORS} operators in one expression"
    return ""
