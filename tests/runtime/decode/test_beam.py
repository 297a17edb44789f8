"""Beam search: exact where nothing is cut off, the same in any blocks, n-best lists in order."""

from __future__ import annotations

import gc
from math import inf
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asrc.runtime.decode import BeamDecoder, Clock, GreedyDecoder, Hypothesis, State
from asrc.runtime.decode.prefix import Prefix
from asrc.tests.runtime.decode.models import RandomTransducer, random_frames, random_lengths
from asrc.tests.runtime.decode.plain import every_score

SEED = st.integers(0, 10_000)


def scores(hypotheses: list[Hypothesis]) -> dict[tuple[int, ...], float]:
    return {h.ids: h.score for h in hypotheses}


def places(hypotheses: list[Hypothesis]) -> list[list[tuple[int, int]]]:
    return [[(token.id, token.frame) for token in h.tokens] for h in hypotheses]


@given(seed=SEED, labels=st.integers(1, 2), count=st.integers(1, 3), max_symbols=st.integers(1, 2))
@settings(max_examples=40)
def test_a_beam_wide_enough_is_exact(seed: int, labels: int, count: int, max_symbols: int) -> None:
    """Every sequence has the summed probability of all its alignments, counted one by one."""
    model = RandomTransducer(seed, labels=labels, sharp=1.5)
    frames = random_frames(seed, 1, count)
    decoder = BeamDecoder(model, beam=500, max_symbols=max_symbols, margin=inf)
    decoder.feed(frames)
    (found,) = decoder.hypotheses(500)
    wanted = every_score(model, frames[0], max_symbols)
    assert found[0].ids == max(wanted, key=lambda ids: wanted[ids])
    assert scores(found) == pytest.approx(wanted)


def test_merging_matters() -> None:
    """In some of these models the best sequence is not that of the best alignment."""
    differ = 0
    for seed in range(40):
        model = RandomTransducer(seed, labels=2, sharp=1.5)
        frames = random_frames(seed, 1, 3)
        greedy = GreedyDecoder(model, max_symbols=2)
        greedy.feed(frames)
        wanted = every_score(model, frames[0], 2)
        differ += greedy.hypotheses()[0].ids != max(wanted, key=lambda ids: wanted[ids])
    assert differ > 4


@given(seed=SEED, max_symbols=st.sampled_from([1, 2, 5]))
@settings(max_examples=50)
def test_a_beam_of_one_is_greedy_where_decisions_are_clear(seed: int, max_symbols: int) -> None:
    """With symbols this sure, a label that beats blank does so with the next blank as well.

    At a frame whose labels use up `max_symbols`, greedy decoding goes on without a blank, while
    beam search takes one; so scores are compared where that does not happen.
    """
    model, frames = RandomTransducer(seed, sharp=200.0, blank=150.0), random_frames(seed, 3, 10)
    greedy = GreedyDecoder(model, batch=3, max_symbols=max_symbols)
    greedy.feed(frames)
    beam = BeamDecoder(model, batch=3, max_symbols=max_symbols, beam=1)
    beam.feed(frames)
    for plain, (found,) in zip(greedy.hypotheses(), beam.hypotheses(), strict=True):
        at = [token.frame for token in plain.tokens]
        if all(at.count(frame) < max_symbols for frame in at):
            assert [(t.id, t.frame) for t in found.tokens] == [
                (t.id, t.frame) for t in plain.tokens
            ]
            assert found.score == pytest.approx(plain.score)


def test_a_wider_beam_finds_more() -> None:
    """Over many models the best score rises with the beam, and greedy is below all."""
    frames = [random_frames(seed, 1, 10) for seed in range(30)]
    models = [RandomTransducer(seed, sharp=1.5) for seed in range(30)]
    totals = []
    for beam in (1, 2, 4, 8, 16):
        found = []
        for model, value in zip(models, frames, strict=True):
            decoder = BeamDecoder(model, beam=beam, max_symbols=3)
            decoder.feed(value)
            found.append(decoder.hypotheses()[0][0].score)
        totals.append(sum(found))
    assert totals == sorted(totals)
    assert totals[0] < totals[-1] - 5


@given(seed=SEED, batch=st.integers(1, 3), beam=st.integers(1, 5), window=st.integers(1, 9))
@settings(max_examples=60)
def test_blocks_of_any_size(seed: int, batch: int, beam: int, window: int) -> None:
    """Each stream is cut into its own blocks; what is absent is NaN."""
    model, chance = RandomTransducer(seed, sharp=2.0), Random(seed)
    frames, lengths = random_frames(seed, batch, 10), random_lengths(seed, batch, 10)
    whole = BeamDecoder(model, batch=batch, beam=beam)
    whole.feed(frames, lengths)
    parts, fed = BeamDecoder(model, batch=batch, beam=beam, window=window), [0] * batch
    while fed != lengths:
        size = chance.randint(1, 4)
        counts = [chance.randint(0, min(size, n - a)) for n, a in zip(lengths, fed, strict=True)]
        block = torch.full((batch, size, 6), torch.nan, dtype=torch.float64)
        for b, (start, count) in enumerate(zip(fed, counts, strict=True)):
            block[b, :count] = frames[b, start : start + count]
        parts.feed(block, counts)
        fed = [start + count for start, count in zip(fed, counts, strict=True)]
    for a, b in zip(whole.hypotheses(beam), parts.hypotheses(beam), strict=True):
        assert places(a) == places(b)
        assert [h.score for h in a] == pytest.approx([h.score for h in b])


def test_streams_do_not_disturb_each_other() -> None:
    model, frames = RandomTransducer(1, sharp=2.0), random_frames(1, 4, 10)
    together = BeamDecoder(model, batch=4)
    together.feed(frames, [10, 3, 0, 7])
    for b, count in enumerate([10, 3, 0, 7]):
        alone = BeamDecoder(model)
        alone.feed(frames[b : b + 1, :count])
        for one, other in zip(alone.hypotheses(4)[0], together.hypotheses(4)[b], strict=True):
            assert one.ids == other.ids
            assert one.score == pytest.approx(other.score)


def test_n_best_lists() -> None:
    """Distinct, best first; an utterance without frames has one hypothesis, the empty one."""
    decoder = BeamDecoder(RandomTransducer(2, sharp=2.0), batch=2, beam=6)
    decoder.feed(random_frames(2, 2, 8), [8, 0])
    full, empty = decoder.hypotheses(6)
    assert len({h.ids for h in full}) == 6
    assert [h.score for h in full] == sorted((h.score for h in full), reverse=True)
    assert decoder.hypotheses(2)[0] == full[:2]
    assert empty == [Hypothesis((), 0.0)]


def test_times() -> None:
    """Labels come in order of time; their own scores are part of the hypothesis's."""
    decoder = BeamDecoder(RandomTransducer(0, sharp=2.0), clock=Clock(0.04, 0.3))
    decoder.feed(random_frames(0, 1, 12))
    (best,) = decoder.hypotheses()[0]
    frames = [token.frame for token in best.tokens]
    assert frames == sorted(frames)
    assert len(set(frames)) > 2
    assert [t.seconds for t in best.tokens] == pytest.approx([0.04 * f + 0.34 for f in frames])
    assert all(token.score <= 0 for token in best.tokens)


def test_what_is_settled_stays() -> None:
    """Labels that all paths share are those of the final hypothesis."""
    model, frames = RandomTransducer(5, sharp=4.0), random_frames(5, 2, 30)
    decoder = BeamDecoder(model, batch=2)
    promised: list[list[tuple[int, ...]]] = [[], []]
    for t in range(30):
        decoder.feed(frames[:, t : t + 1])
        for b, count in enumerate(decoder.settled()):
            promised[b].append(decoder.hypotheses()[b][0].ids[:count])
    for b, (best,) in enumerate(decoder.hypotheses()):
        assert max(map(len, promised[b])) > 3
        assert all(best.ids[: len(early)] == early for early in promised[b])


def test_reset_of_one_stream() -> None:
    model, frames = RandomTransducer(7), random_frames(7, 2, 10)
    decoder, alone = BeamDecoder(model, batch=2), BeamDecoder(model)
    decoder.feed(frames[:, :6])
    decoder.reset([False, True])
    decoder.feed(frames[:, 6:])
    alone.feed(frames[1:, 6:])
    assert places(decoder.hypotheses(4)[1]) == places(alone.hypotheses(4)[0])
    assert any(h.tokens for h in decoder.hypotheses(4)[1])
    whole = BeamDecoder(model)
    whole.feed(frames[:1])
    assert places(decoder.hypotheses(4)[0]) == places(whole.hypotheses(4)[0])
    decoder.reset()
    assert decoder.hypotheses() == [[Hypothesis((), 0.0)]] * 2


def test_memory_does_not_grow_with_time() -> None:
    """Predictor outputs of prefixes that fell out of the beam are forgotten."""
    decoder = BeamDecoder(RandomTransducer(7), beam=4)
    for seed in range(10):
        decoder.feed(random_frames(seed, 1, 30))
    gc.collect()
    prefixes = sum(type(item) is Prefix for item in gc.get_objects())
    (best,) = decoder.hypotheses()[0]
    assert len(best.tokens) > 80
    assert prefixes < len(best.tokens) + 16 * 4 + 20


def test_the_predictor_runs_once_a_prefix() -> None:
    """A label considered and dropped is remembered while the prefix before it is in the beam."""
    model, frames = RandomTransducer(8), random_frames(8, 1, 12)
    seen: list[tuple[int, ...]] = []
    step = model.predictor_step

    def watched(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        seen.extend(zip(tokens.tolist(), map(tuple, state["h"].tolist()), strict=True))
        return step(tokens, state)

    model.predictor_step = watched  # type: ignore[method-assign]
    decoder = BeamDecoder(model)
    for t in range(12):
        decoder.feed(frames[:, t : t + 1])
    assert len(seen) == len(set(seen)) > 12


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="duration"):
        BeamDecoder(RandomTransducer(durations=5)).feed(random_frames(0, 1, 4))
    with pytest.raises(ValueError, match="1 streams fed, 2 expected"):
        BeamDecoder(RandomTransducer(), batch=2).feed(random_frames(0, 1, 4))
    with pytest.raises(ValueError, match="marks"):
        BeamDecoder(RandomTransducer()).reset([True, True])
    with pytest.raises(ValueError, match="at least 1"):
        BeamDecoder(RandomTransducer(), beam=0)
