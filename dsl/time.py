"""Time in expressions: `x[t-2..t]`, `h[t-1]`, `x[t+3]`, `u[t-7..t+7 in chunk]`."""

from __future__ import annotations

from fractions import Fraction

from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.graph import Attr
from ..compiler.ops import MAX_REACH
from ..compiler.source import Span
from ..compiler.types import Stream
from ..compiler.units import Quantity, format_period
from . import syntax
from .evaluator import Evaluator
from .scope import Place, Scope
from .values import Missing, Ref


def _at(offset: int) -> str:
    return f"t{offset:+d}" if offset else "t"


class Timed(Evaluator):
    """Shifts and windows, with recurrences left open until their name is bound."""

    def shifted(
        self,
        expr: syntax.At | syntax.Window,
        scope: Scope,
        place: Place,
        initial: syntax.Expr | None,
    ) -> Ref:
        inner = place.below()
        extra = () if initial is None else (self.stream(initial, scope, inner),)
        name = self._open_name(expr, scope)
        source = None if name else self.stream(expr.base, scope, inner)
        op, attrs = self._shift(expr, scope, source)
        if not op:
            return self._itself(expr, source)
        if source is not None:
            return self.node(op, (source, *extra), attrs, place, expr.span)
        return self._recurrence(expr, op, attrs, scope, place, extra)

    def _open_name(self, expr: syntax.At | syntax.Window, scope: Scope) -> str | None:
        """The name that a recurrence reads before it is bound, if this is one."""
        base = expr.base
        if not isinstance(base, syntax.Name) or base.name not in scope.later:
            return None
        if isinstance(scope.names.get(base.name), Missing):
            raise AsrcError()
        return None if base.name in scope.names else base.name

    def _itself(self, expr: syntax.At | syntax.Window, source: Ref | None) -> Ref:
        if source is not None:
            return source
        raise AsrcError(
            diagnostic(
                "E0103",
                "a recurrence must read an earlier frame of itself",
                expr.span,
                help="write `[t-1]` or further back",
            )
        )

    def _shift(
        self, expr: syntax.At | syntax.Window, scope: Scope, source: Ref | None
    ) -> tuple[str, dict[str, Attr]]:
        """The operator and its options; no operator for `x[t]`."""
        if isinstance(expr, syntax.At):
            offset = self._offset(expr.when, scope, source)
            if offset == 0:
                return "", {}
            return ("ahead" if offset > 0 else "delay"), {"frames": abs(offset)}
        return "window", self._window(expr, scope, source)

    def _window(self, expr: syntax.Window, scope: Scope, source: Ref | None) -> dict[str, Attr]:
        first = self._offset(expr.first, scope, source)
        last = self._offset(expr.last, scope, source)
        by = 1 if expr.dilation is None else self._step(expr.dilation, scope, source)
        if first % by or last % by:
            raise AsrcError(
                diagnostic(
                    "E0207",
                    f"the window {_at(first)}..{_at(last)} does not step by {by}",
                    expr.span,
                    help="both ends must be multiples of `by`",
                )
            )
        clip = self._clip(expr)
        return {"past": -first // by, "future": last // by, "by": by, "in_chunk": clip}

    def _step(self, expr: syntax.Expr, scope: Scope, source: Ref | None) -> int:
        """Frames between the taps of a window; a time is converted as in an offset."""
        value = self.value(expr, scope, Place("?"))
        if isinstance(value, Quantity) and value.dimension == "time" and value.value > 0:
            return int(self._frames(value, source, expr.span))
        return self.whole(expr, scope, "`by`", 1)

    def _clip(self, expr: syntax.Window) -> bool:
        if expr.clip is None:
            return False
        if expr.clip.name == "chunk":
            return True
        raise AsrcError(
            diagnostic(
                "E0101",
                f"a window stops at the edge of a chunk, not of `{expr.clip.name}`",
                expr.clip.span,
                help="write `in chunk`",
            )
        )

    def _offset(self, when: syntax.When, scope: Scope, source: Ref | None) -> int:
        """The signed number of frames; a time is converted through the stream's period."""
        if when.offset is None:
            return 0
        value = self.value(when.offset, scope, Place("?"))
        if isinstance(value, Quantity):
            value = self._frames(value, source, when.span)
        if not isinstance(value, Fraction) or value.denominator != 1:
            raise AsrcError(
                diagnostic("E0206", "`t` is shifted by a whole number of frames", when.span)
            )
        if abs(value) > MAX_REACH:
            raise AsrcError(
                diagnostic("E0005", f"more than {MAX_REACH} frames from `t`", when.span)
            )
        return int(value)

    def _frames(self, value: Quantity, source: Ref | None, span: Span) -> Fraction:
        kind = self.type_of(source) if source is not None else None
        if value.dimension != "time" or kind is None or not isinstance(kind.clock, Stream):
            help = "a recurrence has no period yet: count frames" if source is None else ""
            message = f"{value} is no number of frames here"
            raise AsrcError(diagnostic("E0206", message, span, help=help))
        frames = value.value / kind.clock.period
        if frames.denominator == 1:
            return frames
        raise AsrcError(
            diagnostic(
                "E0204",
                f"{value} is {float(frames):.4g} frames of {format_period(kind.clock.period)}",
                span,
            )
        )

    def _recurrence(
        self,
        expr: syntax.At | syntax.Window,
        op: str,
        attrs: dict[str, Attr],
        scope: Scope,
        place: Place,
        extra: tuple[Ref, ...],
    ) -> Ref:
        """A shift of a name that is bound further down."""
        if op == "window" and int(str(attrs["future"])) >= 0:
            return self._itself(expr, None)
        base = expr.base
        assert isinstance(base, syntax.Name)
        path = self.builder.claim(place.name or f"{place.prefix}.{op}")
        self.builder.add_open(path, op, attrs, expr.span, tuple(r.path for r in extra))
        scope.pending.setdefault(base.name, []).append(path)
        return Ref(path)
