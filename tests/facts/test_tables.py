"""Every operator has its row in every table of facts; the design study's figures hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from fractions import Fraction

import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts, macs, params, reads, shape
from asrc.compiler.graph import Graph
from asrc.compiler.ops import OPS, VIEWS
from asrc.compiler.types import Stream, Type
from asrc.tests.builders import Builder, conformer, ms

TABLES: dict[str, Collection[str]] = {
    "shape": shape.RULES,
    "params": params.RULES,
    "macs": macs.RULES,
    "reads": {*reads.RULES, *(name for name, op in OPS.items() if op.framewise)},
}


@pytest.mark.parametrize("table", TABLES)
def test_every_operator_has_a_row(table: str) -> None:
    assert sorted(OPS.keys() - TABLES[table]) == [], "operators without a row"
    assert sorted(TABLES[table] - OPS.keys()) == [], "rows without an operator"


def test_only_operators_that_read_other_frames_have_reads() -> None:
    assert [name for name in reads.RULES if OPS[name].framewise] == []


def test_a_slice_is_one_of_its_parts() -> None:
    b = Builder()
    b("x", "input", type=Type((4,), Stream(Fraction(1, 100))))
    graph = b.graph(out=b("y", "slice", "x", parts=2, index=2))
    with pytest.raises(AsrcError, match=r"E0207.*no part 2 of 2"):
        _ = Facts(graph).types


def test_views_exist() -> None:
    assert VIEWS <= OPS.keys()


# --- the Conformer of the design study: 12 layers, chunks of 320ms, 2560ms to the left ---


def streaming(future: int = 0, *, in_chunk: bool = False) -> Graph:
    """`future` right frames in each of the 12 convolutions."""
    graph = conformer(12, future, in_chunk=in_chunk)
    mask = {"mask": "chunk", "chunk": ms(320), "left": ms(2560)}
    clip = {"chunk": ms(320)} if in_chunk else {}
    changed = {"attend": mask, "window": clip}
    nodes = (replace(n, attrs={**n.attrs, **changed.get(n.op, {})}) for n in graph)
    return graph.rewrite(nodes)


@pytest.mark.parametrize(("future", "expected"), [(0, 295), (1, 3855), (7, 4095)])
def test_conformer_lookahead(future: int, expected: int) -> None:
    graph = streaming(future)
    assert Facts(graph).lookahead(graph.outputs["encoder"]) == Fraction(expected, 1000)


def test_conformer_windows_that_stop_at_the_chunk_edge() -> None:
    graph = streaming(7, in_chunk=True)
    assert Facts(graph).lookahead(graph.outputs["encoder"]) == Fraction(295, 1000)


def test_conformer_contributors() -> None:
    graph = streaming(7)
    found = Facts(graph).contributors(graph.outputs["encoder"])
    totals: dict[str, Fraction] = {}
    for entry in found:
        op = graph[entry.path].op
        totals[op] = totals.get(op, Fraction(0)) + (entry.seconds or 0)
    assert sum(totals.values()) == Fraction(4095, 1000)
    assert totals["logmel"] == Fraction(15, 1000)


def test_conformer_state() -> None:
    """Keys and values, depthwise windows, convolutions, the log-mel window's overlap."""
    graph = streaming()
    facts = Facts(graph)
    values = {}
    for entry in facts.held_frame:
        kind = entry.path.rpartition(".")[2]
        values[kind] = values.get(kind, 0) + (entry.values or 0)
    assert values["k"] + values["v"] == 393_216
    assert values["u"] == 43_008
    assert values["mel"] + values["relu"] == 5_280
    assert values["audio"] == 240
    assert sum(values.values()) == 441_744
    assert facts.held_bits(graph.nodes, step=False) == 441_744 * 32


def test_conformer_parameters() -> None:
    assert Facts(streaming()).param_count(streaming().nodes) == 19_381_184


def test_offline_attention_has_no_bound() -> None:
    graph = conformer()
    assert Facts(graph).lookahead(graph.outputs["encoder"]) is None
