"""Folding of batchnorm and cmvn into the weights beside them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from asrc.compiler.facts import Facts
from asrc.compiler.graph import Graph, Node
from asrc.compiler.reference import evaluate, random_weights
from asrc.passes.fold_norm import FoldNorm
from asrc.tests.builders import Builder, lstm, recurrent
from asrc.tests.compiler.evaluation import flag, frames, noise
from asrc.tests.facts.networks import random_network
from asrc.tests.passes.cluttered import assert_exact, node


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph]


# --- batchnorm ---


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("op", ["dense", "grouped", "convf", "depthwise", "depthwise planes"])
def test_batchnorm_folds_into_the_map_before_it(op: str, bias: bool) -> None:
    b = Builder()
    dims = (2, 6) if op == "depthwise planes" else (6,)
    b("w", "window", frames(b, "x", *dims), past=2, future=1)
    if op in ("dense", "grouped"):
        groups = 2 if op == "grouped" else 1
        b("map", "dense", "w", n=4, bias=bias, groups=groups)
    elif op == "convf":
        b("map", "convf", "w", channels=4, kernel=3, stride=2, bias=bias)
    else:
        b("map", "depthwise", "w", bias=bias)
    b("norm", "batchnorm", "map")
    graph = b.graph(names={"raw": "map", "y": "norm"}, y=b("y", "relu", "norm"))
    new = assert_exact(graph, FoldNorm())
    assert list(new.nodes) == ["x", "w", "map", "y"]
    assert new["map"].attrs["bias"] is True
    assert new.names == {"y": "map"}  # the raw map is no longer there


@pytest.mark.parametrize("views", [("stride",), ("upsample",), ("stride", "stride", "upsample")])
@pytest.mark.parametrize("op", ["dense", "convf"])
def test_batchnorm_folds_through_what_only_chooses_frames(op: str, views: Sequence[str]) -> None:
    """`Conv2d |> batchnorm`: the block ends in a stride, whatever its factor is."""
    b = Builder()
    b("w", "window", frames(b, "x"), past=2, future=0)
    options = {"n": 4} if op == "dense" else {"channels": 4, "kernel": 3}
    x = b("map", op, "w", **options)
    for n, view in enumerate(views):
        x = b(f"view{n}", view, x, factor=1 + (n + 1) % 2)
    b("norm", "batchnorm", x)
    graph = b.graph(names={"seen": x, "y": "norm"}, y=b("y", "relu", "norm"))
    new = assert_exact(graph, FoldNorm())
    assert list(new.nodes) == ["x", "w", "map", *(f"view{n}" for n in range(len(views))), "y"]
    assert new.names == {"y": x}


@pytest.mark.parametrize("view", ["window", "delay", "ahead", "flatten", "dropout", "slice"])
def test_batchnorm_stays_behind_other_views(view: str) -> None:
    """Absent frames read as zero before it, channels are others, or training is not the same."""
    b = Builder()
    options: dict[str, Any] = {
        "window": {"past": 1, "future": 0},
        "delay": {"frames": 1},
        "ahead": {"frames": 1},
        "dropout": {"p": Fraction(1, 10)},
        "slice": {"parts": 2, "index": 0},
    }
    b("map", "convf", b("w", "window", frames(b, "x"), past=1, future=0), channels=4, kernel=3)
    b("norm", "batchnorm", b("view", view, "map", **options.get(view, {})))
    graph = b.graph(y=b("y", "relu", "norm"))
    assert FoldNorm().run(graph, None)[0] == graph


@pytest.mark.parametrize("seen", ["map", "stride"])
def test_batchnorm_stays_where_others_read_on_the_way(seen: str) -> None:
    b = Builder()
    b("stride", "stride", b("map", "dense", frames(b, "x"), n=4), factor=1)
    b("norm", "batchnorm", "stride")
    graph = b.graph(y="norm", z=b("z", "relu", seen))
    assert FoldNorm().run(graph, None)[0] == graph


def spoiled(b: Builder, how: str) -> Graph:
    """A dense and its batchnorm, kept apart."""
    x = frames(b, "x")
    b("map", "dense", b("w", "relu", x), n=4)
    b("norm", "batchnorm", "map")
    outputs = {"y": "norm"}
    if how == "read twice":
        outputs["z"] = b("z", "add", "map", "norm")
    elif how == "an output":
        outputs["z"] = "map"
    elif how == "shared map":
        outputs["z"] = b("z", "dense", x, n=4, owner="map")
    elif how == "shared norm":
        outputs["z"] = b("z", "batchnorm", x, owner="norm")
    elif how == "borrowed norm":
        b("z", "batchnorm", x)
        b("norm", "batchnorm", "map", owner="z")
        outputs["z"] = "z"
    elif how == "something between":
        b("norm", "batchnorm", b("tanh", "tanh", "map"))
    return b.graph(**outputs)


HOW = ["read twice", "an output", "shared map", "shared norm", "borrowed norm", "something between"]


@pytest.mark.parametrize("how", HOW)
def test_batchnorm_stays_where_the_map_is_not_its_own(how: str) -> None:
    graph = spoiled(Builder(), how)
    assert FoldNorm().run(graph, None)[0] == graph


def test_a_loss_on_the_map_keeps_it() -> None:
    graph = spoiled(Builder(), "")
    kept = replace(graph, losses={"cost": "map"})
    assert FoldNorm().run(kept, None)[0] == kept
    assert "norm" not in FoldNorm().run(graph, None)[0].nodes


def test_batchnorm_folds_inside_a_recurrence() -> None:
    b = Builder()
    b("before", "delay", "h", frames=1)
    b("cell", "dense", frames(b, "x"), "before", n=4, bias=False)
    b("norm", "batchnorm", "cell")
    b("h", "tanh", "norm")
    assert "batchnorm" not in ops(assert_exact(b.graph(y="h"), FoldNorm()))


def test_single_precision_weights_stay_single() -> None:
    graph = spoiled(Builder(), "")
    weights = random_weights(graph, Facts(graph).types, 0)
    single = {name: array.astype(np.float32) for name, array in weights.items()}
    _, new = FoldNorm().run(graph, single)
    assert new is not None
    assert {array.dtype for array in new.values()} == {np.dtype(np.float32)}


# --- cmvn ---


def views(b: Builder, *names: str) -> str:
    """A cmvn of five bands and what stands behind it."""
    x = b("norm", "cmvn", frames(b, "x", 5))
    make: dict[str, Callable[[str], str]] = {
        "window": lambda x: b("window", "window", x, past=2, future=1),
        "chunk": lambda x: b("window", "window", x, past=1, future=2, in_chunk=True),
        "delay": lambda x: b("delay", "delay", x, frames=1),
        "ahead": lambda x: b("ahead", "ahead", x, frames=2),
        "stride": lambda x: b("stride", "stride", x, factor=2),
        "upsample": lambda x: b("upsample", "upsample", x, factor=2),
        "flatten": lambda x: b("flatten", "flatten", x),
    }
    for name in names:
        x = make[name](x)
    return x


CHAINS = [
    (),
    ("window",),
    ("chunk",),
    ("delay",),
    ("ahead", "window"),
    ("window", "stride"),
    ("upsample", "delay", "window", "flatten"),
    ("stride", "window", "flatten"),
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chain", CHAINS)
def test_cmvn_folds_through_views_into_a_dense(chain: tuple[str, ...], bias: bool) -> None:
    """Frames that a shift finds absent, at the edges and in gaps, read as the mean."""
    b = Builder()
    y = b("y", "dense", views(b, *chain), n=3, bias=bias)
    graph = b.graph(names={"mel": "norm", "y": y}, y=y)
    new = assert_exact(graph, FoldNorm())
    shifts = [name for name in ("window", "delay", "ahead") if name in new.nodes]
    assert "norm" not in new.nodes
    assert [n.path for n in new if n.op == "weight"] == [
        f"{n.path}.initial" for n in graph if n.path in shifts
    ]
    assert new.names == {"y": "y"}  # nothing is `mel` any more


@pytest.mark.parametrize("chain", [("window",), ("delay", "window"), ("window", "stride")])
def test_cmvn_folds_through_views_into_a_depthwise(chain: tuple[str, ...]) -> None:
    b = Builder()
    y = b("y", "depthwise", views(b, *chain), bias=False)
    assert "cmvn" not in ops(assert_exact(b.graph(y=y), FoldNorm()))


def test_cmvn_of_several_channels() -> None:
    b = Builder()
    b("norm", "cmvn", frames(b, "x", 2, 3))
    b("w", "window", "norm", past=1, future=1)
    new = assert_exact(b.graph(y=b("y", "dense", "w", n=3)), FoldNorm())
    assert new["w.initial"].attrs["dims"] == (2, 3)


def test_cmvn_folds_into_its_own_columns_only() -> None:
    """The dense of an LSTM reads the features and `h[t-1]`; here the features twice."""
    b = Builder()
    norm = b("norm", "cmvn", frames(b, "x", 5))
    lstm(b, "l", norm, 3)
    b("l.dense", "dense", norm, "l.delay", norm, n=12)
    new = assert_exact(b.graph(y="l.h"), FoldNorm())
    assert new["l.dense"].inputs == ("x", "l.delay", "x")


def test_the_front_end_of_a_recogniser() -> None:
    """log-mel, cmvn, a window, a stride, an LSTM: the cmvn is gone, the look-ahead is not."""
    graph = recurrent()
    new = assert_exact_on_audio(graph)
    assert "cmvn" not in ops(new)
    assert Facts(new).lookahead("encoder.dense") == Facts(graph).lookahead("encoder.dense")


def assert_exact_on_audio(graph: Graph) -> Graph:
    weights = random_weights(graph, Facts(graph).types, 0)
    new, changed = FoldNorm().run(graph, weights)
    assert changed is not None
    (before, after) = (
        evaluate(g, w, {"audio": noise(3000)})[g.outputs["encoder"]].data
        for g, w in ((graph, weights), (new, changed))
    )
    assert len(before) > 3
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-9)
    return new


@pytest.mark.parametrize(
    "how",
    ["convf", "read twice", "an output", "a start", "grouped", "shared", "nonlinear", "flat shift"],
)
def test_cmvn_stays_where_folding_is_not_exact(how: str) -> None:
    b = Builder()
    x = views(b, "flatten") if how == "flat shift" else views(b)
    outputs = {"y": "y"}
    if how == "convf":  # also at kernel=1: one weight for all bands, another mean for each
        b("y", "convf", x, channels=2, kernel=1)
    elif how == "a start":
        b("start", "weight", dims=(5,))
        b("y", "dense", b("w", "window", x, "start", past=1, future=0), n=2)
    elif how == "grouped":
        b("y", "dense", x, n=5, groups=5)
    elif how == "nonlinear":
        b("y", "dense", b("r", "relu", x), n=2)
    elif how == "flat shift":
        b("w", "window", views(b, "window", "flatten"), past=1, future=0)
        b("y", "dense", b("d", "delay", "flatten", frames=1), n=2)
        del b.nodes["w"]
    else:
        b("y", "dense", x, n=5)
    if how == "read twice":
        outputs["z"] = b("z", "dense", x, n=2)
    elif how == "an output":
        outputs["z"] = x
    elif how == "shared":
        outputs["z"] = b("z", "dense", "x", n=5, owner="y")
    graph = b.graph(**outputs)
    assert FoldNorm().run(graph, None)[0] == graph


def test_cmvn_in_a_branch_stays() -> None:
    """Before it a window would find frames that the branch skips."""
    b = Builder()
    x = frames(b, "x", 5)
    b("norm", "cmvn", x)
    b("y", "dense", b("w", "window", "norm", past=1, future=0), n=5)
    graph = b.graph(z=b("z", "switch", flag(b, "g"), "y", x))
    assert FoldNorm().run(graph, None)[0] == graph


# --- random networks ---


def normed(seed: int) -> Graph:
    """A random network with norms before and after some of its values."""
    graph, rng = random_network(seed), random.Random(seed)
    types, nodes = Facts(graph).types, {n.path: n for n in graph}
    for path, kind in types.items():
        fits = kind.elem == "real" and kind.dims and not any(path in c for c in graph.cycles)
        if not fits or rng.random() < 0.5:
            continue
        op = "batchnorm" if graph[path].op in ("dense", "convf", "depthwise") else "cmvn"
        nodes[f"norm.{path}"] = node(f"norm.{path}", op, path)
        for n in graph:
            if path in n.inputs:
                nodes[n.path] = _redirected(nodes[n.path], path)
    return replace(graph, nodes=nodes)


def _redirected(n: Node, path: str) -> Node:
    return replace(n, inputs=tuple(f"norm.{p}" if p == path else p for p in n.inputs))


def test_random_networks_keep_their_outputs() -> None:
    folded = 0
    for seed in range(80):
        graph = normed(seed)
        new = assert_exact(graph, FoldNorm(), seed)
        folded += sum(n.path not in new.nodes for n in graph)
    assert folded > 40


@pytest.mark.parametrize("only", ["batchnorm", "cmvn"])
def test_one_kind_alone(only: str) -> None:
    b = Builder()
    b("map", "dense", b("norm", "cmvn", frames(b, "x", 6)), n=4, bias=True, groups=1)
    folded, _ = FoldNorm(only).run(b.graph(y=b("normed", "batchnorm", "map")), None)
    other = {"batchnorm": "cmvn", "cmvn": "batchnorm"}[only]
    assert sorted(ops(folded)) == sorted(["input", "dense", other])
