"""Gates: which flags decide whether a value runs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from asrc.compiler.facts import Facts
from asrc.compiler.facts.gates import Gate, infer_gates
from asrc.compiler.graph import Graph
from asrc.compiler.types import Static, Stream
from asrc.tests.builders import Builder, lstm
from asrc.tests.compiler.evaluation import flag, frames


def gates(graph: Graph) -> dict[str, str]:
    """`+g` runs where `g` is up, `-g` where it is down."""
    found = infer_gates(graph, Facts(graph).types)
    return {path: _text(found[path]) for path in graph.nodes if path in found}


def _text(found: frozenset[Gate]) -> str:
    return " ".join(sorted(f"{'+' if gate.up else '-'}{gate.flag}" for gate in found))


def branches() -> Builder:
    b = Builder()
    x, g = frames(b, "x"), flag(b, "g")
    b("both", "tanh", x)
    b("up", "exp", "both")
    b("down", "relu", "both")
    b("y", "switch", g, "up", "down")
    return b


def test_what_only_one_branch_needs_runs_for_that_branch() -> None:
    assert gates(branches().graph(y="y")) == {"up": "+g", "down": "-g"}


def test_any_other_use_runs_a_value_always() -> None:
    b = branches()
    assert gates(b.graph(y="y", up="up")) == {"down": "-g"}
    loss = replace(b.graph(y="y"), losses={"cost": "down"})
    assert gates(loss) == {"up": "+g"}
    b("elsewhere", "add", "up", "y")
    assert gates(b.graph(y="elsewhere")) == {"down": "-g"}


def test_nobody_needs_it_and_nobody_switches_it() -> None:
    b = branches()
    b("dead", "abs", "up")
    assert gates(b.graph(y="y")) == {"up": "+g", "down": "-g"}
    assert gates(b.graph(y="both")) == {}
    assert infer_gates(b.graph(), Facts(b.graph()).types) == {}


def test_branches_within_branches() -> None:
    b = branches()
    b("z", "switch", flag(b, "k"), "y", "x")
    assert gates(b.graph(z="z")) == {
        "g": "+k", "both": "+k", "up": "+g +k", "down": "+k -g", "y": "+k",
    }  # fmt: skip


def test_the_same_branch_of_two_switches_on_one_flag() -> None:
    b = branches()
    b("z", "switch", "g", "up", "x")
    assert gates(b.graph(y="y", z="z"))["up"] == "+g"
    b("z", "switch", "g", "x", "up")
    assert gates(b.graph(y="y", z="z")) == {"down": "-g"}


def test_a_recurrence_belongs_to_its_branch_as_a_whole() -> None:
    b = Builder()
    x, g = frames(b, "x"), flag(b, "g")
    h = lstm(b, "l", x, 4)
    found = gates(b.graph(y=b("y", "switch", g, h, x)))
    assert found == {path: "+g" for path in b.nodes if path.startswith("l.")}


def test_a_slow_flag_says_nothing_about_faster_frames() -> None:
    b = Builder()
    slow = Stream(Fraction(1, 50))
    x, g = frames(b, "x"), flag(b, "g", slow)
    b("fast", "exp", x)
    b("on", "stride", "fast", factor=2)
    b("y", "switch", g, "on", frames(b, "z", clock=slow))
    assert gates(b.graph(y="y")) == {"on": "+g", "z": "-g"}


def test_a_flag_for_the_utterance_switches_everything_in_its_branch() -> None:
    b = Builder()
    x, g = frames(b, "x"), flag(b, "g", Static())
    b("mean", "mean", b("u", "exp", x))
    b("y", "switch", g, b("on", "add", x, "mean"), x)
    assert gates(b.graph(y="y")) == {"u": "+g", "mean": "+g", "on": "+g"}
