"""Dead code elimination."""

from __future__ import annotations

from dataclasses import replace

from asrc.compiler.facts import Facts
from asrc.compiler.reference import random_weights
from asrc.passes.dce import Dce
from asrc.tests.builders import Builder, recurrent
from asrc.tests.compiler.evaluation import frames
from asrc.tests.passes.cluttered import assert_exact, cluttered


def sample() -> Builder:
    b = Builder()
    x = frames(b, "x")
    frames(b, "unused")
    b.scope("encoder", "net", "encoder")
    b.scope("encoder.Ffn", "block", "Ffn")
    b.scope("encoder.Ffn_2", "block", "Ffn")
    b("encoder.Ffn.dense", "dense", x, n=3)
    b("encoder.Ffn.relu", "relu", "encoder.Ffn.dense")
    b("encoder.Ffn_2.dense", "dense", x, n=3)
    b("encoder.aside", "tanh", "encoder.Ffn_2.dense")
    return b


def test_drops_values_scopes_names_and_parameters() -> None:
    b = sample()
    names = {"encoder.a": "encoder.Ffn_2.dense", "encoder.b": "encoder.aside"}
    graph = b.graph(names=names, encoder="encoder.aside")
    weights = random_weights(graph, Facts(graph).types, 0)
    new, kept = Dce().run(graph, weights)
    assert list(new.nodes) == ["x", "unused", "encoder.Ffn_2.dense", "encoder.aside"]
    assert set(new.scopes) == {"encoder", "encoder.Ffn_2"}
    assert new.names == names
    assert kept is not None
    assert set(kept) == {"encoder.Ffn_2.dense.weight", "encoder.Ffn_2.dense.bias"}
    other, _ = Dce().run(replace(graph, outputs={"encoder": "encoder.Ffn.relu"}), None)
    assert other.names == {}


def test_a_loss_is_a_use() -> None:
    graph = replace(sample().graph(y="encoder.aside"), losses={"cost": "encoder.Ffn.relu"})
    assert Dce().run(graph, None) == (graph, None)


def test_an_owner_of_parameters_in_use_stays() -> None:
    b = Builder()
    x = frames(b, "x")
    b("one", "dense", b("before", "relu", x), n=4)
    b("after", "relu", "one")
    b("two", "dense", x, n=4, owner="one")
    new = assert_exact(b.graph(y="two"), Dce())
    assert list(new.nodes) == ["x", "before", "one", "two"]


def test_a_recurrence_that_nobody_reads_goes() -> None:
    graph = replace(recurrent(), outputs={"mel": "encoder.mel"})
    new, _ = Dce().run(graph, None)
    assert list(new.nodes) == ["audio", "encoder.mel.logmel", "encoder.mel"]
    assert not new.scopes


def test_nothing_to_drop_gives_the_same_graph() -> None:
    graph = recurrent()
    assert Dce().run(graph, None)[0] is graph


def test_random_networks_keep_their_outputs() -> None:
    dropped = 0
    for seed in range(60):
        graph = cluttered(seed)
        new = assert_exact(graph, Dce(), seed)
        live = new.ancestors(new.outputs.values())
        owners = new.ancestors(p for n in new if (p := n.owner) is not None)
        assert all(n.path in live | owners or n.op == "input" for n in new)
        dropped += len(graph) - len(new)
    assert dropped > 60
