"""A closed language: what its words earn, and that beam search finds the best of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import inf, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asrc.runtime.decode import BeamDecoder, ClosedLanguage
from asrc.tests.runtime.decode.models import RandomTransducer, random_frames
from asrc.tests.runtime.decode.plain import every_score

SPACE = 4
WORDS = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)
SENTENCES = st.lists(st.lists(WORDS, min_size=1, max_size=4), min_size=1, max_size=5)
Sentence = list[tuple[int, ...]]
Word = tuple[int, ...] | str | None


def total(language: ClosedLanguage, labels: list[int]) -> float:
    """What a whole sequence earns, label by label and at its end."""
    state, earned = language.start(), 0.0
    for label in labels:
        earned += float(language.scores([state])[0, label])
        if earned == -inf:
            return earned
        state = language.step(state, label)
    return earned + language.final(state)


def spaced(words: Sentence) -> list[int]:
    return [label for word in words for label in (SPACE, *word)][1:]


def share(sentences: list[Sentence], before: list[Word], word: Word) -> float:
    """Of `word` behind `before`, by the recursion of Witten and Bell, counted anew each time."""
    every = [[None, *sentence, None] for sentence in sentences]
    places = len({word for sentence in every for word in sentence})
    if before == ["any"]:
        return 1 / places
    seen = Counter(
        sentence[at]
        for sentence in every
        for at in range(1, len(sentence))
        if len(before) <= at and sentence[at - len(before) : at] == before
    )
    shorter = share(sentences, before[1:] if before else ["any"], word)
    return (seen[word] + len(seen) * shorter) / (seen.total() + len(seen)) if seen else shorter


def wanted(sentences: list[Sentence], words: Sentence) -> float:
    """Half of the log of how much likelier each word is here than one of all, and the end."""
    places = len({word for sentence in sentences for word in sentence}) + 1
    whole = [None, *words, None]
    return sum(
        0.5 * log(share(sentences, whole[max(0, at - 2) : at], whole[at]) * places)
        for at in range(1, len(whole))
    )


@given(sentences=SENTENCES, data=st.data())
def test_words_earn_what_three_together_are_worth(
    sentences: list[Sentence], data: st.DataObject
) -> None:
    known = sorted({word for sentence in sentences for word in sentence})
    words = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=5))
    language = ClosedLanguage(sentences, 5, separator=SPACE)
    assert total(language, spaced(words)) == pytest.approx(wanted(sentences, words), abs=1e-5)


@given(sentences=SENTENCES, labels=st.lists(st.integers(0, 4), max_size=8))
def test_nothing_but_words_can_be_spelled(sentences: list[Sentence], labels: list[int]) -> None:
    known = {word for sentence in sentences for word in sentence}
    spelled = "".join(map(str, labels)).split(str(SPACE)) if labels else []
    words = [tuple(map(int, word)) for word in spelled]
    begun = words and any(word[: len(words[-1])] == words[-1] for word in known)
    found = total(ClosedLanguage(sentences, 5, separator=SPACE), labels)
    if not all(word in known for word in words[:-1]) or (words and not begun):
        assert found == -inf
    elif words and words[-1] not in known:
        assert -inf < found < -10
    else:
        assert found > -10


@given(sentences=SENTENCES, data=st.data())
def test_every_label_earns_the_bonus(sentences: list[Sentence], data: st.DataObject) -> None:
    known = sorted({word for sentence in sentences for word in sentence})
    labels = spaced(data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=5)))
    plain = total(ClosedLanguage(sentences, 5, separator=SPACE), labels)
    found = total(ClosedLanguage(sentences, 5, separator=SPACE, bonus=0.75), labels)
    assert found == pytest.approx(plain + 0.75 * len(labels), abs=1e-5)


def test_without_a_separator_words_follow_each_other() -> None:
    """As with pieces of which the first of a word is marked: 0 begins, 1 and 2 go on."""
    language = ClosedLanguage([[(0, 1), (0, 2)], [(3,)]], 5)
    assert total(language, [0, 1, 0, 2, 3]) > -10
    assert total(language, [0, 1, 1]) == -inf
    row = language.scores([language.step(language.step(language.start(), 0), 1)])[0]
    assert torch.isfinite(row).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("seed", range(2))
def test_a_wide_beam_finds_the_best_of_the_language(seed: int) -> None:
    model, frames = RandomTransducer(seed, blank=1.0), random_frames(seed, 1, 3)
    sentences = [[(0, 1), (2,)], [(3, 3)], [(2,), (2,)]]
    language = ClosedLanguage(sentences, 5, separator=SPACE)
    scores = {
        labels: score + total(language, list(labels))
        for labels, score in every_score(model, frames[0], 2).items()
    }
    best = max(scores, key=lambda labels: scores[labels])
    decoder = BeamDecoder(model, beam=64, max_symbols=2, margin=200.0, scorer=language)
    decoder.feed(frames)
    (found,) = decoder.hypotheses()[0]
    assert found.ids == best
    assert found.score == pytest.approx(scores[best], abs=1e-5)


@pytest.mark.parametrize("separator", [SPACE, None])
@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("seed", range(6))
def test_only_words_are_told_wherever_it_ends(seed: int, beam: int, separator: int | None) -> None:
    """After each frame what is told are whole words, each list of them once, best first."""
    model = RandomTransducer(seed, labels=5)
    words = {(0, 1, 2), (2, 3), (3, 3, 1, 0)}
    language = ClosedLanguage([sorted(words)], 5, separator=separator)
    decoder = BeamDecoder(model, beam=beam, scorer=language)
    for frame in random_frames(seed, 1, 12).split(1, 1):
        decoder.feed(frame)
        told = decoder.hypotheses(beam)[0]
        assert len({one.ids for one in told}) == len(told)
        assert [one.score for one in told] == sorted((one.score for one in told), reverse=True)
        for one in told:
            assert is_of_words(one.ids, words, separator), one.ids


def is_of_words(ids: Sequence[int], words: set[tuple[int, ...]], separator: int | None) -> bool:
    """Whether labels are words one after the other, separators between them."""
    if not ids:
        return True
    between = () if separator is None else (separator,)
    return any(
        tuple(ids) == word
        or (
            tuple(ids[: len(word) + len(between)]) == word + between
            and len(ids) > len(word) + len(between)
            and is_of_words(ids[len(word) + len(between) :], words, separator)
        )
        for word in words
    )


@pytest.mark.parametrize(
    ("sentences", "options"),
    [
        ([], {}),
        ([[()]], {}),
        ([[(5,)]], {}),
        ([[(1,)]], {"weight": -1.0}),
        ([[(1,)]], {"bonus": inf}),
    ],
)
def test_what_cannot_be_a_language(sentences: list[Sentence], options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"."):
        ClosedLanguage(sentences, 5, **options)
