"""Where comments and blank lines belong: each comment is given to the syntax it stands at.

Places for comments are lines before a declaration, statement, pass call or stage, the end of
its last line, and the lines after `{` and before `}`. A comment anywhere else moves to the line
before the smallest of these that it stands in. The order of comments never changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

from . import syntax as s
from .scan import Lexeme, scan

Unit = s.Declaration | s.Statement | s.PassCall | s.Stage | s.Chain | s.Expr
Owner = s.Module | Unit
Braced = s.Block | s.Net | s.Pipeline | s.Chain
Piped = s.Bind | s.Out | s.Loss | s.Let


@dataclass(slots=True)
class Notes:
    """The comments of one unit: on the lines before it, behind its `{`, on its last lines
    inside, behind it, and on the lines after it."""

    before: list[s.Comment] = field(default_factory=list)
    opened: list[s.Comment] = field(default_factory=list)
    inside: list[s.Comment] = field(default_factory=list)
    behind: list[s.Comment] = field(default_factory=list)
    after: list[s.Comment] = field(default_factory=list)


_NONE = Notes()


def units(node: Owner) -> tuple[Unit, ...]:
    """The parts of a node that may have comments of their own, in order."""
    match node:
        case s.Module():
            return node.items
        case s.Block() | s.Net():
            return node.body
        case s.Pipeline():
            return node.steps
        case s.Chain():
            return node.stages
        case s.Stage():
            return tuple(c for c in (node.body, node.otherwise) if c is not None)
        case s.Bind() | s.Out() | s.Loss() | s.Let() if isinstance(node.value, s.Pipe):
            return (node.value.head, *node.value.stages)
    return ()


class Trivia:
    """The comments and blank lines of a module, by syntax node."""

    def __init__(self, module: s.Module) -> None:
        self._text = module.source.text
        self._lexemes = scan(self._text).lexemes if module.comments else []
        self._ends = [lexeme.end for lexeme in self._lexemes]
        self._notes: defaultdict[int, Notes] = defaultdict(Notes)
        self._share(module, module.comments)

    def of(self, node: Owner) -> Notes:
        return self._notes.get(id(node), _NONE)

    def blank_before(self, node: s.Syntax) -> bool:
        """Whether the text has an empty line before the line that the node begins."""
        lines, place = 0, node.span.start - 1
        while place >= 0 and self._text[place].isspace():
            lines += self._text[place] == "\n"
            place -= 1
        return lines > 1 and place >= 0

    def _share(self, owner: Owner, comments: Iterable[s.Comment]) -> None:
        """Give the comments inside `owner` to its parts, in order."""
        parts = units(owner)
        ends = [part.span.end for part in parts]
        for index, group in groupby(comments, lambda c: bisect_right(ends, c.span.start)):
            before = parts[index - 1] if index else None
            part = parts[index] if index < len(parts) else None
            inner = []
            for comment in group:
                if part is None or comment.span.start < part.span.start:
                    self._between(comment, owner, before, part)
                else:
                    inner.append(comment)
            if part and inner:
                self._within(owner, part, inner)

    def _within(self, owner: Owner, part: Unit, comments: list[s.Comment]) -> None:
        if units(part):
            self._share(part, comments)
        elif isinstance(part, Braced):
            for comment in comments:
                self._between(comment, part, None, None)
        else:
            is_head = isinstance(owner, Piped) and part is units(owner)[0]
            self._note(owner if is_head else part).before.extend(comments)

    def _between(
        self, comment: s.Comment, owner: Owner, before: Unit | None, following: Unit | None
    ) -> None:
        """A comment in `owner` itself, after its part `before` and ahead of `following`."""
        near = self._same_line(comment)
        if isinstance(owner, s.Stage):
            (self._note(before).inside if before else self._note(owner).before).append(comment)
        elif isinstance(owner, Piped) and (before is None or following is None):
            (self._note(owner).after if before else self._note(owner).before).append(comment)
        elif before and near and near.end == before.span.end:
            self._note(before).behind.append(comment)
        elif isinstance(owner, Braced) and self._in_header(comment, owner, following):
            self._note(owner).before.append(comment)
        elif before is None and near and near.text == "{":
            self._note(owner).opened.append(comment)
        else:
            rest = self._note(following).before if following else self._note(owner).inside
            rest.append(comment)

    def _note(self, node: Owner) -> Notes:
        return self._notes[id(node)]

    def _same_line(self, comment: s.Comment) -> Lexeme | None:
        """The lexeme before a comment that does not stand on a line of its own."""
        index = bisect_right(self._ends, comment.span.start)
        if not index:
            return None
        lexeme = self._lexemes[index - 1]
        return None if "\n" in self._text[lexeme.end : comment.span.start] else lexeme

    def _in_header(self, comment: s.Comment, owner: Unit, following: Unit | None) -> bool:
        """Whether the `{` of `owner` is still to come."""
        limit = following.span.start if following else owner.span.end
        start = bisect_right(self._ends, comment.span.start)
        stop = bisect_right(self._ends, limit)
        return any(lexeme.text == "{" for lexeme in self._lexemes[start:stop])
