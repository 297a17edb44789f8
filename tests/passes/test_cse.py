"""Common subexpressions."""

from __future__ import annotations

from fractions import Fraction

import pytest

from asrc.backends.torch.lowered import Lowered
from asrc.compiler.facts import Facts
from asrc.passes.cse import Cse
from asrc.passes.dce import Dce
from asrc.tests.backends.torch.zoo import facts
from asrc.tests.builders import Builder, lstm, recurrent
from asrc.tests.compiler.evaluation import flag, frames
from asrc.tests.passes.cluttered import assert_exact, cluttered


def test_equal_values_are_merged_into_the_first_from_the_inputs_on() -> None:
    b = Builder()
    x = frames(b, "x")
    for n in "12":
        b(f"a{n}", "tanh", x)
        b(f"half{n}", "constant", value=Fraction(1, 2))
        b(f"y{n}", "mul", f"a{n}", f"half{n}")
    b("y", "concat", "y1", "y2")
    graph = b.graph(names={"second": "y2"}, y="y", other="y2")
    new = assert_exact(graph, Cse())
    assert list(new.nodes) == ["x", "a1", "half1", "y1", "y"]
    assert new["y"].inputs == ("y1", "y1")
    assert (new.names, new.outputs) == ({"second": "y1"}, {"y": "y", "other": "y1"})


def test_options_and_the_order_of_inputs_matter() -> None:
    b = Builder()
    x, z = frames(b, "x"), frames(b, "z")
    b("a", "delay", x, frames=1)
    b("b", "delay", x, frames=2)
    b("c", "sub", x, z)
    b("d", "sub", z, x)
    graph = b.graph(**{n: n for n in "abcd"})
    assert Cse().run(graph, None)[0] is graph


def test_only_shared_parameters_merge() -> None:
    b = Builder()
    x = frames(b, "x")
    b("one", "dense", x, n=4)
    b("two", "dense", x, n=4)
    b("three", "dense", x, n=4, owner="one")
    b("y", "concat", "one", "two", "three")
    new = assert_exact(b.graph(y="y"), Cse())
    assert new["y"].inputs == ("one", "two", "one")


def test_the_owner_of_parameters_stays_even_if_it_comes_later() -> None:
    b = Builder()
    x = frames(b, "x")
    for path, owner in (("a", "own"), ("b", "own"), ("own", None), ("c", "own")):
        b(path, "dense", x, n=4, owner=owner)
    b("y", "concat", "a", "b", "own", "c")
    new = assert_exact(b.graph(y="y"), Cse())
    assert list(new.nodes) == ["x", "own", "y"]
    assert set(new["y"].inputs) == {"own"}


def test_draws_inputs_and_statistics_are_never_equal() -> None:
    b = Builder()
    x = frames(b, "x")
    frames(b, "z")
    for n in "12":
        b(f"drop{n}", "dropout", x, p=Fraction(1, 10))
        b(f"norm{n}", "cmvn", x)
        b(f"w{n}", "weight", dims=(4,))
    graph = b.graph(**{n: n for n in b.nodes})
    assert Cse().run(graph, None)[0] is graph


def test_recurrences_are_left_alone_but_what_follows_them_is_not() -> None:
    b = Builder()
    h = lstm(b, "l", frames(b, "x"), 4)
    b("again", "tanh", "l.c")  # as l.tanh, which is in the cycle
    b("a", "relu", h)
    b("b", "relu", h)
    graph = b.graph(y=b("y", "concat", "again", "a", "b"))
    new = assert_exact(graph, Cse())
    assert set(graph.nodes) - set(new.nodes) == {"b"}


def test_equal_values_in_the_two_branches_of_a_switch_differ_where_they_are_skipped() -> None:
    b = Builder()
    x, g = frames(b, "x"), flag(b, "g")
    for n in "12":
        b(f"u{n}", "exp", x)
        b(f"w{n}", "window", f"u{n}", past=1, future=0)
        b(f"d{n}", "depthwise", f"w{n}")
    graph = b.graph(y=b("y", "switch", g, "d1", "d2"))
    assert Cse().run(graph, None)[0] is graph
    assert_exact(graph, Cse())


def test_equal_switches_merge_and_equal_flags_do_not() -> None:
    """What two flags switch in turn always runs; with one flag in their place it would not."""
    b = Builder()
    x, g = frames(b, "x"), flag(b, "g")
    b("u", "exp", x)
    b("w", "window", "u", past=1, future=0)
    b("d", "depthwise", "w")
    for n in "12":
        b(f"flag{n}", "delay", g, frames=1)
        b(f"one{n}", "switch", "flag1", "d", x)
        b(f"two{n}", "switch", f"flag{n}", "d", x)
    graph = b.graph(y=b("y", "concat", "one1", "one2"), z=b("z", "concat", "two1", "two2"))
    new = assert_exact(graph, Cse())
    assert new["y"].inputs == ("one1", "one1")
    assert new["z"].inputs == ("one1", "two2")


def test_random_networks_keep_their_outputs() -> None:
    merged = 0
    for seed in range(60):
        graph, _ = Dce().run(cluttered(seed), None)
        new = assert_exact(graph, Cse(), seed)
        assert Cse().run(new, None)[0] is new
        merged += len(graph) - len(new)
    assert merged > 30


def test_a_model_without_repetition_stays() -> None:
    graph = recurrent()
    assert Cse().run(graph, None)[0] is graph


@pytest.mark.parametrize("name", ["conformer_transducer", "zipformer"])
def test_positions_stay_with_the_attention_that_reads_them(name: str) -> None:
    """Those of several layers, merged, would be of no attention, and the first layer's would have
    to wait for the last one's queries."""
    graph = facts(f"small/{name}.asr", "stream").graph
    new, _ = Cse().run(graph, None)
    count = [sum(node.op == "positions" for node in each) for each in (graph, new)]
    assert count[0] == count[1] > 1
    assert Lowered(Facts(new)).parts
