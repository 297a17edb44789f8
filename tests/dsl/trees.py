"""Random syntax trees: every node of the language, with names that are words elsewhere."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from asrc.compiler.source import Source, Span
from asrc.dsl import syntax as s

NOWHERE = Span(Source("tree", ""), 0, 0)
NUMBERS = ("0", "1", "160", "0.5", "2.50", "1e-3", "3e5")
UNITS = ("ms", "us", "s", "kHz", "Hz", "bit", "KiB", "MiB", "KB", "MB", "B", "k", "M", "G", "%")
# Not `causal`: a binding of that name cannot follow a type, so no text has some of its trees.
NAMES = ("x", "D", "low_2", "weight", "by", "within", "up", "to", "else", "loss", "from",
         "block", "model", "ms", "e3", "multiple", "std", "Ffn")  # fmt: skip


def make(kind: type[Any], *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, st.just(NOWHERE), *parts)


def many(part: st.SearchStrategy[Any], least: int = 0, most: int = 3) -> st.SearchStrategy[Any]:
    return st.lists(part, min_size=least, max_size=most).map(tuple)


def maybe(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | part


ident = make(s.Ident, st.sampled_from(NAMES))
path = make(s.Path, many(ident, 1, 2))
number = st.sampled_from(NUMBERS).map(lambda text: s.Number(NOWHERE, Fraction(text), text))
quantity = st.builds(
    lambda text, unit: s.Quantity(NOWHERE, Fraction(text), unit, text + unit),
    st.sampled_from(NUMBERS[:5]),
    st.sampled_from(UNITS),
)
string = make(s.String, st.sampled_from(("", "a b", "# {")))
leaf = st.one_of(number, quantity, string, make(s.Name, st.sampled_from(NAMES)), make(s.Incoming))


def _args(expr: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    value = expr | make(s.Range, expr, expr)
    op = st.sampled_from(("=", "<=", ">=", "==", "<", ">", "in"))
    return many(make(s.Arg, st.none(), st.just(""), value) | make(s.Arg, ident, op, value), most=2)


def _stages(expr: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    args = maybe(_args(expr))
    flat = make(s.Stage, path, args, st.none(), st.none())
    chain = make(s.Chain, many(flat, 1, 2))
    deep = make(s.Stage, path, args, chain, maybe(chain))
    return many(flat | deep, 1, 3)


@st.composite
def _call(draw: st.DrawFn, expr: st.SearchStrategy[Any]) -> Any:
    """A call; the first parentheses after `weight[8]` hold its options and are none."""
    callee = draw(expr)
    if isinstance(callee, s.Weight) and not callee.args:
        return callee
    return s.Call(NOWHERE, callee, draw(_args(expr)))


def _larger(expr: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    when = make(s.When, maybe(expr))
    return st.one_of(
        make(s.Unary, st.sampled_from("+-"), expr),
        make(s.Binary, st.sampled_from("+-*/^"), expr, expr),
        _call(expr),
        make(s.At, expr, when),
        make(s.Window, expr, when, when, maybe(expr), maybe(ident)),
        make(s.Field, expr, ident),
        make(s.Each, expr),
        make(s.Weight, many(expr, 1, 2), _args(expr)),
        make(s.Pipe, expr, _stages(expr)),
    )


expr = st.recursive(leaf, _larger, max_leaves=10)
small = st.recursive(leaf, _larger, max_leaves=3)
domain = make(s.Range, small, small)
formals = many(make(s.Formal, ident, maybe(small)))


def _type(kind: Any, dims: Any, taps: Any, rest: Any, bounds: Any, causal: bool) -> s.TypeExpr:
    clock, within = rest
    up_to, by = bounds
    return s.TypeExpr(
        NOWHERE, kind, dims, taps if dims else None, clock, up_to, by if up_to else None,
        within, causal,
    )  # fmt: skip


_some_dims = many(make(s.TypeDim, maybe(ident), small), 1)
_shape = st.tuples(ident, many(make(s.TypeDim, maybe(ident), small))) | st.tuples(
    st.none(), _some_dims
)
_pair = st.tuples(maybe(small), maybe(small))
type_expr = st.builds(
    lambda shape, *rest: _type(*shape, *rest), _shape, maybe(small), _pair, _pair, st.booleans()
)

require = st.one_of(
    make(s.Require, small, st.sampled_from(("<=", ">=", "==", "<", ">")), small),
    make(s.Require, small, st.just("in"), domain),
)
# These two begin an expression's last part where a pass call may follow.
pass_name = path.filter(lambda p: p.parts[0].name not in ("by", "within"))
call = make(s.PassCall, pass_name, _args(small))
statement = st.one_of(
    make(s.Bind, many(make(s.Target, ident, maybe(type_expr)), 1), expr),
    make(s.Out, maybe(ident), expr, maybe(type_expr)),
    make(s.Loss, ident, expr),
)
declaration = st.one_of(
    make(s.Edition, st.integers(0, 99)),
    make(s.ModelDecl, ident, maybe(string)),
    make(s.Use, path, many(ident, 1)),
    make(s.Param, ident, ident, maybe(small), maybe(domain), small),
    make(s.Let, ident, expr),
    make(s.Input, ident, type_expr),
    make(s.Block, ident, formals, many(statement)),
    make(s.Net, ident, formals, many(statement)),
    require,
    make(s.Pipeline, ident, maybe(ident), many(call | require)),
)
module = many(declaration, 1, 4).map(lambda items: s.Module(NOWHERE.source, items, (), True))
