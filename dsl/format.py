"""The formatter: a module in the one layout there is. It has no options.

Two spaces, lines of at most 100 characters, every comment kept. Formatting again changes
nothing, and the text parses to the same tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..compiler.diagnostics import AsrcError, Bag
from ..compiler.source import Source
from . import syntax as s
from .layout import Break, Doc, Group, Line, Nest, Remark, join, listing, render
from .parse import parse_module
from .spell import Level, call, formals, spell, stage_head, type_expr
from .trivia import Trivia, Unit, units

_Entry = tuple[bool, Doc]  # whether an empty line comes before it


def format_source(source: Source) -> str:
    """The formatted text. Raises `AsrcError` with every syntax mistake (E0001, E0004, E0005)."""
    bag = Bag()
    module = parse_module(source, bag)
    if bag.errors:
        raise AsrcError(*bag)
    return format_module(module)


def format_module(module: s.Module) -> str:
    """The text of a complete module; empty for an empty one."""
    text = render(_Printer(Trivia(module)).module(module))
    return f"{text}\n" if text else ""


def _remarks(comments: Iterable[s.Comment]) -> Doc:
    return tuple(Remark(f"  {_text(comment)}") for comment in comments)


def _text(comment: s.Comment) -> str:
    return comment.span.text.rstrip()


def _lines(entries: Iterable[_Entry]) -> Doc:
    """One entry a line, and never an empty line first."""
    docs: list[Doc] = []
    for blank, doc in entries:
        docs += [Break(blank), doc] if docs else [doc]
    return tuple(docs)


def _section(item: s.Declaration) -> str:
    """Declarations of different sections are parted by an empty line."""
    header = isinstance(item, s.Edition | s.ModelDecl | s.Use)
    return "header" if header else type(item).__name__


class _Printer:
    def __init__(self, trivia: Trivia) -> None:
        self.trivia = trivia

    # --- lines and their comments

    def module(self, module: s.Module) -> Doc:
        entries: list[_Entry] = []
        section = ""
        for item in module.items:
            own = list(self._entries(item, self._declaration(item)))
            parted = section not in ("", _section(item))
            if parted and not any(blank for blank, _ in own):
                own[0] = (True, own[0][1])
            entries += own
            section = _section(item)
        return _lines([*entries, *self._comments(self.trivia.of(module).inside)])

    def _comments(self, comments: Iterable[s.Comment]) -> Iterator[_Entry]:
        for comment in comments:
            yield self.trivia.blank_before(comment), Remark(_text(comment))

    def _entries(self, unit: Unit, doc: Doc) -> Iterator[_Entry]:
        """A declaration or statement with its comments.

        Comments that stood inside it come directly before it, below the ones that stood there.
        """
        notes = self.trivia.of(unit)
        blank = self.trivia.blank_before(unit)
        for comment in notes.before:
            if comment.span.start < unit.span.start:
                yield self.trivia.blank_before(comment), Remark(_text(comment))
            else:
                yield blank, Remark(_text(comment))
                blank = False
        yield blank, (doc, () if notes.after else _remarks(notes.behind))
        for comment in (*notes.after, *notes.behind) if notes.after else ():
            yield False, Remark(_text(comment))

    # --- declarations

    def _declaration(self, item: s.Declaration) -> Doc:
        match item:
            case s.Edition():
                return f"asr {item.number}"
            case s.ModelDecl():
                return f"model {item.name.name}" + (f' "{item.title.value}"' if item.title else "")
            case s.Use():
                names = listing("(", [name.name for name in item.names], ")")
                return (f"use {item.module} ", names)
            case s.Param():
                return _param(item)
            case s.Let():
                return (f"let {item.name.name} = ", self._value(item.value))
            case s.Input():
                return (f"input {item.name.name}: ", type_expr(item.type))
            case s.Require():
                return _require(item)
            case s.Block() | s.Net() | s.Pipeline():
                return (_header(item), " ", self._body(item))

    def _body(self, item: s.Block | s.Net | s.Pipeline) -> Doc:
        notes = self.trivia.of(item)
        parts = units(item)
        entries: list[_Entry] = []
        for part in parts:
            entries += self._entries(part, self._statement(part))
        entries += self._comments(notes.inside)
        opened = _remarks(notes.opened)
        if not entries and not opened:
            return "{}"
        short = len(parts) == 1 and not isinstance(parts[0], s.Bind | s.Loss)
        line = Line() if short else Break()
        return Group(("{", opened, Nest((line, _lines(entries))) if entries else "", line, "}"))

    def _statement(self, part: Unit) -> Doc:
        match part:
            case s.Bind():
                targets = join(", ", [_target(target) for target in part.targets])
                return (targets, " = ", self._value(part.value))
            case s.Out():
                name = f"{part.name.name} = " if part.name else ""
                declared = (" : ", type_expr(part.type)) if part.type else ""
                return ("out ", name, self._value(part.value), declared)
            case s.Loss():
                return (f"loss {part.name.name} = ", self._value(part.value))
            case s.PassCall():
                return call(part)
            case s.Require():
                return _require(part)
        raise TypeError(f"{type(part).__name__} is not a statement")

    # --- the pipe of a statement, which has places for comments

    def _value(self, value: s.Expr) -> Doc:
        if not isinstance(value, s.Pipe):
            return spell(value)
        head = (spell(value.head, Level.SUM), _remarks(self.trivia.of(value.head).behind))
        return Group((head, Nest(tuple((Line(), self._stage(x, "|> ")) for x in value.stages))))

    def _stage(self, part: s.Stage, arrow: str) -> Doc:
        notes = self.trivia.of(part)
        before = tuple((Remark(_text(comment)), Line()) for comment in notes.before)
        body = (" ", self._chain(part.body)) if part.body else ""
        otherwise = (" else ", self._chain(part.otherwise)) if part.otherwise else ""
        return (before, arrow, stage_head(part), body, otherwise, _remarks(notes.behind))

    def _chain(self, part: s.Chain) -> Doc:
        notes = self.trivia.of(part)
        first, *rest = part.stages
        stages = (self._stage(first, ""), *((Line(), self._stage(x, "|> ")) for x in rest))
        inside = tuple((Line(), Remark(_text(comment))) for comment in notes.inside)
        opened = _remarks(notes.opened)
        return Group(("{", opened, Nest((Line(), stages, inside)), Line(), "}"))


def _header(item: s.Block | s.Net | s.Pipeline) -> Doc:
    if isinstance(item, s.Pipeline):
        return f"pipeline {item.name.name}" + (f" from {item.base.name}" if item.base else "")
    word = "block" if isinstance(item, s.Block) else "net"
    return (f"{word} {item.name.name}", formals(item.formals))


def _param(item: s.Param) -> Doc:
    multiple = (" multiple ", spell(item.multiple, Level.SUM)) if item.multiple else ""
    domain = (" in ", spell(item.domain)) if item.domain else ""
    name = f"param {item.name.name}: {item.kind.name}"
    return (name, multiple, domain, " = ", spell(item.default))


def _require(item: s.Require) -> Doc:
    right = spell(item.right, Level.RANGE if item.op == "in" else Level.SUM)
    return ("require ", spell(item.left, Level.SUM), f" {item.op} ", right)


def _target(item: s.Target) -> Doc:
    return (item.name.name, ": ", type_expr(item.type)) if item.type else item.name.name
