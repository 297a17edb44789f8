"""Probabilities of words behind others."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.runtime.decode.ngrams import Ngrams

SENTENCES = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=5), min_size=1)


@given(SENTENCES, st.integers(1, 4), st.lists(st.sampled_from("abcd"), max_size=4))
def test_they_sum_to_one_behind_whatever_was_said(
    sentences: list[list[str]], order: int, said: list[str]
) -> None:
    ngrams = Ngrams(sentences, order)
    context = ngrams.start
    for word in said:
        context = ngrams.then(context, word)
        assert len(context) < order
    whole = [ngrams.probability(context, word) for word in ngrams.words]
    assert sum(whole) == pytest.approx(1.0)
    assert min(whole) > 0


def test_seen_seldom_a_context_leans_on_a_shorter_one() -> None:
    ngrams = Ngrams([["a", "b"], ["a", "c"], ["c", "b"]], 2)
    words = 4  # a, b, c and the end
    alone = (2 + 4 * Fraction(1, words)) / (9 + 4)  # of 9 places, with 4 different words
    assert ngrams.probability(("a",), "b") == pytest.approx(float((1 + 2 * alone) / (2 + 2)))
    assert ngrams.probability(("d",), "b") == pytest.approx(float(alone))


def test_the_edges_of_a_sentence_are_told_apart() -> None:
    ngrams = Ngrams([["a"], ["a"], ["a", "b"]], 3)
    behind = ngrams.then(ngrams.start, "a")
    assert ngrams.probability(ngrams.start, "a") > ngrams.probability(behind, "a")
    assert ngrams.probability(behind, None) > ngrams.probability(ngrams.start, None)
    assert ngrams.then(behind, "b") == ("a", "b")
