"""Facts for machines: plain dictionaries, as `--json` prints them.

Times are in milliseconds, sizes in bits; a figure without bound is `null`.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from .facts import Cost, Facts, Held
from .report import Bound, Figures, HeldRow, LayerRow, Tensor, net_rows, total, waits
from .types import Type, frame_period

Json = dict[str, Any]


def model_json(facts: Facts) -> Json:
    """Nets and total: the summary of a graph."""
    return {
        "nets": {row.entry.path: row_json(row) for row in net_rows(facts)},
        "total": figures_json(total(facts)),
        "step_ms": _millis(facts.step_seconds),
    }


def row_json(row: LayerRow) -> Json:
    entry = row.entry
    return {
        "path": entry.path,
        "kind": entry.kind,
        "copies": entry.copies,
        "level": entry.level,
        "types": [type_json(kind) for kind in row.types],
        **figures_json(row.figures),
    }


def figures_json(found: Figures) -> Json:
    low, high = found.lookahead or (Fraction(0), Fraction(0))
    return {
        "lookahead_ms": _millis(high),
        "lookahead_least_ms": _millis(low),
        "parameters": found.params,
        "state_frame_bits": _number(found.frame),
        "state_step_bits": _number(found.step),
        "macs": cost_json(found.cost.worst),
        "macs_least": cost_json(found.cost.best),
    }


def cost_json(cost: Cost) -> Json:
    return {
        "second": _number(cost.second),
        "label": _number(cost.label),
        "joint": _number(cost.joint),
        "utterance": _number(cost.utterance),
        "unbounded": cost.unbounded,
    }


def type_json(kind: Type) -> Json:
    return {
        "text": str(kind),
        "dims": list(kind.dims),
        "taps": kind.taps,
        "element": kind.elem,
        "vocab": kind.vocab,
        "clock": str(kind.clock),
        "period_ms": _millis(frame_period(kind.clock)),
    }


def held_json(row: HeldRow) -> Json:
    return {
        "figure": row.figure,
        "path": row.path,
        "kind": row.kind,
        "type": type_json(row.type),
        "format": row.format,
        "frames": row.frames,
        "bits": row.bits,
        "readers": list(row.readers),
    }


def tensor_json(tensor: Tensor) -> Json:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "format": tensor.format,
        "learned": tensor.learned,
    }


def waits_json(facts: Facts, path: str) -> list[Json]:
    """What the look-ahead of a value is made of."""
    bounded = facts.lookahead(path) is not None
    return [
        {
            "paths": [node.path for node in row.nodes],
            "reason": row.what,
            "lookahead_ms": _millis(row.amount if bounded else None),
        }
        for row in waits(facts, path)
    ]


def values_json(facts: Facts) -> list[Json]:
    """Every fact of every value, in program order."""
    frame, step = _by_path(facts.held_frame), _by_path(facts.held_step)
    return [
        _value_json(facts, path)
        | {"held_frame": frame.get(path, []), "held_step": step.get(path, [])}
        for path in facts.graph.nodes
    ]


def _by_path(held: Iterable[Held]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for item in held:
        entry = {"kind": item.kind, "frames": item.frames, "values": item.values}
        found.setdefault(item.path, []).append(entry | {"readers": list(item.readers)})
    return found


def _value_json(facts: Facts, path: str) -> Json:
    node = facts.graph[path]
    cost = facts.macs.get(path)
    return {
        "path": path,
        "op": node.op,
        "inputs": list(node.inputs),
        "type": type_json(facts.types[path]),
        "format": str(facts.formats[path]),
        "lookahead_ms": _millis(facts.lookahead(path)),
        "demanded": list(facts.demand[path]),
        "parameters": {name: list(shape) for name, shape in facts.params.get(path, {}).items()},
        "shares_parameters_of": node.owner,
        "cached": facts.cached.get(path),
        "macs": None if cost is None else cost_json(cost),
        "line": None if node.span is None else node.span.line,
    }


def _millis(value: Bound) -> int | float | None:
    return None if value is None else _number(value * 1000)


def _number(value: Bound) -> int | float | None:
    """Whole numbers as such."""
    if value is None:
        return None
    return value.numerator if value.denominator == 1 else float(value)
