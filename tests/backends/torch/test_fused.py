"""Standard blocks run on PyTorch's fused operators, in every model of the zoo.

A block that is no longer recognised computes the same, only slowly: no other test would see it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from asrc.backends.torch import loops
from asrc.backends.torch.examples import Length, random_inputs
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered, PartModule
from asrc.backends.torch.stepmodule import StepModule
from asrc.compiler.graph import Graph, Node
from asrc.tests.backends.torch.zoo import SMALL, cases, facts, streams

SCANNED = {
    "small/amnets.asr": 4,
    "small/bifocal.asr": 8,
    "commands/convrnnt.asr": 4,
}
"""Recurrences that no fused operator computes: LSTMs between whose branches a flag chooses, and
means that decay, in integers."""

SHORT = {"small/fusion_multiview.asr": 4}
"""Fused LSTMs over so few bands that they run band by band."""

CONVOLUTIONS = frozenset({"dense", "convf", "depthwise"})


class Calls(TorchFunctionMode):
    """Counts what is called of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[object] = Counter()

    def __torch_function__(
        self,
        function: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        self.counts[function] += 1
        return function(*args, **(kwargs or {}))


def calls(lowered: Lowered) -> Counter[object]:
    """Of one run over a whole utterance, long enough for every operator."""
    initialise(lowered, seed=1)
    given = random_inputs(lowered.facts, [Length(Fraction(2), 7)] * 2, 3)
    with torch.no_grad(), Calls() as counted:
        lowered.eval()(given)
    return counted.counts


def scans(parts: Iterable[PartModule | StepModule]) -> int:
    return sum(len(part.scanned) for part in parts)


def lstms(graph: Graph) -> int:
    """By what only they have: two sigmoids, two tanhs and a third sigmoid in one recurrence."""
    groups = [Counter(graph[p].op for p in group) for group in graph.waves if len(group) > 1]
    return sum(ops["sigmoid"] == 3 and ops["tanh"] == 2 for ops in groups)


def attentions(graph: Graph) -> int:
    return sum(node.op == "attend" for node in graph)


def over_time(graph: Graph) -> int:
    """Convolutions that alone read a window of frames, not cut at the edges of chunks."""
    return sum(is_over_time(graph, node) for node in graph)


def is_over_time(graph: Graph, node: Node) -> bool:
    source = graph[node.inputs[0]] if node.inputs else node
    whole = source.op == "window" and not (source.attrs["in_chunk"] and source.attrs["chunk"])
    return node.op in CONVOLUTIONS and whole and graph.readers[source.path] == (node.path,)


def windows(lowered: Lowered) -> int:
    """Convolutions that are given a window to run over."""
    nodes = (node for part in lowered.parts.values() for node in part.module.graph.nodes)
    return sum("window" in node.kwargs for node in nodes)


@pytest.mark.parametrize(("name", "pipeline"), cases(SMALL))
def test_recurrences_are_scanned_only_where_they_must_be(name: str, pipeline: str) -> None:
    """In whole utterances and in steps; all other LSTMs are fused."""
    lowered, wanted = Lowered(facts(name, pipeline)), SCANNED.get(name, 0)
    assert scans(lowered.parts.values()) == wanted
    if streams(lowered.facts):
        parts = [part for part in ("frames", "labels") if part in lowered.parts]
        assert scans(lowered.step(part) for part in parts) == wanted
    if pipeline != "nna":
        fused = sum(len(part.fused) for part in lowered.parts.values())
        assert fused == lstms(lowered.facts.graph) - wanted


@pytest.mark.parametrize(("name", "pipeline"), cases(SMALL))
def test_standard_blocks_are_fused(name: str, pipeline: str) -> None:
    """Integers apart, which are computed by our own operators. A fused LSTM of few steps, over
    bands, runs step by step."""
    if pipeline == "nna":
        pytest.skip("integers have operators of our own")
    lowered = Lowered(facts(name, pipeline))
    called, graph = calls(lowered), lowered.facts.graph
    fused = sum(len(part.fused) for part in lowered.parts.values())
    assert called[functional.scaled_dot_product_attention] == attentions(graph)
    assert windows(lowered) == over_time(graph)
    assert called[torch.conv2d] >= over_time(graph)
    assert called[torch._VF.lstm] == fused - SHORT.get(name, 0)


def test_a_lost_match_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "match_lstm", lambda *_: None)
    lowered = Lowered(facts("small/rnnt.asr", ""))
    assert scans(lowered.parts.values()) == lstms(lowered.facts.graph) == 8
