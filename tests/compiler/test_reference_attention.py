"""The reference evaluator's attention, one query, one head and one key at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from asrc.compiler.graph import Attr
from asrc.compiler.types import Clock, Finite, Label, Static
from asrc.tests.builders import Builder, ms
from asrc.tests.compiler.evaluation import CHARS, TEN_MS, Array, Result, frames, noise, run, tokens

HEADS, WIDTH = 2, 4
See = Callable[[int, int], bool]


def by_hand(
    q: Array, k: Array, v: Array, see: See, bias: Callable[[int, int, int], float] | None = None
) -> Array:
    """`[queries, width]` of attention over the keys `s` that query `t` may see."""
    found = np.zeros((len(q), v.shape[1]))
    per, out = q.shape[1] // HEADS, v.shape[1] // HEADS
    for t in range(len(q)):
        keys = [s for s in range(len(k)) if see(t, s)]
        for h in range(HEADS):
            part = slice(h * per, (h + 1) * per)
            scores = [
                (float(q[t, part] @ k[s, part]) + (bias(t, s, h) if bias else 0)) / math.sqrt(per)
                for s in keys
            ]
            total = sum(math.exp(score) for score in scores)
            for s, score in zip(keys, scores, strict=True):
                mine = slice(h * out, (h + 1) * out)
                found[t, mine] += math.exp(score) / total * v[s, mine]
    return found


def self_attention(clock: Clock = TEN_MS, **attrs: Attr) -> Builder:
    b = Builder()
    x = frames(b, "x", WIDTH, clock=clock)
    for name, n in (("q", WIDTH), ("k", WIDTH), ("v", 6)):
        b(name, "dense", x, n=n)
    b("y", "attend", "q", "k", "v", heads=HEADS, **attrs)
    return b


def parts(found: Result) -> tuple[Array, Array, Array]:
    return found["q"], found["k"], found["v"]


MASKS: list[tuple[dict[str, Attr], See]] = [
    ({"mask": "full"}, lambda t, s: True),
    ({"mask": "causal"}, lambda t, s: s <= t),
    ({"mask": "causal", "left": 2}, lambda t, s: t - 2 <= s <= t),
    ({"mask": "causal", "left": ms(30)}, lambda t, s: t - 3 <= s <= t),
    ({"mask": "limited", "left": 1, "right": 2}, lambda t, s: t - 1 <= s <= t + 2),
    ({"mask": "limited", "right": ms(10)}, lambda t, s: s <= t + 1),
    ({"mask": "limited", "left": 0}, lambda t, s: s == t),
    ({"mask": "chunk", "chunk": ms(30), "left": 0}, lambda t, s: s // 3 == t // 3),
    ({"mask": "chunk", "chunk": ms(30)}, lambda t, s: s // 3 <= t // 3),
    (
        {"mask": "chunk", "chunk": ms(30), "left": 2},
        lambda t, s: t // 3 * 3 - 2 <= s <= t // 3 * 3 + 2,
    ),
]


@pytest.mark.parametrize(("attrs", "see"), MASKS, ids=[str(n) for n in range(len(MASKS))])
def test_masks(attrs: dict[str, Attr], see: See) -> None:
    found = run(self_attention(**attrs), x=noise(10, WIDTH))
    np.testing.assert_allclose(found["y"], by_hand(*parts(found), see))


@pytest.mark.parametrize("mask", ["full", "causal"])
def test_over_labels_attention_is_causal(mask: str) -> None:
    found = run(self_attention(Label(), mask=mask), x=noise(5, WIDTH))
    np.testing.assert_allclose(found["y"], by_hand(*parts(found), lambda t, s: s <= t))


def test_absent_keys_are_never_seen() -> None:
    there = [False, False, True, True, False, True]
    data = np.where(np.array(there)[:, None], noise(6, WIDTH), math.nan)
    found = run(self_attention(mask="causal", left=1), x=(data, there))
    wanted = by_hand(*parts(found), lambda t, s: there[s] and t - 1 <= s <= t)
    np.testing.assert_allclose(found["y"][there], wanted[there])
    assert found.present("y") == there


def test_a_query_that_sees_no_key_gets_zeros() -> None:
    b = Builder()
    q, k = frames(b, "q", WIDTH), frames(b, "k", WIDTH)
    b("y", "attend", q, k, k, heads=1, mask="causal", left=1)
    found = run(b, q=noise(4, WIDTH), k=(noise(4, WIDTH), [False, False, True, True]))
    assert not found["y"][:2].any()
    assert found["y"][2:].all()
    assert found.present("y") == [True] * 4


def test_along_an_inner_axis_all_entries_see_each_other() -> None:
    found = run(self_attention(CHARS, mask="causal"), x=(noise(3, 5, WIDTH), [4, 0, 2]))
    for p, length in ((0, 4), (2, 2)):
        rows = [part[p, :length] for part in parts(found)]
        np.testing.assert_allclose(found["y"][p, :length], by_hand(*rows, lambda t, s: True))


@pytest.mark.parametrize("clock", [TEN_MS, Label(), Static()])
def test_a_catalogue_is_read_from_any_clock(clock: Clock) -> None:
    b = Builder()
    x = frames(b, "x", WIDTH, clock=clock)
    phrases = frames(b, "p", WIDTH, clock=Finite("phrases", 3, Static()))
    b("y", "attend", x, phrases, phrases, heads=HEADS)
    queries = noise(WIDTH) if clock == Static() else noise(6, WIDTH)
    found = run(b, x=queries, p=(noise(3, WIDTH), 2))
    rows = queries.reshape(-1, WIDTH)
    wanted = by_hand(rows, noise(3, WIDTH), noise(3, WIDTH), lambda t, s: s < 2)
    np.testing.assert_allclose(found["y"].reshape(-1, WIDTH), wanted)


def test_an_empty_catalogue_gives_zeros() -> None:
    b = Builder()
    phrases = frames(b, "p", WIDTH, clock=Finite("phrases", 3, Static()))
    b("y", "attend", frames(b, "x", WIDTH), phrases, phrases, heads=HEADS)
    assert not run(b, x=noise(2, WIDTH), p=(noise(3, WIDTH), 0))["y"].any()


def test_a_joint_reads_a_catalogue_at_every_frame_and_label() -> None:
    b = Builder()
    phrases = frames(b, "p", WIDTH, clock=Finite("phrases", 3, Static()))
    b("e", "lattice", frames(b, "x", WIDTH))
    b("q", "add", "e", b("l", "embed", tokens(b, "prev"), n=WIDTH))
    b("y", "attend", "q", phrases, phrases, heads=HEADS)
    found = run(b, x=noise(2, WIDTH), prev=[1, 2, 3], p=noise(3, WIDTH))
    wanted = by_hand(found["q"].reshape(6, -1), noise(3, WIDTH), noise(3, WIDTH), lambda t, s: True)
    np.testing.assert_allclose(found["y"].reshape(6, -1), wanted)
    assert found.values["y"].present.shape == (2, 3)


def test_each_frame_may_have_pieces_of_its_own() -> None:
    """Queries on a stream, keys on an inner axis of that stream (the bands of each frame)."""
    b = Builder()
    b("k", "unfold", frames(b, "x", 8), axis="f", size=4, step=2)
    b("y", "attend", frames(b, "q", WIDTH), "k", "k", heads=HEADS)
    found = run(b, x=(noise(5, 8), 4), q=noise(5, WIDTH))
    for t in range(4):
        wanted = by_hand(
            noise(5, WIDTH)[t : t + 1], found["k"][t], found["k"][t], lambda t, s: True
        )
        np.testing.assert_allclose(found["y"][t], wanted[0])
    assert not found["y"][4].any()


def relative(mask: str) -> Builder:
    b = self_attention(mask=mask)
    b("q2", "dense", "x", n=WIDTH)
    b("r", "dense", b("p", "positions", n=WIDTH), n=WIDTH, bias=False)
    b("y", "attend", "q", "k", "v", "q2", "r", heads=HEADS, mask=mask)
    return b


@pytest.mark.parametrize("mask", ["full", "causal"])
def test_relative_positions_add_scores_by_distance(mask: str) -> None:
    found = run(relative(mask), x=noise(6, WIDTH))
    weight, queries = found.weights["r.weight"], found["q2"]

    def bias(t: int, s: int, h: int) -> float:
        rates = (1.0, 1.0, 1e-2, 1e-2)
        trig = (math.sin, math.cos, math.sin, math.cos)
        row = weight @ [f((t - s) * rate) for f, rate in zip(trig, rates, strict=True)]
        return float(queries[t, 2 * h : 2 * h + 2] @ row[2 * h : 2 * h + 2])

    wanted = by_hand(*parts(found), lambda t, s: mask == "full" or s <= t, bias)
    np.testing.assert_allclose(found["y"], wanted)


def test_relative_positions_do_not_depend_on_the_length() -> None:
    """A longer utterance has more distances; a causal mask hides the new frames."""
    x = noise(9, WIDTH)
    short, long = (run(relative("causal"), x=x[:n]) for n in (5, 9))
    np.testing.assert_allclose(short["y"], long["y"][:5])
