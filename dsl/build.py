"""Grammar rules to syntax nodes: one method a rule, called by the parser as rules complete.

There is no parse tree in between and no recursion. Every method gets the children of its rule
with all punctuation, so the span of a node runs from its first child to its last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from threading import local
from typing import Any, TypeVar

from lark import Token

from ..compiler.source import Source, Span
from . import syntax as s

N = TypeVar("N")
Items = list[Any]
_UNIT = re.compile(r"[A-Za-z%]+$")


@dataclass(frozen=True, slots=True)
class Clause(s.Syntax):
    """A part of a node on its way to the node that owns it: `within 20ms`, `(a, b)`."""

    name: str
    value: Any


def _all(items: Iterable[Any], kind: type[N]) -> tuple[N, ...]:
    return tuple(item for item in items if isinstance(item, kind))


def _first(items: Iterable[Any], kind: type[N]) -> N | None:
    return next((item for item in items if isinstance(item, kind)), None)


def _nodes(items: Items) -> tuple[Any, ...]:
    """The children that are syntax, without punctuation and words."""
    return tuple(item for item in items if not isinstance(item, Token))


def _clauses(items: Items) -> dict[str, Any]:
    return {clause.name: clause.value for clause in _all(items, Clause)}


class Build(local):
    """The callbacks. `source` and `offset` say where the text being parsed stands."""

    source: Source
    offset: int

    def _span(self, items: Items) -> Span:
        """From the first child to the last; a rule without children has no use for its span."""
        first, last = items[0], items[-1]
        start = first.span.start if isinstance(first, s.Syntax) else self._at(first.start_pos)
        end = last.span.end if isinstance(last, s.Syntax) else self._at(last.end_pos)
        return Span(self.source, start, end)

    def _at(self, position: int) -> int:
        return position + self.offset

    def _clause(self, name: str, items: Items, value: Any) -> Clause:
        return Clause(self._span(items), name, value)

    # --- start symbols

    def module(self, items: Items) -> tuple[s.Declaration, ...]:
        return tuple(items)

    def calls(self, items: Items) -> tuple[s.PassCall, ...]:
        return _all(items, s.PassCall)

    def expression(self, items: Items) -> s.Expr:
        expr: s.Expr = items[0]
        return expr

    # --- tokens

    def NAME(self, token: Token) -> s.Ident:
        return s.Ident(self._span([token]), str(token))

    def INT(self, token: Token) -> s.Number:
        return s.Number(self._span([token]), Fraction(token), str(token))

    FLOAT = INT
    INDEX = NAME

    def QUANTITY(self, token: Token) -> s.Quantity:
        unit = _UNIT.search(token)
        assert unit is not None
        value = Fraction(token[: unit.start()])
        return s.Quantity(self._span([token]), value, unit.group(), str(token))

    def STRING(self, token: Token) -> s.String:
        return s.String(self._span([token]), token[1:-1])

    # --- declarations

    def edition(self, items: Items) -> s.Edition:
        return s.Edition(self._span(items), int(items[1].value))

    def model(self, items: Items) -> s.ModelDecl:
        return s.ModelDecl(self._span(items), items[1], _first(items, s.String))

    def use(self, items: Items) -> s.Use:
        return s.Use(self._span(items), items[1], _all(items, s.Ident))

    def param(self, items: Items) -> s.Param:
        has = _clauses(items)
        return s.Param(
            self._span(items), items[1], items[3], has.get("multiple"), has.get("domain"), items[-1]
        )

    def multiple(self, items: Items) -> Clause:
        return self._clause("multiple", items, items[1])

    def domain(self, items: Items) -> Clause:
        return self._clause("domain", items, items[1])

    def let(self, items: Items) -> s.Let:
        return s.Let(self._span(items), items[1], items[3])

    def input(self, items: Items) -> s.Input:
        return s.Input(self._span(items), items[1], items[3])

    def block(self, items: Items) -> s.Block:
        has = _clauses(items)
        return s.Block(self._span(items), items[1], has.get("formals", ()), has["body"])

    def net(self, items: Items) -> s.Net:
        has = _clauses(items)
        return s.Net(self._span(items), items[1], has.get("formals", ()), has["body"])

    def formals(self, items: Items) -> Clause:
        return self._clause("formals", items, _all(items, s.Formal))

    def formal(self, items: Items) -> s.Formal:
        return s.Formal(self._span(items), items[0], items[2] if len(items) > 1 else None)

    def require(self, items: Items) -> s.Require:
        return s.Require(self._span(items), items[1], str(items[2]), items[3])

    def pipeline(self, items: Items) -> s.Pipeline:
        steps = tuple(i for i in items if isinstance(i, s.PassCall | s.Require))
        return s.Pipeline(self._span(items), items[1], _clauses(items).get("base"), steps)

    def base(self, items: Items) -> Clause:
        return self._clause("base", items, items[1])

    def call(self, items: Items) -> s.PassCall:
        return s.PassCall(self._span(items), items[0], items[1].value)

    # --- statements

    def body(self, items: Items) -> Clause:
        return self._clause("body", items, _nodes(items))

    def bind(self, items: Items) -> s.Bind:
        return s.Bind(self._span(items), _all(items, s.Target), items[-1])

    def target(self, items: Items) -> s.Target:
        return s.Target(self._span(items), items[0], _first(items, s.TypeExpr))

    def out(self, items: Items) -> s.Out:
        return s.Out(self._span(items), None, items[1], _first(items, s.TypeExpr))

    def named_out(self, items: Items) -> s.Out:
        return s.Out(self._span(items), items[1], items[3], _first(items, s.TypeExpr))

    def loss(self, items: Items) -> s.Loss:
        return s.Loss(self._span(items), items[1], items[3])

    # --- types

    def type(self, items: Items) -> s.TypeExpr:
        has = _clauses(items)
        kind, dims, taps = has["kind"]
        bound, by = has.get("up_to", (None, None))
        causal = isinstance(items[-1], Token)
        return s.TypeExpr(
            self._span(items), kind, dims, taps, has.get("clock"), bound, by,
            has.get("within"), causal,
        )  # fmt: skip

    def kind(self, items: Items) -> Clause:
        dims, taps = _clauses(items).get("dims", ((), None))
        return self._clause("kind", items, (_first(items, s.Ident), dims, taps))

    def dims(self, items: Items) -> Clause:
        value = (_all(items, s.TypeDim), _clauses(items).get("taps"))
        return self._clause("dims", items, value)

    def taps(self, items: Items) -> Clause:
        return self._clause("taps", items, items[1])

    def dim(self, items: Items) -> s.TypeDim:
        return s.TypeDim(self._span(items), items[0] if len(items) > 1 else None, items[-1])

    def up_to(self, items: Items) -> Clause:
        return self._clause("up_to", items, (items[1], _clauses(items).get("by")))

    def by(self, items: Items) -> Clause:
        return self._clause("by", items, items[1])

    def clock(self, items: Items) -> Clause:
        return self._clause("clock", items, items[1])

    def within(self, items: Items) -> Clause:
        return self._clause("within", items, items[1])

    # --- expressions

    def pipe(self, items: Items) -> s.Pipe:
        return s.Pipe(self._span(items), items[0], _all(items, s.Stage))

    def stage(self, items: Items) -> s.Stage:
        chains = _all(items, s.Chain)
        body, otherwise = (*chains, None, None)[:2]
        return s.Stage(self._span(items), items[0], _clauses(items).get("args"), body, otherwise)

    def chain(self, items: Items) -> s.Chain:
        return s.Chain(self._span(items), _all(items, s.Stage))

    def range(self, items: Items) -> s.Range:
        return s.Range(self._span(items), items[0], items[2])

    def sum(self, items: Items) -> s.Expr:
        """Left associative; the operands stand at the even places."""
        left: s.Expr = items[0]
        for op, right in zip(items[1::2], items[2::2], strict=True):
            left = s.Binary(left.span.to(right.span), str(op), left, right)
        return left

    product = power = sum

    def sign(self, items: Items) -> s.Unary:
        return s.Unary(self._span(items), str(items[0]), items[1])

    def apply(self, items: Items) -> s.Call | s.Weight:
        callee, args = items[0], items[1].value
        if isinstance(callee, s.Weight) and not callee.args:
            return replace(callee, span=self._span(items), args=args)
        return s.Call(self._span(items), callee, args)

    def at(self, items: Items) -> s.At:
        return s.At(self._span(items), items[0], items[2])

    def window(self, items: Items) -> s.Window:
        has = _clauses(items)
        return s.Window(
            self._span(items), items[0], items[2], items[4], has.get("by"), has.get("clip")
        )

    def clip(self, items: Items) -> Clause:
        return self._clause("clip", items, items[1])

    def when(self, items: Items) -> s.When:
        """`t - k + 1` is `(-k) + 1`: the sign of the first term belongs to the term."""
        span = self._span(items)
        if len(items) == 1:
            return s.When(span, None)
        sign, first = items[1], items[2]
        if sign == "-":
            first = s.Unary(self._span([sign, first]), "-", first)
        return s.When(span, self.sum([first, *items[3:]]))

    def field(self, items: Items) -> s.Field:
        name = items[2] if isinstance(items[2], s.Ident) else self.NAME(items[2])
        return s.Field(self._span(items), items[0], name)

    def each(self, items: Items) -> s.Each:
        return s.Each(self._span(items), items[0])

    def name(self, items: Items) -> s.Name:
        return s.Name(items[0].span, items[0].name)

    def incoming(self, items: Items) -> s.Incoming:
        return s.Incoming(self._span(items))

    def weight(self, items: Items) -> s.Weight:
        return s.Weight(self._span(items), _nodes(items), ())

    def paren(self, items: Items) -> s.Expr:
        """Parentheses leave no node; the span they enclose grows to include them."""
        inner: s.Expr = items[1]
        return replace(inner, span=self._span(items))

    def arguments(self, items: Items) -> Clause:
        return self._clause("args", items, _all(items, s.Arg))

    def argument(self, items: Items) -> s.Arg:
        return s.Arg(self._span(items), None, "", items[0])

    def keyword(self, items: Items) -> s.Arg:
        return s.Arg(self._span(items), items[0], str(items[1]), items[2])

    def path(self, items: Items) -> s.Path:
        return s.Path(self._span(items), _all(items, s.Ident))
