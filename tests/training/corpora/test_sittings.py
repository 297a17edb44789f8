"""Sittings: a voice says each of its words once, and every word comes as often as the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice

import numpy as np

from asrc.tests.training.corpora.voices import humming
from asrc.training.corpora import words
from asrc.training.corpora.grammar import canonical
from asrc.training.corpora.recipes import Recipe, rendered
from asrc.training.corpora.sittings import SIZE, sittings
from asrc.training.corpora.voices import DEV, SITTING

__all__ = ["humming"]

RECIPES = list(sittings(0, 400 * SIZE))


def test_a_recipe_follows_from_its_place() -> None:
    assert list(sittings(0, SIZE + 9)) == RECIPES[: SIZE + 9]
    other = list(sittings(1, SIZE))
    assert [one.text for one in other] != [one.text for one in RECIPES[:SIZE]]
    assert len({one.name for one in RECIPES}) == len(RECIPES)


def test_a_sitting_has_one_voice_and_says_little() -> None:
    by_sitting: dict[int, list[Recipe]] = defaultdict(list)
    for place, recipe in enumerate(RECIPES):
        by_sitting[place // SIZE].append(recipe)
    for some in by_sitting.values():
        assert len({(one.voice, one.speed) for one in some}) == 1
        scripts = {script for one in some for script in one.scripts}
        assert len(scripts) <= (30 if some[0].voice.engine == "kokoro" else 90)
    assert sum(len(one.scripts) for one in RECIPES) > 1.8 * 80 * len(by_sitting)


def test_words_of_a_class_are_as_frequent_as_each_other() -> None:
    spoken = Counter(script for one in RECIPES for script in set(one.scripts))
    for table in (words.LETTERS, words.PHONETIC, words.NUMBERS, words.PROMPTS, words.DIGITS):
        counts = np.array([spoken[f"{script}."] for script in table])
        assert counts.min() > 0.5 * counts.mean()
        assert counts.max() < 1.7 * counts.mean()


def test_texts_are_what_is_said_and_no_voice_of_development_speaks() -> None:
    for one in islice(RECIPES, 2 * SIZE):
        assert one.text == canonical(" ".join(script.rstrip(".") for script in one.scripts))
        assert len(one.pauses) == len(one.scripts) - 1
    speakers = {(f.engine, name) for f in SITTING for name in f.names}
    assert speakers.isdisjoint((f.engine, name) for f in DEV for name in f.names)
    kinds = Counter(one.kind for one in RECIPES)
    assert 0.3 < kinds["stream"] / len(RECIPES) < 0.6
    assert kinds.keys() == {
        "digit", "letter", "phonetic", "number", "symbol", "date", "time", "prompt", "stream",
    }  # fmt: skip
    telephone = np.mean([one.way.telephone for one in RECIPES])
    assert 0.27 < telephone < 0.33


def test_what_was_said_before_sounds_the_same_again(humming: None) -> None:
    some = [one for one in RECIPES[:SIZE] if len(one.scripts) > 2][:4]
    first = [rendered(one) for one in some]
    assert all(np.array_equal(a, rendered(b)) for a, b in zip(first, some, strict=True))
