"""Layout of text in lines of bounded width, after Wadler, "A prettier printer" (2003).

A document says where a line may break; `render` breaks a group only when it does not fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WIDTH = 100
INDENT = 2


@dataclass(frozen=True, slots=True)
class Line:
    """`flat` when its group stands on one line, else a line break."""

    flat: str = " "


@dataclass(frozen=True, slots=True)
class Break:
    """A line break always; `blank` leaves an empty line."""

    blank: bool = False


@dataclass(frozen=True, slots=True)
class IfBroken:
    text: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment. It breaks the groups around it, and its own width does not count."""

    text: str


@dataclass(frozen=True, slots=True)
class Nest:
    doc: Doc


@dataclass(frozen=True, slots=True)
class Group:
    doc: Doc


Doc = str | Line | Break | IfBroken | Remark | Nest | Group | tuple["Doc", ...]
SOFT = Line("")
_Task = tuple[int, bool, Doc]  # indent, broken, document


def join(separator: Doc, docs: Iterable[Doc]) -> Doc:
    joined: list[Doc] = []
    for doc in docs:
        joined += [separator, doc] if joined else [doc]
    return tuple(joined)


def listing(opener: str, docs: Iterable[Doc], closer: str) -> Doc:
    """`(a, b)`, or one item a line with a trailing comma."""
    items = join((",", Line()), docs)
    if not items:
        return opener + closer
    return Group((opener, Nest((SOFT, items)), IfBroken(","), SOFT, closer))


def render(doc: Doc) -> str:
    """The text, with as few broken groups as the width allows and no trailing spaces."""
    pieces: list[str] = []
    column = 0
    tasks: list[_Task] = [(0, True, doc)]
    while tasks:
        indent, broken, item = tasks.pop()
        match item:
            case str() | Remark():
                text = item if isinstance(item, str) else item.text
                pieces.append(text)
                column += len(text)
            case Group():
                tasks.append((indent, not _fits(WIDTH - column, item.doc, tasks), item.doc))
            case Break() | Line() if broken or isinstance(item, Break):
                pieces.append("\n\n" if isinstance(item, Break) and item.blank else "\n")
                pieces.append(" " * indent)
                column = indent
            case _:
                tasks.extend(_parts(indent, broken, item))
    return "".join(pieces)


def _parts(indent: int, broken: bool, item: Doc) -> Iterator[_Task]:
    """The tasks that replace a task, last one first, as on the stack."""
    match item:
        case tuple():
            for part in reversed(item):
                yield indent, broken, part
        case Nest():
            yield indent + INDENT, broken, item.doc
        case Group():
            yield indent, broken, item.doc
        case Line():
            yield indent, broken, item.flat
        case IfBroken() if broken:
            yield indent, broken, item.text


def _fits(room: int, doc: Doc, rest: list[_Task]) -> bool:
    """Whether `doc` on one line, and what follows it up to a line break, needs no more room."""
    tasks: list[_Task] = [(0, False, doc)]
    below = len(rest)
    while room >= 0:
        if not tasks:
            if not below:
                return True
            below -= 1
            tasks.append(rest[below])
        _, broken, item = tasks.pop()
        match item:
            case str():
                room -= len(item)
            case Remark() | Break() | Line() if broken:
                return True
            case Remark() | Break():
                return False
            case _:
                tasks.extend(_parts(0, broken, item))
    return False
