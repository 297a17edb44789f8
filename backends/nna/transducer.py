"""A transducer as three integer programs: encoder step, predictor step, joint.

Its host boundary: quantised features in, a row of the embedding table in, logits out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...compiler.diagnostics import AsrcError, diagnostic
from ...compiler.facts import Facts
from ...compiler.graph import Graph
from ...compiler.placement import Placement, check_numbers, place
from .formats import Code
from .lower import Lowered, lower, numbers_of
from .lowering import at_once, scheduled
from .program import Array, Tensor, quantised
from .proof import prove


@dataclass(frozen=True)
class Ends:
    """Values of a transducer's graph: what the joint reads of frames and of labels, its head."""

    frames: str
    labels: str
    head: str


@dataclass(frozen=True)
class Programs:
    """features  the value that the encoder reads, made by the host
    row       the value that the predictor reads, a row of `table`, `[labels, D]` codes
    """

    encoder: Lowered
    predictor: Lowered
    joint: Lowered
    features: str
    row: str
    table: Array
    placement: Placement


def compile_transducer(facts: Facts, ends: Ends, weights: Mapping[str, Array]) -> Programs:
    """Programs of a graph that `substitute` and `quantize` made, its ranges beside its weights.

    `weights` are by the names of the facts. Raises AsrcError E0701 for what has no place, E0703 for
    a value without a number format, E0601 where an accumulator may overflow, E0303 or E0404 where
    the model cannot be streamed.
    """
    graph = facts.graph
    placement = place(facts)
    check_numbers(graph, {*graph.nodes} - placement.host.keys())
    features = _only(placement, ends.frames)
    row = _only(placement, ends.labels)
    numbers = numbers_of(facts, weights)
    logits = _before_host(placement, ends.head)
    inside = {logits, *graph.ancestors([logits])} - graph.ancestors([ends.frames, ends.labels])
    joint = at_once({*inside, ends.frames, ends.labels})
    of_frames = scheduled(facts, facts.schedule, True)
    of_labels = scheduled(facts, facts.label_schedule)
    made = Programs(
        lower(facts, of_frames, numbers, [features], [ends.frames], "encoder"),
        lower(facts, of_labels, numbers, [row], [ends.labels], "predictor"),
        lower(facts, joint, numbers, [ends.frames, ends.labels], [logits], "joint"),
        features,
        row,
        quantised(weights[f"{_table(graph, row)}.weight"], _tensor(numbers.codes[row])),
        placement,
    )
    for lowered in (made.encoder, made.predictor, made.joint):
        prove(lowered.program)
    return made


def front_end(graph: Graph, features: str) -> Graph:
    """What the host makes of audio."""
    return replace(graph, outputs={"features": features}, losses={}, budgets=())


def _only(placement: Placement, end: str) -> str:
    into = placement.needs(end)
    if len(into) != 1:
        message = f"`{end}` is made of {len(into)} values of the host, it must be one"
        raise AsrcError(diagnostic("E0701", message, placement.graph[end].span))
    return into[0]


def _before_host(placement: Placement, head: str) -> str:
    """The accelerator's last value on the way to a head."""
    while head in placement.host:
        (head,) = placement.graph[head].inputs
    return head


def _table(graph: Graph, row: str) -> str:
    """Whose table an embedding is: applications of one instance share it."""
    return graph[row].owner or row


def _tensor(code: Code) -> Tensor:
    return Tensor("", (), code.dtype, code.scale, code.zero)


def codes_of(features: Array, lowered: Lowered, path: str) -> Array:
    """Quantised frames `[n, D]` of an input, as `[1, n, 1, D]`."""
    tensor = lowered.program.tensors[path]
    return quantised(np.asarray(features)[None, :, None], tensor)
