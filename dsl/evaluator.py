"""What the parts of the elaborator share: one builder, one bag, and each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ..compiler.diagnostics import AsrcError, Bag, Diagnostic, Label, diagnostic
from ..compiler.graph import Attr
from ..compiler.source import Source, Span
from ..compiler.types import Type
from . import syntax
from .builder import Builder
from .scope import Place, Scope
from .values import BlockInstance, Missing, Module, OpInstance, Ref, Several, Value, describe


@dataclass(frozen=True, slots=True)
class Claim:
    """`within` or `causal` as written on a value: checked on every pipeline's graph."""

    path: str
    within: Fraction | None
    causal: bool
    span: Span


class Evaluator(ABC):
    """Turns syntax into values of a graph. Errors are raised; a body reports them."""

    def __init__(self, main: Source, bag: Bag) -> None:
        self.main = main
        self.bag = bag
        self.builder = Builder()
        self.claims: list[Claim] = []
        self.trail: list[tuple[syntax.Block, Span]] = []

    @abstractmethod
    def value(self, expr: syntax.Expr, scope: Scope, place: Place) -> Value:
        """What an expression stands for."""

    @abstractmethod
    def run_chain(
        self, stages: Sequence[syntax.Stage], incoming: Value, scope: Scope, place: Place
    ) -> Value:
        """Pipe a value through stages."""

    @abstractmethod
    def shifted(
        self,
        expr: syntax.At | syntax.Window,
        scope: Scope,
        place: Place,
        initial: syntax.Expr | None,
    ) -> Ref:
        """`x[t-k]` or a window; `initial` is what absent frames read as."""

    @abstractmethod
    def call(self, expr: syntax.Call, scope: Scope, place: Place) -> Value:
        """A call written as an expression."""

    @abstractmethod
    def named(
        self,
        name: syntax.Ident | syntax.Path,
        args: Sequence[syntax.Arg],
        scope: Scope,
        place: Place,
    ) -> Value:
        """A call by name: an instance, or the value when it needs no more input."""

    @abstractmethod
    def apply(
        self, instance: OpInstance | BlockInstance, inputs: Sequence[Ref], place: Place, span: Span
    ) -> Value:
        """An instance applied to streams."""

    @abstractmethod
    def run_block(
        self,
        block: syntax.Block,
        home: Module,
        arguments: Mapping[str, Value],
        incoming: Ref | None,
        prefix: str,
        span: Span,
    ) -> Value:
        """A block's outputs, its body elaborated below `prefix`."""

    # --- shared helpers ---

    def report(self, error: AsrcError) -> None:
        """Keep an error's diagnostics, seen from the user's own file."""
        for item in error.diagnostics:
            self.bag.add(self._from_users_side(item))

    def _from_users_side(self, item: Diagnostic) -> Diagnostic:
        if not self.trail or item.span is None:
            return item
        own = [use for use in self.trail if use[1].source is self.main]
        if item.span.source is not self.main and own:
            block, span = own[-1]
            use = Label(span, f"in this `{block.name.name}`")
            return replace(item, labels=(use, *item.labels))
        block, span = self.trail[-1]
        return item.at(span, f"in this `{block.name.name}`")

    def node(
        self,
        op: str,
        inputs: Sequence[Ref],
        attrs: Mapping[str, Attr],
        place: Place,
        span: Span,
        component: str | None = None,
    ) -> Ref:
        """A new value at `place`."""
        path = self.builder.claim(place.name or f"{place.prefix}.{component or op}")
        return Ref(self.builder.add(path, op, tuple(r.path for r in inputs), attrs, span))

    def stream(self, expr: syntax.Expr, scope: Scope, place: Place) -> Ref:
        """An expression that must be one stream; a number becomes a constant."""
        return self.as_stream(self.value(expr, scope, place), place, expr.span)

    def as_stream(self, value: Value, place: Place, span: Span) -> Ref:
        if isinstance(value, Ref):
            return value
        if isinstance(value, Fraction):
            return self.node("constant", (), {"value": value}, Place(place.prefix), span)
        if isinstance(value, Missing):
            raise AsrcError()
        names = value.names if isinstance(value, Several) else ()
        help = f"choose one by name: {', '.join(f'`.{name}`' for name in names)}" if names else ""
        message = f"a stream is needed here, this is {describe(value)}"
        raise AsrcError(diagnostic("E0107", message, span, help=help))

    def number(self, expr: syntax.Expr, scope: Scope, what: str) -> Fraction:
        """An expression that must be a plain number."""
        value = self.value(expr, scope, Place("?"))
        if isinstance(value, Fraction):
            return value
        if isinstance(value, Missing):
            raise AsrcError()
        code = "E0107" if isinstance(value, Ref) else "E0206"
        raise AsrcError(
            diagnostic(code, f"{what} is a plain number, not {describe(value)}", expr.span)
        )

    def whole(self, expr: syntax.Expr, scope: Scope, what: str, low: int = 0) -> int:
        """An expression that must be a whole number of at least `low`."""
        value = self.number(expr, scope, what)
        if value.denominator != 1 or value < low or value > 2**31 - 1:
            kind = "a whole number" if value.denominator != 1 else f"between {low} and 2^31-1"
            raise AsrcError(diagnostic("E0005", f"{what} must be {kind}", expr.span, str(value)))
        return int(value)

    def type_of(self, ref: Ref) -> Type | None:
        return self.builder.types[ref.path]
