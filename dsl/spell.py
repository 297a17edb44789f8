"""Expressions and types as documents, with no parentheses but the needed ones."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from . import syntax as s
from .layout import Doc, Group, Line, Nest, join, listing


class Level(IntEnum):
    """How tightly an expression binds, loosest first."""

    PIPE = 0
    RANGE = 0
    SUM = 1
    PRODUCT = 2
    UNARY = 3
    POWER = 4
    POSTFIX = 5


_LEVELS = {"+": Level.SUM, "-": Level.SUM, "*": Level.PRODUCT, "/": Level.PRODUCT}
_ATOMS = s.Number | s.Quantity | s.Name


def level_of(expr: s.Expr) -> Level:
    match expr:
        case s.Pipe() | s.Range():
            return Level.PIPE
        case s.Binary():
            return _LEVELS.get(expr.op, Level.POWER)
        case s.Unary():
            return Level.UNARY
    return Level.POSTFIX


def spell(expr: s.Expr, level: Level = Level.PIPE, *, tight: bool = False) -> Doc:
    """`expr` where the grammar wants at least `level`. `tight` leaves out optional spaces."""
    if level_of(expr) < level:
        return ("(", spell(expr, tight=tight), ")")
    match expr:
        case s.Unary():
            return (expr.op, spell(expr.operand, Level.UNARY, tight=tight))
        case s.Binary():
            return _binary(expr, tight)
        case s.Range():
            return (_tight(expr.low), "..", _tight(expr.high))
        case s.Pipe():
            return pipe(spell(expr.head, Level.SUM), [stage(part) for part in expr.stages])
        case s.Weight():
            dims = listing("[", [_sum(d) for d in expr.dims], "]")
            return ("weight", dims, _args(expr.args) if expr.args else "")
        case s.Call() | s.At() | s.Window() | s.Field() | s.Each():
            return _postfix(expr)
    return _atom(expr)


def _atom(expr: s.Number | s.Quantity | s.String | s.Name | s.Incoming) -> str:
    match expr:
        case s.Number() | s.Quantity():
            return expr.text
        case s.String():
            return f'"{expr.value}"'
        case s.Name():
            return expr.name
        case s.Incoming():
            return "in"


def _sum(expr: s.Expr) -> Doc:
    return spell(expr, Level.SUM)


def _tight(expr: s.Expr) -> Doc:
    return spell(expr, Level.SUM, tight=True)


def pipe(head: Doc, stages: Iterable[Doc]) -> Doc:
    return Group((head, Nest(tuple((Line(), "|> ", part) for part in stages))))


def _binary(expr: s.Binary, tight: bool) -> Doc:
    if expr.op == "^":
        left = spell(expr.left, Level.POSTFIX, tight=tight)
        return (left, "^", spell(expr.right, Level.UNARY, tight=tight))
    level = level_of(expr)
    first, rest = _chain(expr, level)
    operands = [first, *(operand for _, operand in rest)]
    close = tight or (level is Level.PRODUCT and all(map(_is_plain, operands)))
    space, line = ("", "") if close else (" ", Line())
    tail: list[Doc] = [
        (line, op, space, spell(operand, Level(level + 1), tight=tight)) for op, operand in rest
    ]
    return Group((spell(first, level, tight=tight), Nest(tuple(tail))))


def _chain(expr: s.Binary, level: Level) -> tuple[s.Expr, list[tuple[str, s.Expr]]]:
    """`a + b - c` as `a` and its `(op, operand)` pairs."""
    rest = []
    left: s.Expr = expr
    while isinstance(left, s.Binary) and level_of(left) is level:
        rest.append((left.op, left.right))
        left = left.left
    return left, rest[::-1]


def _is_plain(expr: s.Expr) -> bool:
    return isinstance(expr.operand if isinstance(expr, s.Unary) else expr, _ATOMS)


def _postfix(expr: s.Call | s.At | s.Window | s.Field | s.Each) -> Doc:
    match expr:
        case s.Call():
            return (spell(expr.callee, Level.POSTFIX), _args(expr.args))
        case s.At():
            return (_indexed(expr.base), "[", _when(expr.when), "]")
        case s.Window():
            by = (" by ", _sum(expr.dilation)) if expr.dilation else ""
            clip = f" in {expr.clip.name}" if expr.clip else ""
            first, last = _when(expr.first), _when(expr.last)
            return (_indexed(expr.base), "[", first, "..", last, by, clip, "]")
        case s.Field():
            return (spell(expr.base, Level.POSTFIX), ".", expr.name.name)
        case s.Each():
            return (spell(expr.base, Level.POSTFIX), ".*")


def _indexed(base: s.Expr) -> Doc:
    """`weight[` would begin a learned constant, so a stream of that name needs parentheses."""
    if isinstance(base, s.Name) and base.name == "weight":
        return "(weight)"
    return spell(base, Level.POSTFIX)


def _when(when: s.When) -> Doc:
    """The first term of the offset carries its own sign."""
    if when.offset is None:
        return "t"
    first, rest = when.offset, list[tuple[str, s.Expr]]()
    if isinstance(first, s.Binary) and level_of(first) is Level.SUM:
        first, rest = _chain(first, Level.SUM)
    sign = "+"
    if isinstance(first, s.Unary) and first.op == "-":
        sign, first = "-", first.operand
    terms = [(sign, first), *rest]
    return ("t", *((op, spell(term, Level.PRODUCT, tight=True)) for op, term in terms))


def stage(part: s.Stage) -> Doc:
    """A stage without comments."""
    body = (" ", chain(part.body)) if part.body else ""
    otherwise = (" else ", chain(part.otherwise)) if part.otherwise else ""
    return (stage_head(part), body, otherwise)


def stage_head(part: s.Stage) -> Doc:
    return (str(part.path), "" if part.args is None else _args(part.args))


def chain(part: s.Chain) -> Doc:
    stages = join((Line(), "|> "), [stage(inner) for inner in part.stages])
    return Group(("{", Nest((Line(), stages)), Line(), "}"))


def _args(args: tuple[s.Arg, ...]) -> Doc:
    return listing("(", [_arg(arg) for arg in args], ")")


def _arg(arg: s.Arg) -> Doc:
    if arg.name is None:
        return spell(arg.value)
    op = " in " if arg.op == "in" else arg.op
    return (arg.name.name, op, spell(arg.value))


def call(step: s.PassCall) -> Doc:
    return (str(step.name), _args(step.args))


def formals(items: tuple[s.Formal, ...]) -> Doc:
    docs: list[Doc] = [
        (f.name.name, "=", spell(f.default)) if f.default else f.name.name for f in items
    ]
    return listing("(", docs, ")") if docs else ""


def type_expr(item: s.TypeExpr) -> Doc:
    """`phrases[chars] up to 300 by 24`, `[64, 40; 3] @ 20ms within 60ms causal`."""
    clauses = (
        (" up to ", item.up_to), (" by ", item.by), (" @ ", item.clock), (" within ", item.within)
    )  # fmt: skip
    tail = [(word, _sum(value)) for word, value in clauses if value]
    return (
        item.kind.name if item.kind else "",
        _dims(item) if item.dims else "",
        *tail,
        " causal" if item.causal else "",
    )


def _dims(item: s.TypeExpr) -> Doc:
    taps = ("; ", _sum(item.taps)) if item.taps else ""
    return ("[", join(", ", [_dim(dim) for dim in item.dims]), taps, "]")


def _dim(dim: s.TypeDim) -> Doc:
    return (dim.name.name, "=", _sum(dim.value)) if dim.name else _sum(dim.value)
