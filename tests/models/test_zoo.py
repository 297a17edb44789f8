"""Every model of the zoo: it checks, and its figures are goldens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import asrc
from asrc.compiler.facts import Cost, Facts
from asrc.compiler.irread import parse_graph
from asrc.compiler.irtext import print_graph
from asrc.compiler.units import format_time
from asrc.dsl.check import Model, check_model, read_model
from asrc.dsl.format import format_source
from asrc.dsl.load import load_source

MODELS = Path(asrc.__file__).parent / "models"
ZOO = sorted(p.relative_to(MODELS).as_posix() for p in MODELS.glob("*.asr"))
ZOO += sorted(p.relative_to(MODELS).as_posix() for p in MODELS.glob("small/*.asr"))
ZOO += sorted(p.relative_to(MODELS).as_posix() for p in MODELS.glob("commands/*.asr"))
ZOO += sorted(p.relative_to(MODELS).as_posix() for p in MODELS.glob("talkie/*.asr"))
LIBRARY = sorted(p.relative_to(MODELS).as_posix() for p in MODELS.glob("std/*.asr"))


def load(name: str) -> Model:
    path = MODELS / name
    return check_model(read_model(load_source(path), {}, path.parent))


@pytest.mark.parametrize("name", ZOO)
def test_checks_without_a_word_and_its_figures_stay(name: str, golden) -> None:  # type: ignore[no-untyped-def]
    model = load(name)
    assert [str(d) for d in model.diagnostics] == []
    assert model.graph is not None
    lines = list(figures("no pipeline", Facts(model.graph)))
    for pipeline, result in model.results.items():
        lines += figures(pipeline, result.facts)
    golden(f"zoo/{name.removesuffix('.asr')}.txt", "\n".join(lines) + "\n")


def figures(title: str, facts: Facts) -> Iterator[str]:
    """Exact figures: some lines for each output of each net."""
    yield f"## {title}"
    step = facts.held_bits(facts.graph.nodes, step=True)
    yield f"step of {format_time(facts.step_seconds)}" if step is not None else "no bounded step"
    yield f"parameters {facts.param_count(facts.graph.nodes)}"
    for name, path in facts.graph.outputs.items():
        inside = [p for p in facts.graph.nodes if p.startswith(name.partition(".")[0] + ".")]
        yield f"{name}: {facts.types[path]}"
        yield f"  look-ahead {_time(facts, path)}"
        yield f"  parameters {facts.param_count(inside)}"
        yield f"  state(frame) {_bits(facts, path, False)}, state(step) {_bits(facts, path, True)}"
        yield f"  MACs {_cost(facts.cost(inside).best)}"
        if facts.branches:
            yield f"    to {_cost(facts.cost(inside).worst)}"


def _time(facts: Facts, path: str) -> str:
    best, worst = facts.lookahead(path, best=True), facts.lookahead(path)
    texts = ["unbounded" if t is None else format_time(t) for t in (best, worst)]
    return texts[1] if texts[0] == texts[1] else " to ".join(texts)


def _bits(facts: Facts, path: str, step: bool) -> str:
    bits = facts.held_bits(facts.graph.ancestors([path]), step=step)
    return "grows" if bits is None else f"{bits / 8} B"


def _cost(cost: Cost) -> str:
    amounts = {
        "/s": cost.second,
        "/label": cost.label,
        "/joint": cost.joint,
        "/utterance": cost.utterance,
    }
    parts = [f"{value}{unit}" for unit, value in amounts.items() if value]
    return " + ".join([*parts, *(["grows"] if cost.unbounded else [])]) or "0"


@pytest.mark.parametrize("name", ZOO)
def test_ir_round_trips(name: str) -> None:
    model = load(name)
    assert model.graph is not None
    for graph in [model.graph, *(result.graph for result in model.results.values())]:
        assert parse_graph(print_graph(graph, Facts(graph).types)) == graph


@pytest.mark.parametrize("name", [*ZOO, *LIBRARY])
def test_is_formatted(name: str) -> None:
    source = load_source(MODELS / name)
    assert format_source(source) == source.text


def test_every_published_model_has_a_small_one() -> None:
    published = {n for n in ZOO if "/" not in n} - {"conformer_large.asr"}
    assert {f"small/{n}" for n in published} == {n for n in ZOO if n.startswith("small/")}
