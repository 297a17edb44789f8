"""Phrases that beam search is to prefer: what they earn, keep and give back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.runtime.decode import BeamDecoder, PhraseBooster
from asrc.tests.runtime.decode.models import RandomTransducer, random_frames

LABELS = st.integers(0, 2)
PHRASES = st.lists(st.lists(LABELS, min_size=1, max_size=4), max_size=5)


def earned(booster: PhraseBooster, labels: list[int]) -> float:
    """What a whole sequence has earned at its end."""
    state, total = booster.start(), 0.0
    for label in labels:
        total += float(booster.scores([state])[0, label])
        state = booster.step(state, label)
    return total + booster.final(state)


def occurs(phrase: list[int], labels: list[int]) -> bool:
    starts = range(len(labels) - len(phrase) + 1)
    return any(labels[i : i + len(phrase)] == phrase for i in starts)


@pytest.mark.parametrize(
    ("phrases", "labels", "wanted"),
    [
        ([[1, 2, 3]], [0, 1, 2, 3, 0], 3),
        ([[1, 2, 3]], [1, 2, 3, 1, 2, 3], 6),
        ([[1, 2, 3]], [1, 2, 0, 3], 0),  # given back when the labels leave the phrase
        ([[1, 2, 3]], [1, 2], 0),  # and at the end
        ([[1, 1, 2]], [1, 1, 1, 2], 3),  # a phrase may begin within another's beginning
        ([[1], [1, 2, 3]], [1, 2], 1),  # the finished part is kept
        ([[2, 3], [1, 2, 3, 4]], [1, 2, 3, 0], 2),  # also where it ends a longer beginning
        ([[2, 3], [1, 2, 3, 4]], [1, 2, 3, 4], 4),
        ([], [1, 2], 0),
        ([[]], [1, 2], 0),
    ],
)
def test_what_a_sequence_earns(phrases: list[list[int]], labels: list[int], wanted: int) -> None:
    assert earned(PhraseBooster(phrases, labels=5, bonus=0.5), labels) == wanted / 2


@given(phrases=PHRASES, labels=st.lists(LABELS, max_size=12))
def test_phrases_that_occur_pay_and_others_do_not(
    phrases: list[list[int]], labels: list[int]
) -> None:
    found = [len(phrase) for phrase in phrases if occurs(phrase, labels)]
    total = earned(PhraseBooster(phrases, labels=3, bonus=1.0), labels)
    assert total >= max(found, default=0)
    assert bool(found) == (total > 0)


@given(phrases=PHRASES, histories=st.lists(st.lists(LABELS, max_size=5), min_size=1, max_size=4))
def test_states_are_independent(phrases: list[list[int]], histories: list[list[int]]) -> None:
    booster, states = PhraseBooster(phrases, labels=3), []
    for history in histories:
        states.append(booster.start())
        for label in history:
            states[-1] = booster.step(states[-1], label)
    together = booster.scores(states)
    assert [booster.scores([s])[0].tolist() for s in states] == together.tolist()


@pytest.mark.parametrize("seed", [0, 11, 17, 24, 55])
def test_a_phrase_is_found_that_was_not_best(seed: int) -> None:
    """A small bonus brings the second-best sequence to the front, and counts in its score."""
    model, frames = RandomTransducer(seed, sharp=2.0, blank=3.0), random_frames(seed, 1, 8)
    decoder = BeamDecoder(model, beam=8)
    decoder.feed(frames)
    first, second = decoder.hypotheses(2)[0]
    assert not occurs(list(second.ids), list(first.ids))
    booster = PhraseBooster([second.ids], labels=5, bonus=0.5)
    boosted = BeamDecoder(model, beam=8, scorer=booster)
    boosted.feed(frames)
    (best,) = boosted.hypotheses()[0]
    assert best.ids == second.ids
    assert best.score >= second.score + 0.5 * len(best.ids) - 1e-9


def test_labels_outside_the_vocabulary() -> None:
    with pytest.raises(ValueError, match=r"0\.\.4: \[5\]"):
        PhraseBooster([[1, 5]], labels=5)
