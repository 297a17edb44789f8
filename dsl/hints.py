"""Frequent mistakes, each recognised from the lexemes around the place where a parse stopped.

Every check looks at a `Situation` and either explains it or passes; the first that explains wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..compiler.diagnostics import Diagnostic
from ..compiler.nearest import nearest
from .scan import CLOSERS, DECLARATIONS, Lexeme
from .situation import Situation

UNITS = ("ms", "us", "s", "kHz", "Hz", "bit", "KiB", "MiB", "KB", "MB", "B", "k", "M", "G", "%")
_ALIASES = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "msec": "ms", "msecs": "ms",
    "millis": "ms", "milliseconds": "ms", "usec": "us", "bits": "bit", "b": "B", "bytes": "B",
    "percent": "%", "K": "k", "kb": "KB", "mb": "MB", "GiB": "MiB", "GB": "MB",
}  # fmt: skip
_NUMBER = re.compile(rf"[0-9]+(\.[0-9]+)?(e-?[0-9]+|{'|'.join(UNITS)})?")
_VALUE = re.compile(r"[0-9]+(?:\.[0-9]+)?")

_MARKS = {
    ";": ("`;` is not needed", "statements and declarations end by themselves: remove it"),
    "//": ("`//` does not start a comment", "comments start with `#`"),
    "/*": ("`/*` does not start a comment", "comments start with `#` and end with the line"),
    "->": ("`->` is not an operator", "stages are joined by `|>`"),
    "=>": ("`=>` is not an operator", "stages are joined by `|>`, bounds are written `<=`, `>=`"),
    "|": ("`|` is not an operator", "stages are joined by `|>`"),
    "**": ("`**` is not an operator", "powers are written `^`"),
    "'": ("`'` does not start a string", 'strings stand in double quotes: `"..."`'),
    "\\": ("`\\` is not needed", "an expression may go on in the next line without a mark"),
    "!": ("`!` is not an operator", "comparisons are `<=`, `>=`, `==`, `<` and `>`"),
}
FOREIGN = {
    "return": "the result of a body is `out expression`",
    "def": "a reusable part is `block Name(sizes) { ... }`",
    "func": "a reusable part is `block Name(sizes) { ... }`",
    "function": "a reusable part is `block Name(sizes) { ... }`",
    "class": "a reusable part is `block Name(sizes) { ... }`",
    "import": "names are imported by `use std.module (Name)`",
    "from": "names are imported by `use std.module (Name)`",
    "for": "a part is repeated by `repeat(4) { ... }`",
    "while": "a part is repeated by `repeat(4) { ... }`",
    "if": "branches are chosen by `switch(flag) { ... } else { ... }`",
    "const": "a constant is `let name = value`",
    "var": "a constant is `let name = value`",
}


def unclosed_string(s: Situation) -> Diagnostic | None:
    if s.found and s.found.kind == "string" and not s.found.text.endswith('"', 1):
        return s.error("this string is not closed", 'write `"` at its end, in the same line')
    return None


def foreign_mark(s: Situation) -> Diagnostic | None:
    if s.found is None or s.found.text not in _MARKS:
        return None
    return s.error(*_MARKS[s.found.text])


def foreign_word(s: Situation) -> Diagnostic | None:
    word = s.near(-1)
    if word is None or word.text not in FOREIGN or "FROM" in s.expected:
        return None
    if s.found and s.found.kind == "mark" and s.found.text != "(":
        return None
    return s.error(f"{word.shown} is not a word of the language", FOREIGN[word.text], at=word)


def unknown_unit(s: Situation) -> Diagnostic | None:
    """`25msec`: one lexeme, and not a number of the language."""
    if s.found is None or s.found.kind != "number" or _NUMBER.fullmatch(s.found.text):
        return None
    value = _VALUE.match(s.found.text)
    assert value is not None
    unit = _near_unit(s.found.text[value.end() :])
    help = f"did you mean `{value.group()}{unit}`?" if unit else f"units are {', '.join(UNITS)}"
    return s.error(f"{s.found.shown} is not a number or a quantity", help)


def spaced_unit(s: Situation) -> Diagnostic | None:
    """`25 ms`: the unit is the offending word, or the word before it when that could be a name."""
    for number, word in ((s.near(-1), s.near(0)), (s.near(-2), s.near(-1))):
        if number is None or word is None or not _VALUE.fullmatch(number.text):
            continue
        unit = _near_unit(word.text) if word.kind == "word" or word.text == "%" else None
        if unit and not _on_new_line(s, number, word):
            help = f"write `{number.text}{unit}`"
            return s.error("a unit follows its number without a space", help, at=word)
    return None


def _near_unit(text: str) -> str | None:
    """The unit meant by `text`, if it is one, is spelt like one or has a known long name."""
    folded = {unit.lower(): unit for unit in reversed(UNITS)}
    return text if text in UNITS else _ALIASES.get(text) or folded.get(text.lower())


def _on_new_line(s: Situation, before: Lexeme, after: Lexeme) -> bool:
    return "\n" in s.source.text[before.end : after.start]


def bare_point(s: Situation) -> Diagnostic | None:
    digits = s.near(1)
    if s.found and s.found.text == "." and digits and digits.kind == "number":
        return s.error("a number starts with a digit", f"write `0.{digits.text}`")
    return None


def foreign_letter(s: Situation) -> Diagnostic | None:
    if s.found and s.found.kind == "word" and not s.found.text.isascii():
        return s.error(
            f"{s.found.shown} is not a name", "names are made of `a`-`z`, `A`-`Z`, `0`-`9` and `_`"
        )
    return None


def reserved_word(s: Situation) -> Diagnostic | None:
    if s.found is None:
        return None
    if s.found.text == "t" and "INT" in s.expected:
        help = "write `x[t-1]` for a frame, `x[t-2..t]` for a window"
        return s.error("`t` stands only in the brackets after a stream", help)
    if s.found.text in ("in", "out", "t") and "NAME" in s.expected and "INT" not in s.expected:
        return s.error(f"{s.found.shown} is a word of the language", "choose another name")
    return None


def declaration_inside(s: Situation) -> Diagnostic | None:
    """A body is still open where the next declaration begins."""
    if s.opener is None or s.opener.text != "{":
        return None
    for before, word in ((s.near(-1), s.near(0)), (s.near(-2), s.near(-1))):
        starts = before and (before.ends_operand or before == s.opener)
        if starts and word and word.text in DECLARATIONS:
            message = f"{word.shown} begins a declaration inside a body"
            help = "close the body with `}` before it; declarations begin in column one"
            return s.with_opener(s.error(message, help, at=word))
    return None


def nothing_declared(s: Situation) -> Diagnostic | None:
    """`let = 3`: the word is taken for a name, since no name follows it."""
    following = s.near(1)
    if s.found and s.found.text in DECLARATIONS and "LET" in s.expected and following:
        message = f"expected a name after {s.found.shown}, found {following.shown}"
        return s.error(message, at=following)
    return None


def colon_for_brace(s: Situation) -> Diagnostic | None:
    if s.found and s.found.text == ":" and "LBRACE" in s.expected:
        return s.error("a body stands in braces", "write `{ ... }` instead of `:`")
    return None


def wrong_equals(s: Situation) -> Diagnostic | None:
    if s.found and s.found.text == "=" and "CMP" in s.expected:
        return s.error("`=` gives a name, it does not compare", "write `==`, `<=` or `>=`")
    if s.found and s.found.text == "==" and "CMP" not in s.expected:
        return s.error("`==` compares, it does not give a name", "write `=`")
    return None


def index_without_t(s: Situation) -> Diagnostic | None:
    if "T" in s.expected:
        help = "write `[t]` for this frame, `[t-1]` for the last, `[t-2..t]` for a window"
        return s.error("a stream is indexed by time: `t` comes first", help)
    return None


def slice_colon(s: Situation) -> Diagnostic | None:
    if s.found and s.found.text == ":" and s.closer == "]" and "DOTS" in s.expected:
        return s.error("a window is written with `..`", "for example `x[t-2..t]`")
    return None


def not_a_stage(s: Situation) -> Diagnostic | None:
    previous = s.near(-1)
    inside = previous and previous.text == "{" and s.expected == {"NAME"}
    if inside or (previous and previous.text == "|>"):
        help = "an expression over `in` goes into a block" if s.found_text == "`in`" else ""
        return s.error(f"expected a stage such as `dense(256)`, found {s.found_text}", help)
    return None


def applied_stage(s: Situation) -> Diagnostic | None:
    """`x |> dense(8)(y)`: what comes through the pipe is the input already."""
    pair = "".join(lexeme.text for lexeme in (s.near(-1), s.found) if lexeme)
    if pair == ")(" and "PIPE" in s.expected:
        help = "without the pipe, `dense(8)(x, y)` takes several; or give the result a name"
        return s.error("a stage after `|>` has its input already", help)
    return None


def stray_closer(s: Situation) -> Diagnostic | None:
    if s.found and s.found.text in CLOSERS and s.opener is None:
        return s.error(f"{s.found.shown} closes nothing", "remove it, or open it before")
    return None


def unclosed_bracket(s: Situation) -> Diagnostic | None:
    """A bracket is open at the end, at another closer, or where the next line goes on."""
    previous = s.near(-1)
    if s.opener is None or previous is None:
        return None
    mismatch = s.found is not None and s.found.text in CLOSERS and s.found.text != s.closer
    next_line = s.found and s.opener.text in "([" and _on_new_line(s, previous, s.found)
    inside = s.opener.text == "[" and "T" not in s.expected and s.found and s.closer_fits
    if s.found is None or mismatch or (s.closer_fits and (next_line or inside)):
        message = f"`{s.opener.text}` is not closed: expected `{s.closer}`, found {s.found_text}"
        return s.with_opener(s.error(message, f"close it with `{s.closer}`"))
    return None


def late_type(s: Situation) -> Diagnostic | None:
    """`y = x |> relu : [8]`, as after an `out`."""
    if s.found and s.found.text == ":" and "OUT" in s.expected:
        return s.error("a type stands after the name", "write `name: [256] @ 40ms = ...`")
    return None


CHECKS: tuple[Callable[[Situation], Diagnostic | None], ...] = (
    unclosed_string, unknown_unit, spaced_unit, foreign_letter, bare_point, declaration_inside,
    nothing_declared, foreign_word, colon_for_brace, slice_colon, wrong_equals, stray_closer,
    foreign_mark, index_without_t, not_a_stage, applied_stage, unclosed_bracket, late_type,
    reserved_word,
)  # fmt: skip


def declaration_help(word: str) -> str:
    """What to write instead of a word that starts no declaration."""
    if word in FOREIGN:
        return FOREIGN[word]
    if word in ("out", "loss"):
        return "statements stand in the braces of a `block` or `net`"
    near = nearest(word, DECLARATIONS)
    return f"did you mean `{near}`?" if near else f"declarations are {', '.join(DECLARATIONS)}"
