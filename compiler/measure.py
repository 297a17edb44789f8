"""The figures that budgets compare: parameters, weights, look-ahead, state, MACs, period."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from operator import add, mul, sub, truediv

from .budgets import Arithmetic, Literal, Measure, Term
from .diagnostics import AsrcError, diagnostic
from .facts import Facts
from .graph import Graph
from .nearest import did_you_mean
from .select import select
from .source import Span
from .types import frame_period
from .units import format_quantity, show_bytes, show_count


@dataclass(frozen=True, slots=True)
class Amount:
    """A value in base units (seconds, hertz, bits, one); `None` is without bound."""

    value: Fraction | None
    dimension: str

    def __str__(self) -> str:
        """For people: sizes and counts are rounded, times are exact."""
        if self.value is None:
            return "unbounded"
        if self.dimension == "size":
            return show_bytes(self.value)
        exact = format_quantity(self.value, self.dimension)
        return show_count(self.value) if self.dimension == "number" else exact

    def exact(self) -> str:
        if self.value is None:
            return "unbounded"
        if self.dimension == "number" and self.value.denominator == 1:
            return f"{self.value.numerator:,}"
        return format_quantity(self.value, self.dimension)


def evaluate(facts: Facts, term: Term) -> Amount:
    """A term's value on a graph.

    Raises AsrcError: E0206 units that do not combine, E0803 nothing selected, E0101 no such figure,
    E0303 or E0501 an unbounded figure where only a bounded one makes sense.
    """
    match term:
        case Literal():
            return Amount(term.value, term.dimension)
        case Measure():
            return measure(facts, term)
        case Arithmetic():
            return _combine(term, evaluate(facts, term.left), evaluate(facts, term.right))


def measures(term: Term | None) -> list[Measure]:
    """The figures in a term, from left to right."""
    if isinstance(term, Arithmetic):
        return [*measures(term.left), *measures(term.right)]
    return [term] if isinstance(term, Measure) else []


# --- arithmetic ----------------------------------------------------------------------------------

_SIGNS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": add,
    "-": sub,
    "*": mul,
    "/": truediv,
}


def _combine(term: Arithmetic, left: Amount, right: Amount) -> Amount:
    dimension = _dimension(term, left.dimension, right.dimension)
    if term.op == "/" and right.value == 0:
        raise AsrcError(diagnostic("E0206", "division by zero", term.span))
    if left.value is None or right.value is None:
        _check_direction(term, left, right)
        return Amount(None, dimension)
    return Amount(_SIGNS[term.op](left.value, right.value), dimension)


def _check_direction(term: Arithmetic, left: Amount, right: Amount) -> None:
    """What has no bound may grow by a sum or a positive factor; its opposite is no upper bound."""
    opposite = term.op in ("-", "/") and right.value is None
    turned = term.op in ("*", "/") and any(
        x.value is not None and x.value <= 0 for x in (left, right)
    )
    if opposite or turned:
        figures = {figure.figure for figure in measures(term)}
        code = "E0303" if "lookahead" in figures else "E0501"
        message = "nothing is known of the opposite or the inverse of what has no bound"
        raise AsrcError(diagnostic(code, message, term.span, help="compare the figure by itself"))


def _dimension(term: Arithmetic, left: str, right: str) -> str:
    if term.op in ("+", "-") and left == right:
        return left
    if term.op == "*" and "number" in (left, right):
        return right if left == "number" else left
    if term.op == "/" and right in (left, "number"):
        return "number" if left == right else left
    message = f"`{term.op}` does not combine {article(left)} and {article(right)}"
    raise AsrcError(diagnostic("E0206", message, term.span))


def article(dimension: str) -> str:
    """A dimension in words: `a time`."""
    return "a plain number" if dimension == "number" else f"a {dimension}"


# --- figures -------------------------------------------------------------------------------------


def measure(facts: Facts, wanted: Measure) -> Amount:
    """A figure of a graph. Raises AsrcError E0101, E0206, E0803, as `evaluate`."""
    check_figure(wanted.figure, wanted.span)
    return _FIGURES[wanted.figure](facts, wanted)


def check_figure(name: str, span: Span | None) -> None:
    """Raises AsrcError E0101 for a name that is no figure."""
    if name not in _FIGURES:
        help = did_you_mean(name, _FIGURES) or f"figures are {', '.join(_FIGURES)}"
        raise AsrcError(diagnostic("E0101", f"there is no figure `{name}`", span, help=help))


def chosen(graph: Graph, wanted: Measure) -> list[str]:
    """The values that a figure is about; without a selector, all."""
    if wanted.selector is None:
        return list(graph.nodes)
    return select(graph, wanted.selector, wanted.span)


def _params(facts: Facts, wanted: Measure) -> Amount:
    return Amount(Fraction(facts.param_count(chosen(facts.graph, wanted))), "number")


def _weights(facts: Facts, wanted: Measure) -> Amount:
    return Amount(Fraction(facts.weight_bits(chosen(facts.graph, wanted))), "size")


def _macs(facts: Facts, wanted: Measure) -> Amount:
    """MACs a second, with every switch at its dearer branch."""
    worst = facts.cost(chosen(facts.graph, wanted)).worst
    return Amount(None if worst.unbounded else worst.second, "number")


def _state(facts: Facts, wanted: Measure) -> Amount:
    steps = {"frame": (False,), "step": (True,)}.get(wanted.variant or "", (False, True))
    paths = holders(facts.graph, chosen(facts.graph, wanted))
    sizes = [facts.held_bits(paths, step=step) for step in steps]
    return Amount(
        max((s for s in sizes if s is not None), default=Fraction(0))
        if None not in sizes
        else None,
        "size",
    )


def holders(graph: Graph, paths: Iterable[str]) -> list[str]:
    """A selection with the inputs that it reads: the samples that a net waits for are its state."""
    found = dict.fromkeys(paths)
    inputs = [n.path for n in graph if n.op == "input"]
    read = (p for p in inputs if any(reader in found for reader in graph.readers[p]))
    return list({**found, **dict.fromkeys(read)})


def _lookahead(facts: Facts, wanted: Measure) -> Amount:
    return Amount(facts.lookahead(latest(facts, wanted)), "time")


def latest(facts: Facts, wanted: Measure) -> str:
    """The value whose look-ahead a figure is about: of several outputs, the latest."""

    def worst(path: str) -> tuple[bool, Fraction]:
        seconds = facts.lookahead(path)
        return seconds is None, seconds or Fraction(0)

    return max(targets(facts.graph, wanted.selector, wanted.span), key=worst)


def targets(graph: Graph, selector: str | None, span: Span | None) -> list[str]:
    """What `encoder` means where one value is asked for: its output, or all it selects."""
    if selector is None:
        return list(graph.outputs.values())
    value = graph.resolve(selector)
    if value is not None:
        return [value]
    outputs = [path for name, path in graph.outputs.items() if name.startswith(f"{selector}.")]
    return outputs or select(graph, selector, span)


def _period(facts: Facts, wanted: Measure) -> Amount:
    found = {
        frame_period(facts.types[path].clock)
        for path in targets(facts.graph, wanted.selector, wanted.span)
    }
    period = found.pop()
    if found or period is None:
        what = "values of several periods" if found else "no frames"
        message = f"`{wanted.selector or 'the model'}` has {what}"
        raise AsrcError(
            diagnostic("E0206", message, wanted.span, help="name one value on a stream")
        )
    return Amount(period, "time")


_FIGURES: dict[str, Callable[[Facts, Measure], Amount]] = {
    "params": _params,
    "weights": _weights,
    "lookahead": _lookahead,
    "state": _state,
    "macs": _macs,
    "period": _period,
}
