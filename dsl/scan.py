"""A first look at the text: words, numbers, marks and comments, before any grammar.

One pass, no recursion. Islands are cut, limits are checked and mistakes are explained on its
lexemes; it never refuses a character.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..compiler.source import Source, Span

MAX_SHOWN = 40
OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}
DECLARATIONS = (
    "asr", "model", "use", "param", "let", "input", "block", "net", "require", "pipeline",
)  # fmt: skip

_LEXEME = re.compile(
    r"""(?P<comment>\#[^\r\n]*)
      | (?P<string>"[^"\n]*"?)
      | (?P<number>[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?\w*%?)
      | (?P<word>[^\W\d]\w*)
      | (?P<mark>\|> | \.\. | [<>=]= | -> | => | // | /\* | \*\* | \S)""",
    re.VERBOSE,
)


class Lexeme(NamedTuple):
    kind: str
    text: str
    start: int
    end: int

    def span(self, source: Source) -> Span:
        return Span(source, self.start, self.end)

    @property
    def shown(self) -> str:
        """The text as messages quote it."""
        text = self.text if len(self.text) <= MAX_SHOWN else f"{self.text[:MAX_SHOWN]}..."
        return f"`{text}`"

    @property
    def ends_operand(self) -> bool:
        """Whether an expression, and so a statement, may end here."""
        return self.kind != "mark" or self.text in CLOSERS


class Scan(NamedTuple):
    lexemes: list[Lexeme]
    comments: list[Lexeme]


def scan(text: str) -> Scan:
    found = Scan([], [])
    for match in _LEXEME.finditer(text):
        kind = match.lastgroup or ""
        lexeme = Lexeme(kind, match.group(), match.start(), match.end())
        (found.comments if kind == "comment" else found.lexemes).append(lexeme)
    return found
