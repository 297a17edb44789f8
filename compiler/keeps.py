"""What a pass promises to keep, verified: the graph before against the graph after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest

from .diagnostics import Diagnostic, diagnostic
from .facts import Facts, Held
from .protocol import Pass
from .source import Span
from .types import clock_text
from .units import format_time


@dataclass(frozen=True, slots=True)
class Difference:
    """The first value that is not as it was, in words."""

    value: str
    before: str
    after: str


def broken_promise(
    made: Pass, before: Facts, after: Facts, span: Span | None = None
) -> Diagnostic | None:
    """E0801 for the first promise that a pass did not keep. `numerics` needs weights: not here."""
    for output in before.graph.outputs:
        if output not in after.graph.outputs:
            return _blame(made, "outputs", Difference(output, "an output", "gone"), span)
    for promise, differs in CHECKS.items():
        if promise in made.keeps and (found := differs(before, after)) is not None:
            return _blame(made, promise, found, span)
    return None


def broken_numerics(made: Pass, words: str, span: Span | None = None) -> Diagnostic:
    """E0801 for results that differ; `words` says where and by how much."""
    return diagnostic("E0801", f"`{made.name}` promised to keep numerics: {words}", span)


def _blame(made: Pass, promise: str, found: Difference, span: Span | None) -> Diagnostic:
    return diagnostic(
        "E0801",
        f"`{made.name}` promised to keep {promise}, but `{found.value}` went from {found.before}"
        f" to {found.after}",
        span,
        help="this is a mistake in the pass, not in the model; leave the pass out and report it",
    )


def _pairs(before: Facts, after: Facts) -> Iterator[tuple[str, str, str]]:
    """Values to compare, first those with one path in both graphs, then outputs by name."""
    yield from ((path, path, path) for path in before.graph.nodes if path in after.graph.nodes)
    for name, path in before.graph.outputs.items():
        yield name, path, after.graph.outputs[name]


def _first(before: Facts, after: Facts, show: Callable[[Facts, str], str]) -> Difference | None:
    for name, old, new in _pairs(before, after):
        was, now = show(before, old), show(after, new)
        if was != now:
            return Difference(name, was, now)
    return None


def _rate(before: Facts, after: Facts) -> Difference | None:
    return _first(before, after, lambda facts, path: clock_text(facts.types[path].clock))


def _shapes(before: Facts, after: Facts) -> Difference | None:
    return _first(before, after, lambda facts, path: facts.types[path].shape_text())


def _lookahead(before: Facts, after: Facts) -> Difference | None:
    return _first(before, after, lambda facts, path: show_lookahead(facts.lookahead(path)))


def show_lookahead(seconds: Fraction | None) -> str:
    """Seconds as text: `295ms`, or `unbounded` for `None`."""
    return "unbounded" if seconds is None else format_time(seconds)


def _parameters(before: Facts, after: Facts) -> Difference | None:
    for path in dict.fromkeys((*before.params, *after.params)):
        was, now = before.params.get(path), after.params.get(path)
        if was != now:
            return Difference(path, _show_shapes(was), _show_shapes(now))
    return None


def _show_shapes(shapes: dict[str, tuple[int, ...]] | None) -> str:
    if not shapes:
        return "no parameters"
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())


def _state(before: Facts, after: Facts) -> Difference | None:
    """The amount counts, both per frame and per step; where it is held may change."""
    for step in (False, True):
        graphs = ((facts, facts.graph.nodes) for facts in (before, after))
        was, now = (facts.held_bits(paths, step=step) for facts, paths in graphs)
        if was != now:
            return _held_difference(
                *(f.held_step if step else f.held_frame for f in (before, after))
            )
    return None


def _held_difference(before: tuple[Held, ...], after: tuple[Held, ...]) -> Difference | None:
    for was, now in zip_longest(before, after):
        if was is None or now is None or (was.path, was.values) != (now.path, now.values):
            return Difference((was or now).path, _show_held(was), _show_held(now))
    return None


def _show_held(held: Held | None) -> str:
    if held is None:
        return "no state"
    if held.frames is None:
        return "ever more frames"
    return f"{held.frames} frame{'' if held.frames == 1 else 's'} of `{held.path}`"


CHECKS: dict[str, Callable[[Facts, Facts], Difference | None]] = {
    "rate": _rate,
    "shapes": _shapes,
    "parameters": _parameters,
    "lookahead": _lookahead,
    "state": _state,
}
