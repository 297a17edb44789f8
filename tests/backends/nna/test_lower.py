"""Whole models as programs: exact against LiteRT, near the float model, states as meant."""

from __future__ import annotations

import numpy as np
import pytest

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.litert import LiteRt
from asrc.backends.nna.lower import Lowered
from asrc.backends.nna.lowering import runs
from asrc.backends.nna.program import LIMITS, Array, quantised, real
from asrc.backends.nna.recipes import RECIPES
from asrc.backends.nna.rows import ROWS
from asrc.compiler.placement import SUBSTITUTES
from asrc.compiler.reference import evaluate
from asrc.tests.backends.nna.models import ENCODERS, ends, facts, programs, utterance, weights


def random_inputs(lowered: Lowered, chance: np.random.Generator) -> dict[str, Array]:
    program, found = lowered.program, {}
    for name in program.inputs:
        tensor = program.tensors[name]
        if name in lowered.flags:
            found[name] = lowered.flag(name, chance.integers(0, 2, tensor.shape).ravel() > 0)
        elif name not in program.states:
            low, high = LIMITS[tensor.dtype]
            found[name] = chance.integers(low, high + 1, tensor.shape).astype(tensor.dtype)
    return found


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("part", ["encoder", "predictor", "joint"])
def test_steps_and_states_are_those_of_litert(encoder: str, part: str) -> None:
    """Random codes, which saturate far more often than speech does."""
    lowered: Lowered = getattr(programs(encoder), part)
    ours, theirs = Executor(lowered.program), LiteRt(lowered.program)
    chance = np.random.default_rng(1)
    for _ in range(40):
        given = random_inputs(lowered, chance)
        made, wanted = ours.step(given), theirs.step(given)
        assert made.keys() == wanted.keys()
        assert all(np.array_equal(made[name], wanted[name]) for name in made)
        assert all(np.array_equal(ours.states[s], theirs.states[s]) for s in ours.states)


def stream(lowered: Lowered, path: str, features: Array, length: int) -> Array:
    """The frames of the output, as real numbers, of features `[n, D]` that make `length` frames."""
    program, found = Executor(lowered.program), []
    ((output, made),) = lowered.made.items()
    tensor, step = lowered.program.tensors[path], 0
    while len(found) < length:
        rows = [frame + step * lowered.count[path] for frame in lowered.frames[path]]
        zero = np.zeros(features.shape[1])
        frames = [features[row] if 0 <= row < len(features) else zero for row in rows]
        given = {path: quantised(np.stack(frames)[None, :, None], tensor)}
        for flag in lowered.flags:
            places = [frame + step * lowered.count[flag] for frame in lowered.frames[flag]]
            per = lowered.count[path] / lowered.count[flag]
            there = [0 <= place < int(len(features) / per) for place in places]
            given[flag] = lowered.flag(flag, there)
        codes = program.step(given)[made][0, :, 0]
        for row, frame in zip(codes, lowered.frames[output], strict=True):
            if 0 <= frame + step * lowered.count[output] < length:
                found.append(real(row, lowered.program.tensors[made]))
        step += 1
    return np.stack(found)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_encoder_is_near_the_float_one(encoder: str) -> None:
    """Every frame, the first and the last too, where windows reach over the ends."""
    found, made = facts(encoder), programs(encoder)
    values = evaluate(found.graph, weights(encoder), utterance(9), types=found.types)
    output = ends(found).frames
    wanted = values[output].data[values[output].present]
    features = values[made.features].data[values[made.features].present]
    got = stream(made.encoder, made.features, features, len(wanted))
    error = ((got - wanted) ** 2).sum(1) / (wanted**2).mean(0).sum()
    assert got.shape == wanted.shape
    assert error.max() < 0.05
    assert error.mean() < 0.02


def test_the_predictor_is_near_the_float_one() -> None:
    found, made = facts("lstm"), programs("lstm")
    values = evaluate(found.graph, weights("lstm"), utterance(9), types=found.types)
    wanted = values[ends(found).labels].data
    program = Executor(made.predictor.program)
    for label, row in zip(utterance(9)["prev"], wanted, strict=True):
        codes = program.step({made.row: made.table[label][None, None, None]})[ends(found).labels]
        got = real(codes, made.predictor.program.tensors[ends(found).labels]).reshape(-1)
        assert ((got - row) ** 2).mean() < 0.02 * (wanted**2).mean()


def test_states_are_few() -> None:
    """Bytes of state are those of the facts: int8, and int16 for the cell."""
    found, made = facts("planes"), programs("planes")
    held = sum(entry.values or 0 for entry in found.held_step if entry.path != "audio")
    cells = 16 + 16  # of the encoder and of the predictor, two bytes each
    kept = sum(getattr(made, part).program.figures()["state"] for part in ("encoder", "predictor"))
    assert kept == held + cells


@pytest.mark.parametrize(
    ("places", "wanted"),
    [
        ([0, 1, 2], [(0, 3, 1)]),
        ([1, 3, 5, 6], [(1, 3, 2), (6, 1, 1)]),
        ([4], [(4, 1, 1)]),
        ([0, 2, 3, 4], [(0, 2, 2), (3, 2, 1)]),
    ],
)
def test_runs(places: list[int], wanted: list[tuple[int, int, int]]) -> None:
    assert runs(places) == wanted
    assert [p for first, n, by in wanted for p in range(first, first + n * by, by)] == places


def test_every_substitute_has_a_row() -> None:
    """What `substitute` takes has a row; who reads a flattened value flattens it."""
    assert ROWS.keys() == SUBSTITUTES.keys() - {"flatten"}
    assert {kind for kinds in SUBSTITUTES.values() for kind in kinds} <= RECIPES.keys()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_values_are_made_by_the_operators_that_the_table_says(encoder: str) -> None:
    """The operator whose output has a value's own name."""
    graph, program = facts(encoder).graph, programs(encoder).encoder.program
    made = {op.output: op.kind for op in program.ops if op.output in graph.nodes}
    assert len(made) >= 3
    for path, kind in made.items():
        assert kind in SUBSTITUTES.get(graph[path].op, ("depthwise",)), path  # a batch norm
