"""What `substitute` puts in an operator's place, held to the operator's own reference.

A quantised model computes its values as the accelerator does. Each is computed once more by the
reference of its float operator, from the very same inputs and weights: what is left is the rounding
of one operator, in steps of its output. The utterance is one of those that ranges were taken from:
beyond them codes saturate, and the root of a norm's variance does so first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from asrc.backends.nna.codebook import snapped
from asrc.backends.nna.formats import Code, Range, choose
from asrc.backends.nna.program import LIMITS, Array
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.ports import value_name
from asrc.backends.torch.weights import load_weights
from asrc.compiler.facts import Facts
from asrc.compiler.facts.reads import timeline
from asrc.compiler.graph import Node
from asrc.compiler.placement import SUBSTITUTES
from asrc.compiler.reference import evaluate
from asrc.tests.backends.nna import models

MOST = 2.0
"""Steps: half of one for each operator of the accelerator that a float one becomes, and some."""

ATTENTION = 3.0

CASES = ("pairs", "attention", "convolutions", "planes", "ahead")


def exact(facts: Facts, numbers: Mapping[str, Array]) -> dict[str, Array]:
    """Weights as the accelerator has them, in real numbers."""
    found = {name: np.asarray(x) for name, x in numbers.items()}
    for node in facts.graph:
        if "weights" in node.attrs and node.owner is None:
            weight, scale, book = (
                numbers.get(f"{node.path}.{name}") for name in ("weight", "scale", "codebook")
            )
            assert weight is not None
            assert scale is not None
            rows = np.broadcast_to(scale, weight.shape[:1]).reshape(-1, *[1] * (weight.ndim - 1))
            found[f"{node.path}.weight"] = snapped(weight, scale, book) * rows
    return found


@cache
def computed(encoder: str) -> dict[str, Array]:
    """Every value of the encoder over an utterance, as training and the accelerator have it."""
    facts, numbers = models.quantised(encoder)
    graph = facts.graph
    mine = graph.ancestors([graph.outputs["encoder"]])
    shown = [p for p in graph.order if p in mine and timeline(facts.types[p]) is not None]
    shown = [p for p in shown if facts.types[p].taps is None and graph[p].op != "input"]
    outputs = {**graph.outputs, **{f"value.{n}": p for n, p in enumerate(shown)}}
    model = Lowered(Facts(replace(graph, outputs=outputs)))
    load_weights(model, {n: torch.from_numpy(np.array(numbers[n])) for n in model.tensors()})
    given = {n: torch.from_numpy(x)[None] for n, x in models.utterance(1).items()}
    with torch.no_grad():
        made = model.eval()(given)
    return {p: made[value_name(model.facts.graph, p)][0].numpy() for p in shown}


def again(encoder: str, node: Node) -> Array:
    """One value by the reference of its operator, all others as they were computed."""
    facts, numbers = models.quantised(encoder)
    given = {**computed(encoder), **models.utterance(1)}
    cut = facts.graph.rewrite(
        each if each is node or each.path not in given else replace(each, op="input", inputs=())
        for each in facts.graph
    )
    known = {path: x for path, x in given.items() if cut[path].op == "input"}
    values = evaluate(cut, exact(facts, numbers), known, types=facts.types)
    found = values[node.path]
    return np.where(found.present.reshape(-1, *[1] * (found.data.ndim - 1)), found.data, 0.0)


@cache
def codes(encoder: str) -> Mapping[str, Code]:
    facts, numbers = models.quantised(encoder)
    ends = {
        path: numbers[f"{path}.range"] for path in facts.graph.nodes if f"{path}.range" in numbers
    }
    return choose(facts.graph, {path: Range(*map(float, x)) for path, x in ends.items()})


def apart(encoder: str, node: Node) -> float:
    """The largest difference in steps, of what its codes can hold."""
    code = codes(encoder)[node.path]
    low, high = (code.scale * (n - code.zero) for n in LIMITS[code.dtype])
    theirs = np.clip(again(encoder, node), low, high)
    return float(np.abs(computed(encoder)[node.path] - theirs).max() / code.scale)


def substituted(encoder: str) -> list[Node]:
    """Values of the accelerator, but for those within recurrences."""
    graph = models.quantised(encoder)[0].graph
    nodes = (graph[path] for path in computed(encoder) if path in codes(encoder))
    return [n for n in nodes if n.op in SUBSTITUTES and n.path not in graph.looped]


@pytest.mark.parametrize("encoder", CASES)
def test_each_is_within_its_rounding(encoder: str) -> None:
    found = [(node, apart(encoder, node)) for node in substituted(encoder)]
    assert found
    wrong = {n.path: d for n, d in found if d > (ATTENTION if n.op == "attend" else MOST)}
    assert not wrong


def test_every_substitute_is_held_to_its_reference() -> None:
    tried = {node.op for encoder in CASES for node in substituted(encoder)}
    assert tried >= SUBSTITUTES.keys() - {"weight", "constant", "positions"}
