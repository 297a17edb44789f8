"""Budgets in IR text: `lookahead(encoder) <= 320ms`, `(params + 5) in 10..20`."""

from __future__ import annotations

import re

from .budgets import Arithmetic, Budget, Literal, Measure, Term
from .irscan import Cursor

MAX_DEPTH = 64

_FIGURE = re.compile(r"[a-z_]+")
_COMPARISON = re.compile(r"<=|>=|==|<|>|in\b")
_SIGN = re.compile(r"[-+*/]")


def read_budget(c: Cursor) -> Budget:
    """The budget at the cursor. Raises AsrcError E0010."""
    left = _term(c, 0)
    c.skip()
    sign = c.match(_COMPARISON)
    if sign is None:
        raise c.fail("a comparison is expected here")
    right = _term(c, 0)
    upper = None
    if sign.group() == "in":
        c.expect("..")
        upper = _term(c, 0)
    return Budget(left, sign.group(), right, upper)


def _term(c: Cursor, depth: int) -> Term:
    if depth > MAX_DEPTH:
        raise c.fail("brackets are nested too deep")
    if c.take("("):
        return _arithmetic(c, depth + 1)
    c.skip()
    figure = c.match(_FIGURE)
    if figure is None:
        return Literal(*c.quantity("a figure or a number"))
    chosen = c.listed(lambda: c.word("a selection"), ")") if c.take("(") else []
    if len(chosen) > 2:
        raise c.fail(f"`{figure.group()}` takes a selection and at most one variant")
    selector, variant = (*chosen, None, None)[:2]
    return Measure(figure.group(), selector, variant)


def _arithmetic(c: Cursor, depth: int) -> Term:
    left = _term(c, depth)
    c.skip()
    sign = c.match(_SIGN)
    if sign is None:
        raise c.fail("`+`, `-`, `*` or `/` is expected here")
    right = _term(c, depth)
    c.expect(")")
    return Arithmetic(sign.group(), left, right)
