"""Budgets against facts: what `require`, `within` and `causal` claim, and why it does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from operator import eq, ge, gt, le, lt

from .budgets import Budget, Measure, Term
from .diagnostics import AsrcError, Diagnostic, Label, diagnostic
from .facts import Facts, Held
from .graph import Graph
from .irtext import budget_text, term_text
from .keeps import show_lookahead
from .measure import Amount, article, chosen, evaluate, holders, latest, measures
from .rows import MAX_ROWS, grouped, lines, pattern, texts
from .source import Span
from .units import format_number, format_quantity, format_time
from .waits import Question, explain, waiting_rows

Places = Mapping[str, Span]

_HOLDS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<=": le,
    "<": lt,
    ">=": ge,
    ">": gt,
    "==": eq,
}


def check_budgets(
    facts: Facts, budgets: Iterable[Budget], places: Places | None = None
) -> list[Diagnostic]:
    """Every budget that does not hold, or that cannot be evaluated.

    `places` says where values got their present options: value -> the call of the pass.
    """
    return [d for budget in budgets for d in check_budget(facts, budget, places or {})]


def check_budget(facts: Facts, budget: Budget, places: Places) -> tuple[Diagnostic, ...]:
    """E0301, E0303, E0304, E0401, E0404, E0501; or E0206, E0803, E0101 for the budget itself."""
    try:
        left, right = evaluate(facts, budget.left), evaluate(facts, budget.right)
        upper = None if budget.upper is None else evaluate(facts, budget.upper)
        _check_units(budget, left, [right] if upper is None else [right, upper])
    except AsrcError as error:
        return error.diagnostics
    if holds(budget.op, left, right, upper):
        return ()
    return (_explain(facts, budget, (left, right, upper), places),)


def holds(op: str, left: Amount, right: Amount, upper: Amount | None = None) -> bool:
    """Whether a comparison holds; what has no bound is more than everything."""
    if op == "in" and upper is not None:
        return holds(">=", left, right) and holds("<=", left, upper)
    if left.value is None or right.value is None:
        return _HOLDS[op](Fraction(left.value is None), Fraction(right.value is None))
    return _HOLDS[op](left.value, right.value)


def _check_units(budget: Budget, left: Amount, others: list[Amount]) -> None:
    for other in others:
        if other.dimension != left.dimension:
            raise AsrcError(_unit_error(budget, left.dimension, other.dimension))


def _unit_error(budget: Budget, left: str, right: str) -> Diagnostic:
    examples = {"time": "320ms", "size": "24KiB", "rate": "16kHz", "number": "30M"}
    return diagnostic(
        "E0206",
        f"{article(left)} is compared with {article(right)}",
        budget.span,
        help=f"{article(left)} is written like `{examples[left]}`",
    )


# --- why -----------------------------------------------------------------------------------------

Sides = tuple[Amount, Amount, Amount | None]


def _explain(facts: Facts, budget: Budget, sides: Sides, places: Places) -> Diagnostic:
    figures = [*measures(budget.left), *measures(budget.right), *measures(budget.upper)]
    message = _message(budget, sides)
    for figure in figures:
        if figure.figure == "lookahead":
            question = Question(facts, latest(facts, figure), message, budget.span, places)
            return explain(question)
        if figure.figure == "state":
            return _explain_state(facts, budget, figure, message)
    return Diagnostic("E0501", message, _at(budget.span), _values(facts, figures))


def _message(budget: Budget, sides: Sides) -> str:
    left, right, upper = sides
    texts = [str(a) for a in (left, right, upper) if a is not None]
    if len(set(texts)) < len(texts):
        texts = [a.exact() for a in (left, right, upper) if a is not None]
    if isinstance(budget.left, Measure) and budget.op in ("<=", "<", "in"):
        return f"{_phrase(budget.left)} is {texts[0]}, the budget is {'..'.join(texts[1:])}"
    return f"`{budget_text(budget)}` does not hold: {texts[0]} against {'..'.join(texts[1:])}"


_NAMES = {
    "params": "the number of parameters",
    "weights": "the size of the weights",
    "lookahead": "look-ahead",
    "state": "state",
    "macs": "the work a second in MACs",
    "period": "the period",
}


def _phrase(figure: Measure) -> str:
    """`look-ahead of `encoder``, `state(step) of `encoder``."""
    name = _NAMES[figure.figure] + (f"({figure.variant})" if figure.variant else "")
    return f"{name} of `{figure.selector}`" if figure.selector else f"{name} of the model"


def _values(facts: Facts, figures: Iterable[Measure]) -> tuple[str, ...]:
    """The value of each figure in a budget."""
    unique: dict[str, Term] = {term_text(figure): figure for figure in figures}
    return tuple(f"{text} = {evaluate(facts, term).exact()}" for text, term in unique.items())


def _at(span: Span | None) -> tuple[Label, ...]:
    return (Label(span),) if span is not None else ()


# --- state ---------------------------------------------------------------------------------------


def _explain_state(facts: Facts, budget: Budget, figure: Measure, message: str) -> Diagnostic:
    paths = set(holders(facts.graph, chosen(facts.graph, figure)))
    held = [h for h in _larger(facts, paths, figure.variant) if h.path in paths]
    growing = [h for h in held if h.values is None]
    if growing:
        return _growing(facts.graph, budget, growing, message)
    items = (
        (facts.graph[h.path], _held_text(facts, h), Fraction((h.values or 0) * _bits(facts, h)))
        for h in held
    )
    notes = lines(grouped(items), show_size)
    return Diagnostic("E0401", message, _at(budget.span), notes)


def _larger(facts: Facts, paths: set[str], variant: str | None) -> tuple[Held, ...]:
    """The held frames behind a figure: of a frame, of a step, or of the larger of the two."""
    sizes = {step: facts.held_bits(paths, step=step) for step in (False, True)}
    frame, step = sizes[False], sizes[True]
    larger = step is None or (frame is not None and step > frame)
    use_step = larger if variant is None else variant == "step"
    return facts.held_step if use_step else facts.held_frame


def _bits(facts: Facts, held: Held) -> int:
    return facts.formats[held.path].bits


def _held_text(facts: Facts, held: Held) -> str:
    """`encoder.body.*.Attn.k` [256]: 64 frames."""
    shape = facts.types[held.path].shape_text()
    frames = f"{held.frames} frame{'' if held.frames == 1 else 's'}"
    own = " of the recurrence" if held.kind == "recurrent" else ""
    return f"`{pattern(held.path)}` {shape}: {frames}{own}"


def show_size(bits: Fraction) -> str:
    """Exact, in KiB where that has few digits."""
    kib = bits / (8 * 1024)
    if (kib * 1000).denominator == 1:
        return f"{format_number(kib)}KiB"
    return format_quantity(bits, "size")


def _growing(graph: Graph, budget: Budget, growing: list[Held], message: str) -> Diagnostic:
    nodes = [graph[h.path] for h in growing]
    rows = grouped(
        (n, f"`{pattern(n.path)}` is kept from the start of the stream", Fraction(0)) for n in nodes
    )
    labels = tuple(Label(n.span, "kept for good") for n in nodes[:1] if n.span is not None)
    readers = dict.fromkeys(graph[r].op for h in growing for r in h.readers)
    help = "`left=2560ms` bounds what attention keeps" if "attend" in readers else ""
    return Diagnostic(
        "E0404",
        f"{message}: it grows with the stream",
        (*_at(budget.span), *labels),
        tuple(texts(rows[:MAX_ROWS])),
        (help,) if help else (),
    )


# --- ascriptions ---------------------------------------------------------------------------------


def check_within(
    facts: Facts, path: str, limit: Fraction, span: Span | None, places: Places | None = None
) -> Diagnostic | None:
    """`within 320ms` on a value: E0301, E0303 or E0304 where its look-ahead is longer."""
    found = facts.lookahead(path)
    if found is not None and found <= limit:
        return None
    message = f"look-ahead of `{path}` is {show_lookahead(found)}, not within {format_time(limit)}"
    return explain(Question(facts, path, message, span, places or {}))


def check_causal(facts: Facts, path: str, span: Span | None) -> Diagnostic | None:
    """`causal` on a value: E0302 where a frame reads beyond its own end.

    The overhang of an analysis window over its hop is not counted: look-ahead is inferred once
    more with windows as long as their hops.
    """
    bare = Facts(_without_overhang(facts.graph))
    if bare.lookahead(path) == 0:
        return None
    if bare.lookahead(path) is None:
        return replace(explain(Question(bare, path, _reads_future(path), span, {})), code="E0302")
    rows = waiting_rows(bare, path)
    labels = [Label(s, r.what) for r in rows if (s := r.nodes[0].span) is not None]
    notes = lines(rows, format_time)
    help = ("read `t` and before, or write `within` with the look-ahead that is meant",)
    return Diagnostic("E0302", _reads_future(path), (*_at(span), *labels), notes, help)


def _reads_future(path: str) -> str:
    return f"`{path}` is said to be causal but reads frames to come"


def _without_overhang(graph: Graph) -> Graph:
    nodes = {n.path: n.with_attrs(window=n.attrs["hop"]) if n.op == "logmel" else n for n in graph}
    return replace(graph, nodes=nodes)
