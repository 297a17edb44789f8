"""Constant folding."""

from __future__ import annotations

from fractions import Fraction

import pytest

from asrc.compiler.graph import Attr, Graph
from asrc.passes.dce import Dce
from asrc.passes.fold_constants import FoldConstants
from asrc.tests.builders import Builder
from asrc.tests.compiler.evaluation import flag, frames
from asrc.tests.facts.networks import random_network
from asrc.tests.passes.cluttered import assert_exact, cluttered


def folded(op: str, *numbers: int | Fraction) -> Fraction | None:
    """The number that an operator on numbers becomes, if it does."""
    b = Builder()
    names = [b(f"n{i}", "constant", value=n) for i, n in enumerate(numbers)]
    b("n", op, *names)
    b("y", "mul", frames(b, "x"), "n")
    new = FoldConstants().run(b.graph(y="y"), None)[0]
    value = new["n"].attrs.get("value")
    assert value is None or isinstance(value, Fraction)
    return value


HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("op", "numbers", "wanted"),
    [
        ("add", (HALF, 2), Fraction(5, 2)),
        ("sub", (HALF, 2), Fraction(-3, 2)),
        ("mul", (HALF, 4), 2),
        ("div", (2, 3), Fraction(2, 3)),
        ("div", (2, 0), None),
        ("relu", (-2,), 0),
        ("abs", (-HALF,), HALF),
        ("sqrt", (Fraction(9, 4),), Fraction(3, 2)),
        ("sqrt", (2,), None),
        ("sqrt", (-1,), None),
        ("exp", (0,), 1),
        ("exp", (1,), None),
        ("log", (1,), 0),
        ("sigmoid", (0,), HALF),
        ("softplus", (0,), None),
        ("gelu", (0,), 0),
        ("add", (Fraction(1, 2**200), Fraction(1, 3**100)), None),
    ],
)
def test_arithmetic_on_numbers_is_exact_or_left_alone(
    op: str, numbers: tuple[Fraction, ...], wanted: Fraction | None
) -> None:
    assert folded(op, *numbers) == wanted


def test_chains_of_numbers_become_one() -> None:
    b = Builder()
    b("two", "constant", value=2)
    b("four", "mul", "two", "two")
    b("root", "sqrt", "four")
    b("one", "div", "root", "two")
    b("y", "mul", frames(b, "x"), "one")
    graph = b.graph(names={"y": "y"}, y="y")
    new = assert_exact(graph, FoldConstants())
    assert (new.outputs, new.names) == ({"y": "x"}, {"y": "x"})
    assert new["root"].attrs == {"value": 2}


def idle(dims: tuple[int, ...], op: str, *inputs: str, **attrs: Attr) -> Graph:
    """A stream, doubled before and after an operator that may do nothing."""
    b = Builder()
    frames(b, "x", *dims)
    b("one", "constant", value=1)
    b("zero", "constant", value=0)
    b("before", "tanh", "x")
    b("idle", op, *(inputs or ("before",)), **attrs)
    b("y", "exp", "idle")
    return b.graph(names={"idle": "idle"}, y="y")


@pytest.mark.parametrize(
    ("op", "inputs", "attrs"),
    [
        ("mul", ("before", "one"), {}),
        ("mul", ("one", "before"), {}),
        ("add", ("before", "zero"), {}),
        ("add", ("zero", "before"), {}),
        ("sub", ("before", "zero"), {}),
        ("div", ("before", "one"), {}),
        ("stride", (), {"factor": 1}),
        ("upsample", (), {"factor": 1}),
        ("slice", (), {"parts": 1, "index": 0}),
        ("flatten", (), {}),
        ("concat", (), {}),
        ("dropout", (), {"p": Fraction(0)}),
    ],
)
def test_what_changes_nothing_goes(
    op: str, inputs: tuple[str, ...], attrs: dict[str, Attr]
) -> None:
    new = assert_exact(idle((4,), op, *inputs, **attrs), FoldConstants())
    assert new["y"].inputs == ("before",)
    assert new.names == {"idle": "before"}
    assert "idle" not in new.nodes


@pytest.mark.parametrize(
    ("dims", "op", "inputs", "attrs"),
    [
        ((4,), "mul", ("before", "zero"), {}),
        ((4,), "sub", ("zero", "before"), {}),
        ((4,), "div", ("one", "before"), {}),
        ((4,), "add", ("before", "one"), {}),
        ((4,), "stride", (), {"factor": 2}),
        ((4,), "slice", (), {"parts": 2, "index": 0}),
        ((4,), "concat", ("before", "before"), {}),
        ((4,), "stack", (), {}),
        ((4,), "dropout", (), {"p": Fraction(1, 10)}),
        ((2, 3), "flatten", (), {}),
    ],
)
def test_what_changes_something_stays(
    dims: tuple[int, ...], op: str, inputs: tuple[str, ...], attrs: dict[str, Attr]
) -> None:
    graph = idle(dims, op, *inputs, **attrs)
    assert FoldConstants().run(graph, None)[0] is graph


def test_flatten_of_a_window_stays_and_a_second_one_goes() -> None:
    b = Builder()
    b("w", "window", frames(b, "x", 1), past=2, future=0)
    b("one", "flatten", "w")
    b("two", "flatten", "one")
    new = assert_exact(b.graph(y=b("y", "exp", "two")), FoldConstants())
    assert new["y"].inputs == ("one",)


def test_a_change_of_type_is_a_change() -> None:
    """`1 * g` of a flag is a number."""
    b = Builder()
    g = flag(b, "g")
    b("one", "constant", value=1)
    graph = b.graph(y=b("a", "mul", g, "one"))
    assert FoldConstants().run(graph, None)[0] is graph


def test_in_a_branch_only_what_the_branch_itself_computes() -> None:
    """`x * 1` skips frames that `x` does not, which a window over it can tell."""
    b = Builder()
    x, g = frames(b, "x"), flag(b, "g")
    b("one", "constant", value=1)
    b("u", "mul", x, "one")
    b("v", "exp", "u")
    b("idle", "mul", "v", "one")
    b("w", "window", "u", past=1, future=0)
    b("d", "depthwise", "w")
    b("on", "add", "d", "idle")
    new = assert_exact(b.graph(y=b("y", "switch", g, "on", x)), FoldConstants())
    assert "u" in new.nodes
    assert new["on"].inputs == ("d", "v")


def test_in_a_recurrence() -> None:
    b = Builder()
    b("one", "constant", value=1)
    b("before", "delay", "h", frames=1)
    b("same", "mul", "before", "one")
    b("cell", "dense", frames(b, "x"), "same", n=4)
    b("h", "tanh", "cell")
    new = assert_exact(b.graph(y="h"), FoldConstants())
    assert new["cell"].inputs == ("x", "before")


def test_random_networks_keep_their_outputs_and_lose_their_clutter() -> None:
    gone = 0
    for seed in range(60):
        graph = cluttered(seed)
        new = assert_exact(graph, FoldConstants(), seed)
        assert FoldConstants().run(new, None)[0] is new
        gone += len(graph) - len(new)
        dangling = [n.path for n in Dce().run(new, None)[0] if n.op == "constant"]
        assert len(dangling) <= sum(n.op == "constant" for n in graph)
    assert gone > 60


def test_networks_without_clutter_stay() -> None:
    graphs = [random_network(seed) for seed in range(30)]
    assert all(FoldConstants().run(graph, None)[0] is graph for graph in graphs)
