"""Declaration islands: a mistake in one declaration never hides another.

Declarations begin with a keyword in column one. The text is cut there, and each piece is parsed
on its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from .scan import CLOSERS, DECLARATIONS, OPENERS, Lexeme

Island = list[Lexeme]


def cut_islands(text: str, lexemes: list[Lexeme]) -> list[Island]:
    """The lexemes, in pieces that each begin where a declaration seems to begin."""
    islands: list[Island] = []
    depth = 0
    previous: Lexeme | None = None
    for lexeme in lexemes:
        if previous is None or _begins(text, lexeme, previous, depth):
            islands.append([])
            depth = 0
        islands[-1].append(lexeme)
        depth += (lexeme.text in OPENERS) - (lexeme.text in CLOSERS)
        previous = lexeme
    return list(_rejoined(islands))


def _begins(text: str, lexeme: Lexeme, previous: Lexeme, depth: int) -> bool:
    if lexeme.kind != "word" or text[lexeme.start - 1] != "\n":
        return False
    return lexeme.text in DECLARATIONS or (depth <= 0 and previous.ends_operand)


def _rejoined(islands: list[Island]) -> Iterator[Island]:
    """Undo cuts inside a body: the first piece lacks a `}`, and after pieces without braces
    comes one that has a `}` too many."""
    start = 0
    while start < len(islands):
        end = start + 1
        if _braces(islands[start])[0] > 0:
            while end < len(islands) and _braces(islands[end]) == (0, 0):
                end += 1
            closes = end < len(islands) and _braces(islands[end])[0] < 0
            end = end + 1 if closes else start + 1
        yield [lexeme for island in islands[start:end] for lexeme in island]
        start = end


def _braces(island: Island) -> tuple[int, int]:
    """How many braces stay open (negative: are closed too often), and how many there are."""
    marks = [lexeme.text for lexeme in island if lexeme.kind == "mark"]
    opening, closing = marks.count("{"), marks.count("}")
    return opening - closing, opening + closing
