"""Greedy decoding: label looping, frame loop and the plain definition find the same."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asrc.runtime.decode import Clock, GreedyDecoder, Hypothesis
from asrc.runtime.decode.frame_loop import frame_loop
from asrc.tests.runtime.decode.models import RandomTransducer, random_frames, random_lengths
from asrc.tests.runtime.decode.plain import plain_greedy

SEED = st.integers(0, 10_000)


def places(hypotheses: Iterable[Hypothesis]) -> list[list[tuple[int, int]]]:
    return [[(token.id, token.frame) for token in h.tokens] for h in hypotheses]


def offline(
    model: RandomTransducer, frames: Tensor, lengths: list[int], max_symbols: int
) -> list[Hypothesis]:
    decoder = GreedyDecoder(model, batch=len(lengths), max_symbols=max_symbols)
    decoder.feed(frames, lengths)
    return decoder.hypotheses()


@given(
    seed=SEED,
    batch=st.integers(1, 5),
    count=st.integers(1, 14),
    max_symbols=st.sampled_from([1, 2, 5]),
    durations=st.sampled_from([0, 1, 3, 5]),
    window=st.integers(1, 9),
)
@settings(max_examples=150)
def test_all_three_agree(
    seed: int, batch: int, count: int, max_symbols: int, durations: int, window: int
) -> None:
    """RNN-T and TDT, ragged lengths from 0 on: the same labels, frames and scores."""
    model = RandomTransducer(seed, durations=durations)
    frames, lengths = random_frames(seed, batch, count), random_lengths(seed, batch, count)
    plain = [plain_greedy(model, f[:n], max_symbols) for f, n in zip(frames, lengths, strict=True)]
    decoder = GreedyDecoder(model, batch=batch, max_symbols=max_symbols, window=window)
    decoder.feed(frames, torch.tensor(lengths))
    for found in (
        decoder.hypotheses(),
        frame_loop(model, frames, lengths, max_symbols=max_symbols),
    ):
        assert places(found) == [labels for labels, _ in plain]
        assert [h.score for h in found] == pytest.approx([score for _, score in plain])


def test_the_models_of_these_tests_are_worth_it() -> None:
    """Blanks and labels, several labels at a frame, caps that bind, durations beyond one frame."""
    frames = random_frames(0, 1, 14)
    free, capped = (
        [places(offline(RandomTransducer(seed), frames, [14], cap))[0] for seed in range(20)]
        for cap in (5, 2)
    )
    assert 0.3 < sum(map(len, free)) / (20 * 14) < 3
    assert sum(a != b for a, b in zip(free, capped, strict=True)) > 3
    assert sum(len({f for _, f in found}) < len(found) for found in capped) > 3
    reads = []
    for seed in range(20):
        decoder = GreedyDecoder(slow := RandomTransducer(seed, durations=5), window=1)
        decoder.feed(frames)
        reads.append(slow.calls - len(decoder.hypotheses()[0].tokens))
    assert sum(n < 7 for n in reads) > 3


@given(
    seed=SEED,
    batch=st.integers(1, 4),
    durations=st.sampled_from([0, 5]),
    max_symbols=st.sampled_from([1, 2, 5]),
)
@settings(max_examples=100)
def test_blocks_of_any_size(seed: int, batch: int, durations: int, max_symbols: int) -> None:
    """Each stream is cut into its own blocks; durations cross their edges."""
    model, count, chance = RandomTransducer(seed, durations=durations), 12, Random(seed)
    frames, lengths = random_frames(seed, batch, count), random_lengths(seed, batch, count)
    decoder = GreedyDecoder(model, batch=batch, max_symbols=max_symbols)
    fed, said = [0] * batch, [0] * batch
    while fed != lengths:
        size = chance.randint(1, 5)
        left = [n - start for n, start in zip(lengths, fed, strict=True)]
        parts = [chance.randint(0, min(size, n)) for n in left]
        block = torch.full((batch, size, 6), torch.nan, dtype=torch.float64)
        for b, (start, part) in enumerate(zip(fed, parts, strict=True)):
            block[b, :part] = frames[b, start : start + part]
        said = [a + len(new) for a, new in zip(said, decoder.feed(block, parts), strict=True)]
        fed = [start + part for start, part in zip(fed, parts, strict=True)]
    whole = offline(model, frames, lengths, max_symbols)
    assert places(decoder.hypotheses()) == places(whole)
    assert said == [len(h.tokens) for h in whole]
    assert [h.score for h in decoder.hypotheses()] == pytest.approx([h.score for h in whole])


def test_feeding_returns_what_is_new() -> None:
    model, frames = RandomTransducer(3), random_frames(3, 1, 12)
    decoder = GreedyDecoder(model)
    parts = [decoder.feed(frames[:, :5])[0], decoder.feed(frames[:, 5:])[0]]
    assert all(parts)
    assert (*parts[0], *parts[1]) == decoder.hypotheses()[0].tokens


@pytest.mark.parametrize("durations", [0, 5])
def test_absent_frames_are_never_read(durations: int) -> None:
    """NaN where nothing is present, at either end or in between, changes nothing."""
    model, frames = RandomTransducer(1, durations=durations), random_frames(1, 3, 10)
    present = torch.ones(3, 14, dtype=torch.bool)
    present[0, :4] = present[1, 10:] = present[2, 3:7] = False
    spread = torch.full((3, 14, 6), torch.nan, dtype=torch.float64)
    spread[present] = frames.flatten(0, 1)
    decoder = GreedyDecoder(model, batch=3)
    decoder.feed(spread, present=present)
    assert decoder.hypotheses() == offline(model, frames, [10] * 3, 10)


def test_reset_of_one_stream() -> None:
    """The others go on; the one that was reset begins again, at frame 0."""
    model, frames = RandomTransducer(2), random_frames(2, 3, 12)
    decoder = GreedyDecoder(model, batch=3)
    decoder.feed(frames[:, :7])
    decoder.reset(torch.tensor([False, True, False]))
    decoder.feed(frames[:, 7:])
    whole = offline(model, frames, [12] * 3, 10)
    (alone,) = offline(model, frames[1:2, 7:], [5], 10)
    assert places(decoder.hypotheses()) == places([whole[0], alone, whole[2]])
    decoder.reset()
    assert decoder.hypotheses() == [Hypothesis((), 0.0)] * 3


def test_a_reset_forgets_a_duration() -> None:
    """A duration that leads past the block is not skipped in the next utterance."""
    model, frames = RandomTransducer(4, durations=9), random_frames(4, 1, 12)
    decoder = GreedyDecoder(model)
    for count in range(1, 12):
        decoder.feed(frames[:, :count])
        decoder.reset([True])
        decoder.feed(frames)
        assert decoder.hypotheses() == offline(model, frames, [12], 10), count
        decoder.reset()


def test_times() -> None:
    """A label can be known when its frame is over and the look-ahead has arrived."""
    clock = Clock(period=Fraction(60, 1000), lookahead=Fraction(15, 1000))
    decoder = GreedyDecoder(RandomTransducer(0), clock=clock)
    decoder.feed(random_frames(0, 1, 12))
    tokens = decoder.hypotheses()[0].tokens
    assert [t.seconds for t in tokens] == [pytest.approx(0.06 * t.frame + 0.075) for t in tokens]
    assert len({t.frame for t in tokens}) > 2


def test_the_predictor_runs_once_a_label_for_all_streams() -> None:
    """Label looping, and the joint reads several frames of a blank run in one call."""
    model, frames = RandomTransducer(5), random_frames(5, 8, 30)
    steps = []
    step = model.predictor_step
    model.predictor_step = lambda tokens, state: (steps.append(len(tokens)), step(tokens, state))[1]  # type: ignore[method-assign]
    longest = max(len(h.tokens) for h in offline(model, frames, [30] * 8, 5))
    assert len(steps) == longest
    looping, model.calls = model.calls, 0
    frame_loop(model, frames, max_symbols=5)
    assert looping < model.calls


def test_single_precision() -> None:
    """What a batch and a window change in the last bits moves no label here."""
    model = RandomTransducer(7, dtype=torch.float32)
    frames = random_frames(7, 16, 40).float()
    found = offline(model, frames, [40] * 16, 5)
    assert places(found) == places(frame_loop(model, frames, max_symbols=5))


def test_empty_blocks() -> None:
    decoder = GreedyDecoder(RandomTransducer(), batch=2)
    assert decoder.feed(random_frames(0, 2, 0)) == [[], []]
    assert decoder.feed(random_frames(0, 2, 4), [0, 0]) == [[], []]


def test_several_inputs_of_the_joint() -> None:
    """What a biasing model adds to a frame travels with it."""
    model, frames = RandomTransducer(6), random_frames(6, 2, 9)
    joint = model.joint
    model.joint = lambda f, p: joint({"sum": f["a"] + f["b"][:, 0]}, p)  # type: ignore[method-assign]
    decoder = GreedyDecoder(model, batch=2)
    decoder.feed({"a": frames - 1, "b": torch.ones(2, 9, 3, 1, dtype=torch.float64)}, [9, 5])
    assert places(decoder.hypotheses()) == places(offline(RandomTransducer(6), frames, [9, 5], 10))


def test_what_does_not_fit() -> None:
    decoder = GreedyDecoder(RandomTransducer(), batch=2)
    with pytest.raises(ValueError, match="3 streams fed, 2 expected"):
        decoder.feed(random_frames(0, 3, 4))
    with pytest.raises(ValueError, match="lengths"):
        decoder.feed(random_frames(0, 2, 4), [5, 0])
    with pytest.raises(ValueError, match="not both"):
        decoder.feed(random_frames(0, 2, 4), [4, 0], torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="presence"):
        decoder.feed(random_frames(0, 2, 4), present=torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="differ"):
        decoder.feed({"a": random_frames(0, 2, 4), "b": random_frames(0, 2, 3)})
    with pytest.raises(ValueError, match="marks"):
        decoder.reset([True])
    with pytest.raises(ValueError, match="at least 1"):
        GreedyDecoder(RandomTransducer(), max_symbols=0)
