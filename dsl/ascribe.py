"""Types as written: declarations of inputs, and ascriptions checked against what is inferred."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ..compiler.facts.clock_rules import LONGEST, SHORTEST
from ..compiler.nearest import did_you_mean
from ..compiler.source import Span
from ..compiler.types import Clock, Finite, Label, Static, Stream, Type
from ..compiler.units import Quantity
from . import syntax
from .arithmetic import Number
from .evaluator import Claim, Evaluator
from .scope import Place, Scope
from .values import Missing, Ref

DEFAULT_PHRASE_LENGTH = 32
"""Tokens in a phrase when `by` does not say."""

KINDS = ("pcm", "token", "flag", "phrases")


class Ascriptions(Evaluator):
    def ascribe(self, ref: Ref, written: syntax.TypeExpr | None, scope: Scope) -> None:
        """Check a value against its written type and remember `within` and `causal`."""
        if written is None:
            return
        found = self.type_of(ref)
        expected = self.written_type(written, scope, found)
        if found is not None and found != expected:
            raise AsrcError(_differs(written, expected, found))
        if found is None:
            self.builder.types[ref.path] = expected
        within = None if written.within is None else self._time(written.within, scope)
        if within is not None or written.causal:
            self.claims.append(Claim(ref.path, within, written.causal, written.span))

    def written_type(
        self, written: syntax.TypeExpr, scope: Scope, like: Type | None = None
    ) -> Type:
        """The type that a type expression means; an omitted clock is that of `like`."""
        kind = written.kind.name if written.kind else None
        if kind == "phrases":
            return self._phrases(written, scope)
        if kind not in (None, *KINDS):
            assert written.kind is not None
            raise AsrcError(
                diagnostic(
                    "E0101",
                    f"there is no type `{kind}`",
                    written.kind.span,
                    help=did_you_mean(str(kind), KINDS)
                    or "types are pcm, token, flag, phrases and `[dims] @ period`",
                )
            )
        clock = self._clock(written, scope, like)
        dims = tuple(self.whole(d.value, scope, "a dimension", 1) for d in written.dims)
        if kind == "token":
            return Type((1,), clock, elem="token", vocab=_only(dims, written))
        if kind == "flag":
            return Type((1,), clock, elem="flag")
        taps = None if written.taps is None else self.whole(written.taps, scope, "taps", 1)
        return Type(dims or (1,), clock, taps)

    def _phrases(self, written: syntax.TypeExpr, scope: Scope) -> Type:
        """`phrases[chars] up to 300 by 24`: token ids along `chars`, in up to 300 phrases."""
        if len(written.dims) != 1:
            raise AsrcError(
                diagnostic("E0106", "`phrases` has one axis: `phrases[chars=40]`", written.span)
            )
        dim = written.dims[0]
        axis = dim.name.name if dim.name else _axis_name(dim)
        vocab = self.whole(dim.value, scope, "a vocabulary", 1)
        length = DEFAULT_PHRASE_LENGTH
        if written.by is not None:
            length = self.whole(written.by, scope, "the length of a phrase", 1)
        return Type(
            (1,), Finite(axis, length, self._catalogue(written, scope)), elem="token", vocab=vocab
        )

    def _catalogue(self, written: syntax.TypeExpr, scope: Scope) -> Finite:
        if written.up_to is None:
            raise AsrcError(
                diagnostic(
                    "E0106",
                    "a catalogue needs its largest size",
                    written.span,
                    help="`phrases[chars] up to 300`",
                )
            )
        return Finite("phrases", self.whole(written.up_to, scope, "a size", 1), Static())

    def _clock(self, written: syntax.TypeExpr, scope: Scope, like: Type | None) -> Clock:
        kind = written.kind.name if written.kind else None
        if written.up_to is not None:
            return self._catalogue(written, scope)
        if written.clock is None:
            if kind == "token":
                return Label()
            if like is not None:
                return like.clock
            raise AsrcError(
                diagnostic(
                    "E0106", "this type needs a clock", written.span, help="such as `@ 10ms`"
                )
            )
        return self._written_clock(written.clock, scope)

    def _written_clock(self, expr: syntax.Expr, scope: Scope) -> Clock:
        if isinstance(expr, syntax.Name) and expr.name in ("label", "static"):
            return Label() if expr.name == "label" else Static()
        value = self._quantity(expr, scope)
        if isinstance(value, Quantity) and value.dimension in ("time", "rate") and value.value > 0:
            period = value.value if value.dimension == "time" else 1 / value.value
            return Stream(_in_range(period, expr.span))
        raise AsrcError(
            diagnostic(
                "E0206",
                "a clock is a period or a rate with its unit",
                expr.span,
                help="`@ 10ms`, `@ 16kHz`, `@ label` or `@ static`",
            )
        )

    def _time(self, expr: syntax.Expr, scope: Scope) -> Fraction:
        value = self._quantity(expr, scope)
        if isinstance(value, Quantity) and value.dimension == "time":
            return value.value
        raise AsrcError(diagnostic("E0206", "a time needs its unit", expr.span, help="`20ms`"))

    def _quantity(self, expr: syntax.Expr, scope: Scope) -> Number:
        value = self.value(expr, scope, Place("?"))
        if isinstance(value, Missing):
            raise AsrcError()
        if isinstance(value, Fraction | Quantity):
            return value
        raise AsrcError(diagnostic("E0206", "a number is needed here", expr.span))


def _in_range(period: Fraction, span: Span) -> Fraction:
    """Periods from a microsecond to an hour, on a grid of at most a nanosecond."""
    if SHORTEST <= period <= LONGEST and period.denominator <= 10**9:
        return period
    raise AsrcError(diagnostic("E0005", "this period is out of range", span, "1us to 3600s"))


def _axis_name(dim: syntax.TypeDim) -> str:
    return dim.value.name if isinstance(dim.value, syntax.Name) else "chars"


def _only(dims: Sequence[int], written: syntax.TypeExpr) -> int:
    if len(dims) == 1:
        return dims[0]
    raise AsrcError(diagnostic("E0106", "`token` has one vocabulary: `token[1024]`", written.span))


def _differs(written: syntax.TypeExpr, expected: Type, found: Type) -> Diagnostic:
    return diagnostic(
        "E0203",
        f"the type written is {expected}, the type inferred {found}",
        written.span,
        f"inferred: {found}",
    )
