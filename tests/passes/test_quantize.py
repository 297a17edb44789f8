"""`quantize` and `substitute`: what gets which format, and who computes it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.compiler.facts.params import buffers
from asrc.compiler.graph import Graph
from asrc.compiler.irread import parse_graph
from asrc.compiler.irtext import print_graph
from asrc.compiler.manager import run_pipeline
from asrc.compiler.placement import HOST, check_numbers
from asrc.compiler.report import tensors
from asrc.dsl.pipelines import parse_pass_text
from asrc.passes.quantize import Quantize
from asrc.passes.substitute import Substitute
from asrc.tests.backends.nna.models import facts


def after(*passes: Quantize | Substitute, encoder: str = "planes") -> Graph:
    graph = facts(encoder).graph
    for one in passes:
        graph, _ = one.run(graph, None)
    return graph


def numbers(graph: Graph) -> dict[str, str]:
    return {n.path: str(n.attrs["number"]) for n in graph if "number" in n.attrs}


def test_what_the_accelerator_computes_and_reads_gets_a_format() -> None:
    graph = after(Substitute(), Quantize())
    mine = {node.path for node in graph if node.attrs.get("on") == "nna"}
    assert mine == {node.path for node in graph if node.op not in HOST}
    read = {path for one in mine for path in graph[one].inputs}
    assert numbers(graph).keys() == mine | read
    check_numbers(graph, mine)


def test_cells_are_wide() -> None:
    found = numbers(after(Quantize()))
    wide = {path for path, number in found.items() if number == "int16"}
    cells = {path for path in wide if path.endswith((".c", ".c.delay"))}
    assert len(cells) == 4  # of the encoder and of the predictor, each with its shift
    assert all(".c" in path or ".mul" in path for path in wide)


def test_a_later_call_counts_and_a_part_alone() -> None:
    graph = after(Quantize(weights=5), Quantize("joint", weights=3))
    bits = {node.path: node.attrs.get("weights") for node in graph if node.op == "dense"}
    assert {b for path, b in bits.items() if path.startswith("joint")} == {3}
    assert {b for path, b in bits.items() if not path.startswith("joint")} == {5}
    alone = after(Quantize("joint"))
    assert all(path.startswith(("joint", "encoder", "predictor")) for path in numbers(alone))
    assert {p for p in numbers(alone) if not p.startswith("joint")} == {
        *(p for p in alone.outputs.values() if not p.startswith("joint"))
    }


@pytest.mark.parametrize(
    "passes",
    [
        [Quantize()],
        [Quantize(weights=5, coded=Fraction(4), per="tensor", scales="learned")],
        [Quantize(weights=4, activations=False)],
        [Quantize(weights=4), Quantize("encoder", weights=3, scales="learned")],
        [Quantize("joint")],
    ],
)
@pytest.mark.parametrize("encoder", ["pairs", "convolutions"])
def test_a_norm_that_becomes_a_filter_keeps_its_notes(encoder: str, passes: list[Quantize]) -> None:
    """`quantize` and `substitute` in either order give one graph."""
    one = after(*passes, Substitute(), encoder=encoder)
    other = after(Substitute(), *passes, encoder=encoder)
    assert any(path.endswith(".batchnorm.frame") for path in one.nodes)
    assert one.nodes == other.nodes
    assert print_graph(one) == print_graph(other)


def test_bits_of_a_norm_are_for_its_filter() -> None:
    """Until then it is a norm in float: it has no scale, and its parameters their size."""
    before, graph = Facts(after(encoder="pairs")), after(Quantize(weights=4), encoder="pairs")
    (norm,) = (node for node in graph if node.op == "batchnorm")
    assert norm.attrs["weights"] == 4
    assert buffers(norm, Facts(graph).types[norm.path]).keys() == {"mean", "variance", "range"}
    assert Facts(graph).weight_bits([norm.path]) == before.weight_bits([norm.path])


def test_weights_alone() -> None:
    graph = after(Quantize(weights=4, activations=False))
    assert not numbers(graph)
    assert any(node.attrs.get("weights") == 4 for node in graph)


def test_facts_shrink() -> None:
    before, graph = Facts(after()), after(Substitute(), Quantize(weights=4))
    found = Facts(graph)
    every = graph.nodes
    assert found.param_count(every) == before.param_count(every)
    assert found.weight_bits(every) < before.weight_bits(every) / 6
    wide, narrow = (f.held_bits(every.keys() - {"audio"}, step=True) for f in (before, found))
    assert wide is not None
    assert narrow is not None
    assert narrow < wide / 3
    formats = {tensor.name: tensor.format for tensor in tensors(found)}
    (dense,) = (n for n in graph if n.path == "joint.out.dense")
    assert formats[f"{dense.path}.weight"] == "codebook4"
    assert formats[f"{dense.path}.bias"] == "int32"
    assert buffers(dense, found.types[dense.path])["codebook"] == (16,)


def test_the_text_has_every_note() -> None:
    graph = after(Substitute(), Quantize(weights=5))
    text = print_graph(graph)
    assert "on=nna number=int8 weights=5" in text
    again = parse_graph(text, "a")
    assert again.nodes == graph.nodes
    with pytest.raises(AsrcError, match="number"):
        parse_graph(text.replace("number=int8", "number=int9"), "a")


def test_a_limit_for_the_coded_stream() -> None:
    graph = after(Substitute(), Quantize(weights=5, coded=Fraction(7, 2)))
    text = print_graph(graph)
    assert "weights=5 coded=3.5" in text
    assert parse_graph(text, "a").nodes == graph.nodes
    assert "coded" not in print_graph(after(Substitute(), Quantize(weights=5)))


def test_of_less_than_a_bit() -> None:
    """Three values in place of two, unless the stream is to have a bit; codes and cells' ends."""
    one, two = (after(Substitute(), Quantize(weights=1, coded=c)) for c in (None, Fraction(1)))
    assert "weights=2 coded=1 " in print_graph(one)
    assert one.nodes == after(Substitute(), Quantize(weights=2, coded=Fraction(1))).nodes
    books = [
        buffers(dense, Facts(graph).types[dense.path])["codebook"]
        for graph in (one, two)
        for dense in graph
        if dense.path == "joint.out.dense"
    ]
    assert books == [(2, 4), (2,)]
    assert parse_graph(print_graph(one), "a").nodes == one.nodes
    calls = parse_pass_text("substitute(), quantize(weights=2, coded=1)", "a")
    written = run_pipeline(facts("planes").graph, calls)
    assert written.graph.nodes == one.nodes
    (dense,) = (n for n in written.graph if n.path == "joint.out.dense")
    assert isinstance(dense.attrs["coded"], Fraction)


def test_what_is_refused() -> None:
    for wrong in (
        {"weights": 9},
        {"weights": 4, "coded": 5},
        {"coded": 4},
        {"weights": 4, "coded": Fraction(2, 5)},
    ):
        with pytest.raises(AsrcError) as error:
            Quantize(**wrong)
        assert error.value.diagnostics[0].code == "E0805"
    with pytest.raises(AsrcError) as error:
        after(Quantize("encoder.x.logmel"))
    assert error.value.diagnostics[0].code == "E0803"
    with pytest.raises(AsrcError) as error:
        check_numbers(after(Substitute()), {"joint.out.dense"})
    assert {d.code for d in error.value.diagnostics} == {"E0703"}
    assert "quantize()" in error.value.diagnostics[0].help[0]
