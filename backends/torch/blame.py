"""Where a broken contract begins: the first value whose stream differs from its whole utterance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import repeat

import torch

from ...compiler.facts import Facts
from ...compiler.facts.reads import timeline
from ...compiler.types import Lattice, base_clock
from .lowered import Lowered, lower
from .ports import value_name
from .trial import Differences, Received, Trial, streamed, utterance


def first_difference(trial: Trial) -> str | None:
    """The path of the first value, in program order, of which a stream makes something else.

    Inner values are made outputs of a model with the same weights: all of them, or only the named
    ones where that hides the fault. `None` where both do.
    """
    graph = trial.lowered.facts.graph
    for paths in (graph.nodes, graph.names.values()):
        shown = Trial(_showing(trial.lowered, paths), trial.lengths, trial.seed)
        found = {name for part in shown.parts for name in _differing(shown, part)}
        names = {path: value_name(shown.lowered.facts.graph, path) for path in graph.order}
        first = next((path for path, name in names.items() if name in found), None)
        if first is not None:
            return first
    return None


def _showing(lowered: Lowered, paths: Iterable[str]) -> Lowered:
    """The same model with more outputs and the same weights."""
    graph, types = lowered.facts.graph, lowered.facts.types
    known = {*graph.outputs.values()}
    more = {
        path: path
        for path in paths
        if path not in known
        and timeline(types[path]) is not None
        and not isinstance(base_clock(types[path].clock), Lattice)
    }
    shown = lower(Facts(replace(graph, outputs={**graph.outputs, **more}, losses={})))
    shown.to(lowered.like).eval()
    tensors = lowered.tensors()
    with torch.no_grad():
        for name, tensor in shown.tensors().items():
            tensor.copy_(tensors[name])
    return shown


def _differing(trial: Trial, part: str) -> set[str]:
    """The names of a part's outputs that differ, pushed at once or in small pieces."""
    runs = [streamed(trial, part, repeat(size)) for size in (1 << 40, 499)]
    return {name for run in runs for name in run.rows if _differs(trial, run, name)}


def _differs(trial: Trial, run: Received, name: str) -> bool:
    gaps = Differences("", trial.limit)
    for row in range(len(trial.lengths)):
        gaps.add(name, run.whole(name, row), utterance(trial.values, name, row), "")
    return bool(gaps.words)
