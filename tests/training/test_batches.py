"""Batches: all utterances once an epoch, the same for every number of processes, resumable."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.compiler.diagnostics import AsrcError
from asrc.tests.training.speech import utterance
from asrc.training.batches import Batching, Position, batches_from, epoch_batches, share
from asrc.training.manifest import Utterance

LENGTHS = st.lists(st.floats(0.1, 30), min_size=1, max_size=60)
CORPORA = LENGTHS.map(lambda all: [utterance(f"u{n}", s) for n, s in enumerate(all)])
OPTIONS = st.builds(
    Batching,
    seconds=st.floats(1, 300),
    most=st.none() | st.integers(1, 8),
    jitter=st.sampled_from([0.0, 0.1, 1.0]),
    seed=st.integers(0, 2**64),
)
EPOCHS = st.integers(0, 10)


def padded(batch: tuple[Utterance, ...]) -> float:
    return len(batch) * max(utterance.duration for utterance in batch)


@given(CORPORA, OPTIONS, EPOCHS)
def test_every_utterance_once_and_within_the_limits(
    corpus: list[Utterance], options: Batching, epoch: int
) -> None:
    batches = epoch_batches(corpus, options, epoch)
    assert sorted(u.id for batch in batches for u in batch) == sorted(u.id for u in corpus)
    assert all(len(batch) <= (options.most or 99) for batch in batches)
    assert all(padded(batch) <= options.seconds for batch in batches if len(batch) > 1)


@given(CORPORA, OPTIONS, EPOCHS, st.randoms(use_true_random=False))
def test_the_order_of_the_manifest_does_not_matter(
    corpus: list[Utterance], options: Batching, epoch: int, random: object
) -> None:
    mixed = sorted(corpus, key=lambda _: random.random())
    assert epoch_batches(mixed, options, epoch) == epoch_batches(corpus, options, epoch)


@given(CORPORA, OPTIONS, EPOCHS, st.integers(1, 9))
def test_processes_share_each_batch(
    corpus: list[Utterance], options: Batching, epoch: int, world: int
) -> None:
    for batch in epoch_batches(corpus, options, epoch):
        shares = [share(batch, rank, world) for rank in range(world)]
        assert sorted(u.id for some in shares for u in some) == sorted(u.id for u in batch)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(CORPORA, OPTIONS, st.integers(0, 40))
def test_a_run_goes_on_behind_any_batch(
    corpus: list[Utterance], options: Batching, done: int
) -> None:
    whole = list(islice(batches_from(Position(), corpus, options), done + 5))
    position = whole[done][0]
    behind = Position(position.epoch, position.batch + 1)
    assert list(islice(batches_from(behind, corpus, options), 4)) == whole[done + 1 :]


@given(st.integers(0, 100))
def test_epochs_and_seeds_differ(seed: int) -> None:
    corpus = [utterance(f"u{n}", 1 + n % 7 / 10) for n in range(60)]
    options = Batching(seconds=10, seed=seed)
    assert epoch_batches(corpus, options, 0) != epoch_batches(corpus, options, 1)
    other = Batching(seconds=10, seed=seed + 1)
    assert epoch_batches(corpus, options, 0) != epoch_batches(corpus, other, 0)


def test_little_is_padding() -> None:
    """Lengths from 1 to 10 s in batches of a minute: with 10 % jitter, 8 % of it is padding."""
    corpus = [utterance(f"u{n}", 1 + 9 * (n * 0.618034 % 1)) for n in range(2_000)]
    batches = epoch_batches(corpus, Batching(60), 3)
    area = sum(padded(batch) for batch in batches)
    assert sum(u.duration for u in corpus) / area > 0.92
    assert len(batches) < area / 60 * 1.1


def test_lengths_after_a_change_of_speed() -> None:
    corpus = [utterance(f"u{n}", 1.0) for n in range(20)]
    slow = epoch_batches(corpus, Batching(10), 0, lambda u, epoch: 2.0 + epoch)
    assert [len(batch) for batch in slow] == [5] * 4
    later = epoch_batches(corpus, Batching(10), 3, lambda u, epoch: 2.0 + epoch)
    assert [len(batch) for batch in later] == [2] * 10


def test_a_long_utterance_is_a_batch_by_itself() -> None:
    corpus = [utterance("long", 90.0), utterance("short", 2.0)]
    assert sorted(map(len, epoch_batches(corpus, Batching(60), 0))) == [1, 1]


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0}, {"seconds": float("nan")}, {"jitter": -1}, {"most": 0}, {"seed": -1}]
)
def test_options_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(AsrcError, match="E1008"):
        Batching(**wrong)


def test_positions_that_cannot_be() -> None:
    with pytest.raises(AsrcError, match="E1006"):
        Position(0, -1)


def test_no_utterances() -> None:
    with pytest.raises(AsrcError, match="E1005"):
        next(batches_from(Position(), [], Batching()))
