"""Where a parse stopped, and in human words what could have stood there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..compiler.diagnostics import Diagnostic, Label
from ..compiler.source import Source, Span
from .scan import CLOSERS, DECLARATIONS, OPENERS, Lexeme

MAX_ALTERNATIVES = 6
WORDS = frozenset(word.upper() for word in DECLARATIONS)
_OPERAND = frozenset("NAME INT FLOAT QUANTITY STRING LPAR IN WEIGHT ADD".split())
_OPERATOR = frozenset("ADD MUL CIRCUMFLEX LPAR LSQB DOT DOTS".split())

# When the parser accepts all of the first set, the words stand for all of the second.
_GROUPS = (
    (frozenset({"INT", "LPAR"}), _OPERAND, "an expression"),
    (frozenset({"ADD", "MUL"}), _OPERATOR, "an operator"),
    (frozenset({"PIPE"}), frozenset({"PIPE"}), "`|>`"),
    (frozenset({"NAME", "LSQB"}), frozenset({"NAME", "LSQB"}), "a type such as `[256] @ 40ms`"),
    (frozenset({"LET", "BLOCK"}), WORDS | {"$END"}, "a declaration"),
    (frozenset({"OUT", "NAME"}), frozenset({"OUT", "LOSS", "NAME"}), "a statement"),
    (frozenset({"REQUIRE", "NAME"}), frozenset({"REQUIRE", "NAME"}), "a pass call, `require`"),
)
_SINGLES = {
    "NAME": "a name", "INT": "a whole number", "STRING": "a string", "T": "`t`",
    "CMP": "a comparison such as `<=`", "EQUAL": "`=`", "COLON": "`:`",
    "ADD": "`+` or `-`", "AT": "`@`", "UP_TO": "`up to`", "BY": "`by`", "WITHIN": "`within`",
    "CAUSAL": "`causal`", "MULTIPLE": "`multiple`", "IN": "`in`", "FROM": "`from`",
    "ELSE": "`else`", "DOTS": "`..`", "DOT": "`.`", "STAR": "`*`", "SEMICOLON": "`;`",
    "COMMA": "`,`", "LPAR": "`(`", "LSQB": "`[`", "LBRACE": "`{`", "RPAR": "`)`",
    "RSQB": "`]`", "RBRACE": "`}`", "$END": "the end",
}  # fmt: skip
CLOSING = {")": "RPAR", "]": "RSQB", "}": "RBRACE"}


@dataclass(frozen=True)
class Situation:
    """The lexemes of an island, the index of the offending one, the terminals it could be."""

    source: Source
    lexemes: list[Lexeme]
    index: int
    expected: frozenset[str]

    def near(self, distance: int) -> Lexeme | None:
        """The lexeme `distance` places after the offending one, or before it if negative."""
        index = self.index + distance
        return self.lexemes[index] if 0 <= index < len(self.lexemes) else None

    @property
    def found(self) -> Lexeme | None:
        """The offending lexeme, `None` at the end."""
        return self.near(0)

    @cached_property
    def opener(self) -> Lexeme | None:
        """The innermost bracket that is open before the offending lexeme."""
        stack: list[Lexeme] = []
        for lexeme in self.lexemes[: self.index]:
            if lexeme.text in OPENERS:
                stack.append(lexeme)
            elif lexeme.text in CLOSERS and stack:
                stack.pop()
        return stack[-1] if stack else None

    @property
    def closer(self) -> str:
        """What would close the innermost open bracket, or the empty string."""
        return OPENERS[self.opener.text] if self.opener else ""

    @property
    def closer_fits(self) -> bool:
        return bool(self.closer) and CLOSING[self.closer] in self.expected

    @property
    def place(self) -> Span:
        """The offending lexeme; at the end, the point after the last one."""
        if self.found:
            return self.found.span(self.source)
        end = self.lexemes[-1].end if self.lexemes else 0
        return Span(self.source, end, end)

    @property
    def found_text(self) -> str:
        return self.found.shown if self.found else "the end"

    def error(
        self, message: str, help: str = "", *, at: Lexeme | None = None, text: str = ""
    ) -> Diagnostic:
        """E0001 at `at` or the offending lexeme."""
        span = at.span(self.source) if at else self.place
        return Diagnostic("E0001", message, (Label(span, text),), help=(help,) if help else ())

    def with_opener(self, item: Diagnostic) -> Diagnostic:
        if self.opener is None:
            return item
        return item.at(self.opener.span(self.source), f"this `{self.opener.text}` is open")


def alternatives(expected: frozenset[str]) -> str:
    """`a name, "," or ")"`: the expected terminals in words, similar ones in one."""
    phrases = []
    left = set(expected)
    for needed, covered, phrase in _GROUPS:
        if needed <= left:
            phrases.append(phrase)
            left -= covered
    phrases += [phrase for terminal, phrase in _SINGLES.items() if terminal in left]
    phrases += [f"`{word.lower()}`" for word in sorted(left & WORDS)]
    *others, last = phrases[:MAX_ALTERNATIVES]
    return f"{', '.join(others)} or {last}" if others else last
