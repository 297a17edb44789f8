"""The reference evaluator's recurrences against explicit loops, and against the inferred reads."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.compiler.graph import Graph
from asrc.compiler.reference import Value, evaluate, random_weights
from asrc.compiler.types import Label, Static, base_clock
from asrc.tests.builders import Builder, conformer, lstm, recurrent
from asrc.tests.compiler.evaluation import (
    CHARS,
    Array,
    Result,
    flag,
    frames,
    noise,
    run,
    sigmoid,
    tokens,
)
from asrc.tests.facts.networks import random_network

WIDTH = 3


def lstm_by_hand(found: Result, path: str, xs: Iterable[Array]) -> list[Array]:
    """`h` after each frame; gates in the order i f o g, as `lstm` of the builders has them."""
    weight, bias = found.weights[f"{path}.dense.weight"], found.weights[f"{path}.dense.bias"]
    h, c, hs = np.zeros(WIDTH), np.zeros(WIDTH), []
    for x in xs:
        i, f, o, g = np.split(weight @ np.concatenate([x, h]) + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        hs.append(h)
    return hs


def test_lstm_over_frames() -> None:
    b = Builder()
    lstm(b, "l", frames(b, "x"), WIDTH)
    found = run(b, x=noise(7, 4))
    np.testing.assert_allclose(found["l.h"], lstm_by_hand(found, "l", noise(7, 4)))


def test_stacked_lstms_over_labels() -> None:
    b = Builder()
    b("e", "embed", tokens(b, "prev"), n=4)
    lstm(b, "two", lstm(b, "one", "e", WIDTH), WIDTH)
    found = run(b, prev=[3, 1, 4, 1])
    first = lstm_by_hand(found, "one", found["e"])
    np.testing.assert_allclose(found["two.h"], lstm_by_hand(found, "two", first))


def test_padding_and_gaps_start_a_recurrence_anew() -> None:
    b = Builder()
    lstm(b, "l", frames(b, "x"), WIDTH)
    there = [True, True, False, True, True, False]
    data = np.where(np.array(there)[:, None], noise(6, 4), math.nan)
    found = run(b, x=(data, there))
    wanted = lstm_by_hand(found, "l", data[:2]) + lstm_by_hand(found, "l", data[3:5])
    np.testing.assert_allclose(found["l.h"][there], wanted)
    assert all(found.present(path) == there for path in b.nodes)


def test_an_empty_utterance() -> None:
    b = Builder()
    lstm(b, "l", frames(b, "x"), WIDTH)
    assert run(b, x=noise(0, 4))["l.h"].shape == (0, WIDTH)


def test_longer_delays_and_windows_of_the_past_close_cycles() -> None:
    b = Builder()
    x = frames(b, "x", 1)
    b("start", "constant", value=10)
    b("d", "delay", "y", "start", frames=3)
    b("w", "window", "y", past=3, future=-2)
    b("s", "depthwise", "w", bias=False)
    b("z", "add", "d", "s")
    b("y", "add", x, "z")
    found = run(b, x=np.arange(8.0))
    weight, y = found.weights["s.weight"][0], []
    for t in range(8):
        past = [y[t - k] if t >= k else 0.0 for k in (3, 2)]
        y.append(t + (y[t - 3] if t >= 3 else 10) + float(weight @ past))
    np.testing.assert_allclose(found["y"][:, 0], y)


def test_bilstm_over_the_characters_of_phrases() -> None:
    """Each phrase on its own; the backward one starts at the last character that is there."""
    b = Builder()
    x = frames(b, "x", 4, clock=CHARS)
    lstm(b, "f", x, WIDTH)
    lstm(b, "r", x, WIDTH)
    for name in ("delay", "delay_2"):
        node = b.nodes[f"r.{name}"]
        b(node.path, "ahead", *node.inputs, frames=1)
    b("y", "concat", "f.h", "r.h")
    lengths = [4, 0, 2]
    data = noise(3, 5, 4)
    for row, length in zip(data, lengths, strict=True):
        row[length:] = math.nan
    found = run(b, x=(data, lengths))
    for p, length in enumerate(lengths):
        chars = data[p, :length]
        forward = lstm_by_hand(found, "f", chars)
        backward = lstm_by_hand(found, "r", chars[::-1])[::-1]
        wanted = [np.concatenate(pair) for pair in zip(forward, backward, strict=True)]
        np.testing.assert_allclose(found["y"][p, :length], np.reshape(wanted, (length, 6)))
    assert np.sum(found.present("y"), 1).tolist() == lengths


def test_a_recurrence_over_bands_inside_one_over_frames() -> None:
    """h[t] runs along the bands of a frame, and starts from what the last frame ended with."""
    b = Builder()
    b("u", "unfold", frames(b, "x", 6), axis="f", size=2, step=2)
    b("before", "delay", "end", frames=1)
    b("along", "delay", "h", frames=1)
    b("cell", "dense", "u", "along", "before", n=WIDTH, bias=False)
    b("h", "tanh", "cell")
    b("end", "last", "h")
    found = run(b, x=noise(5, 6))
    end = np.zeros(WIDTH)
    for t, x in enumerate(noise(5, 6)):
        h = np.zeros(WIDTH)
        for f in range(3):
            row = np.concatenate([x[2 * f : 2 * f + 2], h, end])
            h = np.tanh(found.weights["cell.weight"] @ row)
            np.testing.assert_allclose(found["h"][t, f], h)
        end = h
        np.testing.assert_allclose(found["end"][t], end)


# --- switches ---


def test_the_branch_not_taken_holds_its_state() -> None:
    b = Builder()
    x, g = frames(b, "x", WIDTH), flag(b, "g")
    slow, fast = lstm(b, "slow", x, WIDTH), lstm(b, "fast", x, WIDTH)
    b("y", "switch", g, slow, fast)
    up = np.array([True, True, False, False, True, False, True])
    data = noise(7, WIDTH)
    found = run(b, x=data, g=up)
    for path, taken in (("slow", up), ("fast", ~up)):
        np.testing.assert_allclose(found["y"][taken], lstm_by_hand(found, path, data[taken]))
        assert found.present(f"{path}.h") == taken.tolist()


def test_a_recurrence_around_a_switch_goes_on() -> None:
    b = Builder()
    x, g = frames(b, "x", 1), flag(b, "g")
    b("d", "delay", "y", frames=1)
    b("sum", "add", x, "d")
    b("y", "switch", g, "sum", "d")
    found = run(b, x=[1, 2, 3, 4], g=[True, False, True, False])
    assert found["y"][:, 0].tolist() == [1, 1, 4, 4]


def test_a_flag_for_the_utterance_stops_a_whole_recurrence() -> None:
    b = Builder()
    x, g = frames(b, "x", WIDTH), flag(b, "g", Static())
    b("y", "switch", g, lstm(b, "slow", x, WIDTH), lstm(b, "fast", x, WIDTH))
    found = run(b, x=noise(4, WIDTH), g=False)
    np.testing.assert_allclose(found["y"], lstm_by_hand(found, "fast", noise(4, WIDTH)))
    assert not np.any(found.present("slow.h"))


# --- whole models ---


def test_an_illegal_recurrence_is_a_diagnostic() -> None:
    b = Builder()
    b("a", "ahead", "y", frames=1)
    b("y", "add", frames(b, "x"), "a")
    with pytest.raises(AsrcError, match="E0305"):
        run(b, x=noise(3, 4))


@pytest.mark.parametrize("graph", [recurrent(), conformer(1, 1, width=8, channels=2)])
def test_padding_of_the_audio_changes_nothing(graph: Graph) -> None:
    """What follows the end, NaN here, is invisible, except as an end earlier than the array's."""
    audio = noise(4000)
    alone = run(graph, audio=audio)[graph.outputs["encoder"]]
    padded = run(graph, audio=(np.r_[audio, [math.nan] * 3000], 4000))
    there = padded.values[graph.outputs["encoder"]].present
    assert np.isfinite(alone).all()
    np.testing.assert_allclose(padded[graph.outputs["encoder"]][there], alone, atol=1e-12)


SECONDS, CUT = 0.3, 0.15


@pytest.mark.parametrize("seed", range(40))
def test_a_frame_depends_on_nothing_later_than_its_inferred_look_ahead(seed: int) -> None:
    graph = random_network(seed)
    facts = Facts(graph)
    types, weights = facts.types, random_weights(graph, facts.types, seed)
    inputs = {n.path: _given(graph, n.path, facts, seed) for n in graph if n.op == "input"}
    before = evaluate(graph, weights, {p: x for p, (x, _) in inputs.items()}, types=types)
    after = evaluate(graph, weights, {p: x for p, (_, x) in inputs.items()}, types=types)
    cut = CUT / float(facts.timing.tick)
    for path, need in facts.timing.needs.items():
        if before[path].present.ndim and not isinstance(base_clock(types[path].clock), Label):
            ready = [i for i in range(len(before[path].present)) if need.ready(i) <= cut]
            _equal(before[path], after[path], ready)


def _given(graph: Graph, path: str, facts: Facts, seed: int) -> tuple[Array, Array]:
    """An input, and the same with other values after the cut."""
    kind = facts.types[path]
    period = float(kind.clock.period)  # type: ignore[union-attr]
    data = noise(round(SECONDS / period), *kind.dims, seed=seed)
    if kind.elem == "flag":
        return data > 0, data > 0
    other = data.copy()
    other[math.floor(CUT / period + 1e-9) :] += 1
    return data, other


def _equal(left: Value, right: Value, frames: list[int]) -> None:
    assert np.array_equal(left.present[frames], right.present[frames])
    np.testing.assert_allclose(left.data[frames], right.data[frames], atol=1e-12)
